"""The lab's links, inside its network namespace: bridges, taps, their state and counters."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

from netlab.sandbox import netlink
from netlab.sandbox.messages import Port, RefusedError, Segment
from netlab.sandbox.taps import TUN, open_tap, read_frames

_ETH_P_ALL = 0x0003
_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _PACKET_MR_PROMISC = 263, 1, 1


class Links:
    """The segments of a lab and the taps on them.

    Attributes:
        segments: Every segment.
        taps: Every tap's descriptor, by name. It stays open when a machine ends: the port stays,
            and a machine that starts anew gets the same one.
    """

    def __init__(self) -> None:
        self.segments: tuple[Segment, ...] = ()
        self.taps: dict[str, int] = {}
        self._indexes: dict[str, int] = {}
        self._bridges: set[str] = set()
        self._netlink = netlink.Netlink()

    def build(self, segments: Sequence[Segment], *, silenced: bool) -> None:
        """Make everything, in one pass.

        Args:
            segments: What to make.
            silenced: Whether new interfaces are born without IPv6.

        Raises:
            RefusedError: Something could not be made; the message names it.
        """
        self.segments = tuple(segments)
        self._apply(_bridge_requests(segments, silenced=silenced))
        self._apply(self._open_ports(segments, silenced=silenced))

    def forget_addresses(self) -> None:
        """Let the bridges that learn forget what they learned."""
        self._apply(
            netlink.forget_addresses(_describe(segment), segment.ifindex)
            for segment in self.segments
            if len(segment.ports) > 2
        )

    def set_port(self, tap: str, *, up: bool) -> None:
        """Bring the host's side of a tap up, or take it down.

        Raises:
            RefusedError: There is no such tap, or the kernel refuses.
        """
        self.tap(tap)
        self._apply([netlink.set_up(f"tap {tap}", self._indexes[tap], up=up)])

    def tap(self, name: str) -> int:
        """Return the descriptor of a tap.

        Raises:
            RefusedError: There is no such tap.
        """
        if name not in self.taps:
            raise RefusedError("UnknownNameError", f"the sandbox has no tap {name!r}")
        return self.taps[name]

    def drain(self, tap: str) -> None:
        """Throw away the frames that wait on a tap: a new machine hears nothing of the past."""
        # Nothing waits on a port that is down, and reading there is an error.
        try:
            read_frames(self.taps[tap])
        except OSError as error:
            if error.errno != errno.EBADFD:
                raise

    def read_counters(self) -> dict[str, netlink.LinkCounters]:
        """Return the counters of every tap."""
        found = self._netlink.read_counters()
        return {tap: found[self._indexes[tap]] for tap in self.taps}

    def open_capture(self, interface: str) -> socket.socket:
        """Return a packet socket that hears what passes a tap or a bridge.

        Raises:
            RefusedError: There is no such tap or bridge.
        """
        index = self._indexes.get(interface)
        if index is None:
            raise RefusedError(
                "UnknownNameError", f"the sandbox has no tap or bridge {interface!r}"
            )
        # With protocol 0 it hears nothing until it is bound to the one interface.
        capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        try:
            if interface in self._bridges:
                # A bridge only gives itself what is flooded, unless somebody listens to all.
                membership = struct.pack("iHH8s", index, _PACKET_MR_PROMISC, 0, b"")
                capture.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
            capture.bind((interface, _ETH_P_ALL))
        except OSError:
            capture.close()
            raise
        return capture

    def _open_ports(
        self, segments: Sequence[Segment], *, silenced: bool
    ) -> Iterator[netlink.Request]:
        """Open each tap when its turn comes, and yield what puts it on its bridge.

        So only few taps are ever outside the group that :func:`remove_taps` removes at once.
        """
        for segment in segments:
            self._bridges.add(segment.bridge)
            self._indexes[segment.bridge] = segment.ifindex
            for port in segment.ports:
                about = f"tap {port.tap} ({port.altname}) of segment {segment.name}"
                self.taps[port.tap] = _open_port(port, about)
                self._indexes[port.tap] = port.ifindex
                yield from _port_requests(segment, port, about, silenced=silenced)

    def _apply(self, requests: Iterator[netlink.Request] | list[netlink.Request]) -> None:
        try:
            self._netlink.apply(requests)
        except netlink.NetlinkError as error:
            raise _explain(error) from None


def remove_taps() -> None:
    """Remove all taps of this namespace at once.

    The kernel waits for a grace period, some 17 ms, for each tap that closes by itself, and for
    each bridge, whichever way it goes. Bridges are therefore left to the kernel, which removes them
    with the namespace once nobody is in it.
    """
    netlink.Netlink().apply([netlink.remove_taps()])


def _bridge_requests(segments: Sequence[Segment], *, silenced: bool) -> Iterator[netlink.Request]:
    for segment in segments:
        about = _describe(segment)
        wire = len(segment.ports) == 2
        yield netlink.create_bridge(
            about, segment.ifindex, segment.bridge, mtu=segment.mtu, wire=wire
        )
        if not silenced:
            yield netlink.forbid_ipv6_addresses(about, segment.ifindex)
        yield netlink.set_up(about, segment.ifindex, up=True)
        yield netlink.add_altname(about, segment.ifindex, segment.altname)


def _port_requests(
    segment: Segment, port: Port, about: str, *, silenced: bool
) -> Iterator[netlink.Request]:
    yield netlink.attach_tap(about, port.ifindex, bridge=segment.ifindex, mtu=segment.mtu)
    yield netlink.pass_reserved(about, port.ifindex)
    if not silenced:
        yield netlink.forbid_ipv6_addresses(about, port.ifindex)
    yield netlink.set_up(about, port.ifindex, up=True)
    yield netlink.add_altname(about, port.ifindex, port.altname)


def _describe(segment: Segment) -> str:
    return f"bridge {segment.bridge} of segment {segment.name}"


def _open_port(port: Port, about: str) -> int:
    try:
        return open_tap(port.tap, port.ifindex, fast=port.fast)
    except OSError as error:
        raise _explain_tap(error, about) from None


def _explain_tap(error: OSError, about: str) -> RefusedError:
    reason = os.strerror(error.errno or 0)
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return RefusedError(
            "CapacityError",
            f"{about}: no descriptor is left ({reason})",
            hint="raise the limit: `ulimit -Hn`, LimitNOFILE= of the service, or fs.file-max",
        )
    return RefusedError("SandboxError", f"{about} could not be made on {TUN}: {reason}")


def _explain(error: netlink.NetlinkError) -> RefusedError:
    if error.errno == errno.EOPNOTSUPP and error.about.startswith("bridge "):
        return RefusedError(
            "MissingFeatureError",
            "the kernel makes no bridges",
            hint="as root: modprobe bridge",
            evidence=f"{error.about}: {error.text or os.strerror(errno.EOPNOTSUPP)}",
        )
    reason = os.strerror(error.errno or 0) + (f": {error.text}" if error.text else "")
    return RefusedError("SandboxError", f"{error.about} was refused by the kernel: {reason}")
