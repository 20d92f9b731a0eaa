"""Netlink: pyroute2's messages, sent many at a time.

pyroute2 knows how messages look; how they travel is ours, because its sockets want an asyncio loop
and wait for each answer, and a lab of a thousand taps is three thousand messages.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any, NamedTuple


def _enter_pyroute2() -> None:
    """Make pyroute2's modules importable without its ``__init__``, which imports all of them.

    That takes 120 ms; the two modules that we need take 30.
    """
    if "pyroute2" not in sys.modules and (spec := PathFinder.find_spec("pyroute2")):
        package = ModuleType("pyroute2")
        package.__path__ = list(spec.submodule_search_locations or ())
        sys.modules["pyroute2"] = package


_enter_pyroute2()
# pyroute2 ships no types; everything of it that is used here goes through these two names.
_LinkMessage: Any = import_module("pyroute2.netlink.rtnl.ifinfmsg").ifinfmsg
_StatsMessage: Any = import_module("pyroute2.netlink.rtnl.ifstatsmsg").ifstatsmsg

GROUP = 0x6E6C
"""The link group of our taps: one message removes them all."""

_BATCH = 100
"""Messages in one datagram: answers to all of them fit the socket's default buffer."""
_RECEIVE_SIZE = 1 << 16

# linux/netlink.h, linux/rtnetlink.h, linux/if.h, linux/if_link.h
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _ACK, _EXCL, _CREATE, _DUMP = 0x1, 0x4, 0x200, 0x400, 0x300
_ACK_TLVS = 0x200
_ERROR_TEXT = 1
_NEW_LINK, _DELETE_LINK, _SET_LINK, _NEW_PROPERTY, _GET_STATS = 16, 17, 19, 108, 94
_UP = 1
_ADDRESSES_NONE = 1
_STATS_LINK_64 = 1
_HEADER = struct.Struct("IHHII")
_ERROR = struct.Struct("i")
_ATTRIBUTE = struct.Struct("HH")


class NetlinkError(OSError):
    """The kernel refused a message.

    Attributes:
        about: What the message was about.
        text: The kernel's own explanation, or empty.
    """

    def __init__(self, number: int, about: str, text: str) -> None:
        super().__init__(number, about)
        self.about = about
        self.text = text


class Request(NamedTuple):
    """A message to send about a link.

    Attributes:
        about: What it is about, for people.
        kind: The message's type.
        ifindex: The interface's number, 0 for none.
        attributes: In pyroute2's form: names with values, nested ones in ``{"attrs": [...]}``.
        options: Flags of the netlink header.
        up: Whether the interface is to be up; None leaves it as it is.
    """

    about: str
    kind: int
    ifindex: int
    attributes: Sequence[tuple[str, object]]
    options: int = 0
    up: bool | None = None


class LinkCounters(NamedTuple):
    """What went through an interface, as the host sees it."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_errors: int
    tx_errors: int
    rx_dropped: int
    tx_dropped: int


def create_bridge(about: str, index: int, name: str, *, mtu: int, wire: bool) -> Request:
    """Make a bridge that passes everything on at once, and is up.

    VLAN filtering stays as it is born, off; a kernel without it knows no such attribute.

    Args:
        about: What it is, for people.
        index: Its interface number.
        name: Its name.
        mtu: In bytes.
        wire: Whether it has two ports and so need not learn addresses.
    """
    data = [
        ("IFLA_BR_FORWARD_DELAY", 0),
        ("IFLA_BR_STP_STATE", 0),
        ("IFLA_BR_MCAST_SNOOPING", 0),
        # In hundredths of a second: 300 s is what switches do.
        ("IFLA_BR_AGEING_TIME", 0 if wire else 30000),
    ]
    kind = [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", {"attrs": data})]
    attributes = [
        ("IFLA_IFNAME", name),
        ("IFLA_MTU", mtu),
        ("IFLA_LINKINFO", {"attrs": kind}),
    ]
    return Request(about, _NEW_LINK, index, attributes, options=_CREATE | _EXCL)


def attach_tap(about: str, index: int, *, bridge: int, mtu: int) -> Request:
    """Put a tap on the bridge of that number."""
    attributes = [("IFLA_MTU", mtu), ("IFLA_MASTER", bridge), ("IFLA_GROUP", GROUP)]
    return Request(about, _SET_LINK, index, attributes)


def pass_reserved(about: str, index: int) -> Request:
    """Let a port pass 01:80:c2:00:00:00 to 0f on, all but PAUSE: the kernel keeps bit 1."""
    data = {"attrs": [("IFLA_BRPORT_GROUP_FWD_MASK", 0xFFFD)]}
    kind = [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", data)]
    return Request(about, _NEW_LINK, index, [("IFLA_LINKINFO", {"attrs": kind})])


def add_altname(about: str, index: int, altname: str) -> Request:
    """Give an interface a long name."""
    names = {"attrs": [("IFLA_ALT_IFNAME", altname)]}
    attributes = [("IFLA_PROP_LIST", names)]
    return Request(about, _NEW_PROPERTY, index, attributes, options=_CREATE | _EXCL)


def forbid_ipv6_addresses(about: str, index: int) -> Request:
    """Let an interface make no link-local address when it comes up."""
    inet6 = {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _ADDRESSES_NONE)]}
    attributes = [("IFLA_AF_SPEC", {"attrs": [("AF_INET6", inet6)]})]
    return Request(about, _SET_LINK, index, attributes)


def set_up(about: str, index: int, *, up: bool) -> Request:
    """Bring an interface up or take it down."""
    return Request(about, _SET_LINK, index, [], up=up)


def forget_addresses(about: str, index: int) -> Request:
    """Let a bridge forget the addresses that it learned."""
    kind = [
        ("IFLA_INFO_KIND", "bridge"),
        ("IFLA_INFO_DATA", {"attrs": [("IFLA_BR_FDB_FLUSH", None)]}),
    ]
    return Request(about, _NEW_LINK, index, [("IFLA_LINKINFO", {"attrs": kind})])


def remove_taps() -> Request:
    """Remove all taps at once."""
    return Request("the lab's taps", _DELETE_LINK, 0, [("IFLA_GROUP", GROUP)])


class Netlink:
    """A netlink socket in this network namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.bind((0, 0))
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._sequence = 0

    def apply(self, requests: Iterable[Request]) -> None:
        """Have the kernel do all of them, in order.

        Raises:
            NetlinkError: It refused one; the first. Those after it may have been done.
        """
        batch: list[Request] = []
        for request in requests:
            batch.append(request)
            if len(batch) == _BATCH:
                self._apply_batch(batch)
                batch = []
        if batch:
            self._apply_batch(batch)

    def read_counters(self) -> dict[int, LinkCounters]:
        """Return the counters of every interface, by number."""
        message = _StatsMessage()
        message["filter_mask"] = _STATS_LINK_64
        self._socket.send(self._encode(message, _GET_STATS, _DUMP))
        counters: dict[int, LinkCounters] = {}
        while True:
            data = self._socket.recv(_RECEIVE_SIZE)
            for offset, kind, _ in _messages(data):
                if kind == _NLMSG_DONE:
                    return counters
                answer = _StatsMessage(data, offset)
                answer.decode()
                values = answer.get_attr("IFLA_STATS_LINK_64")
                counters[answer["ifindex"]] = LinkCounters(**{
                    name: values[name] for name in LinkCounters._fields
                })

    def _apply_batch(self, batch: list[Request]) -> None:
        # Refusals are always answered; of successes only the last, which tells the end.
        first = self._sequence + 1
        parts = [self._encode_link(request, last=request is batch[-1]) for request in batch]
        self._socket.send(b"".join(parts))
        refused: NetlinkError | None = None
        while True:
            data = self._socket.recv(_RECEIVE_SIZE)
            for offset, _, sequence in _messages(data):
                number, text = _read_error(data, offset)
                if number and refused is None:
                    refused = NetlinkError(number, batch[sequence - first].about, text)
                if sequence == self._sequence:
                    if refused:
                        raise refused
                    return

    def _encode_link(self, request: Request, *, last: bool) -> bytes:
        message = _LinkMessage()
        message["index"] = request.ifindex
        message["attrs"] = request.attributes
        if request.up is not None:
            message["flags"] = _UP if request.up else 0
            message["change"] = _UP
        return self._encode(message, request.kind, request.options | (_ACK if last else 0))

    def _encode(self, message: Any, kind: int, options: int) -> bytes:
        self._sequence += 1
        message["header"]["type"] = kind
        message["header"]["flags"] = _REQUEST | options
        message["header"]["sequence_number"] = self._sequence
        message.encode()
        return bytes(message.data)


def _messages(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield offset, type and sequence number of each message in a datagram."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
        yield offset, kind, sequence
        offset += (length + 3) & ~3


def _read_error(data: bytes, offset: int) -> tuple[int, str]:
    """Return errno and the kernel's explanation from the answer at that offset."""
    length, kind, flags, *_ = _HEADER.unpack_from(data, offset)
    if kind != _NLMSG_ERROR:
        return 0, ""
    number = -_ERROR.unpack_from(data, offset + _HEADER.size)[0]
    if not flags & _ACK_TLVS:
        return number, ""
    # The header of the refused message stands between errno and the attributes (CAP_ACK).
    place, end = offset + 2 * _HEADER.size + _ERROR.size, offset + length
    while place + _ATTRIBUTE.size <= end:
        size, attribute = _ATTRIBUTE.unpack_from(data, place)
        if attribute == _ERROR_TEXT:
            return number, data[place + _ATTRIBUTE.size : place + size].rstrip(b"\0").decode()
        place += max((size + 3) & ~3, _ATTRIBUTE.size)
    return number, ""
