"""A network card of a machine from Proxmox as an interface of a node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from netlab.errors import Mistake
from netlab.proxmox.configuration import Entry, parse_properties
from netlab.proxmox.networks import Network
from netlab.proxmox.schema import NET_MODELS, RULES, Properties
from netlab.topology.document import Value

SMALLEST_MTU = 68
"""The smallest MTU that a topology can say, in bytes; IPv4 needs it."""

_MEANINGLESS = {"firewall": "0", "link_down": "0", "queues": "0", "rate": "0"}
"""Properties with the values that are no different from leaving them out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A network card.

    Attributes:
        entry: Its setting, such as ``net0``: its key is the name of the interface.
        network: The network that it is on.
        mac: Its address in lower case, or None: it has none of its own.
        mtu: In bytes, or None: the network's.
        mistakes: What has to be understood and cannot be.
        left_out: What a topology cannot say.
    """

    entry: Entry
    network: Network
    mac: str | None
    mtu: int | None
    mistakes: tuple[Mistake, ...]
    left_out: tuple[Mistake, ...]

    @property
    def key(self) -> str:
        """The name of the interface."""
        return self.entry.key

    def interface(self, vlan: int, *, mac: str | None) -> Value:
        """Return the interface as a topology has it.

        Args:
            vlan: The number of its segment.
            mac: Its address, or None: a function of the names.
        """
        keys = {"vlan": str(vlan), "mac": mac, "mtu": None if self.mtu is None else str(self.mtu)}
        return {key: value for key, value in keys.items() if value is not None}


def read_card(file: str, entry: Entry) -> Card:
    """Read a network card; what is wrong with it is told, not raised.

    Args:
        file: What mistakes call the configuration.
        entry: The setting.
    """
    values = dict(parse_properties(entry.value, "model"))
    mistakes = tuple(
        Mistake(file, entry.line, 1, f"{entry.key}.{name}", message, hint)
        for name, message, hint in _wrong(values)
    )
    left_out = tuple(
        Mistake(file, entry.line, 1, f"{entry.key}.{name}", message)
        for name, message in _left_out(values)
    )
    return Card(
        entry=entry,
        # Without a bridge it is alone behind Proxmox's own router: a network with nobody else.
        network=Network(values.get("bridge") or f"{file}/{entry.key}", _number(values, "tag")),
        mac=_mac(values),
        mtu=_mtu(values),
        mistakes=mistakes,
        left_out=left_out,
    )


def _wrong(values: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    rule = RULES["net"].value
    assert isinstance(rule, Properties)
    for name in ("bridge", "tag", "mtu", "macaddr", *NET_MODELS):
        if name in values:
            yield from (
                (name, what, hint) for _, what, hint in rule.fields[name].mistakes(values[name])
            )


def _number(values: Mapping[str, str], name: str) -> int | None:
    text = values.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else None


def _mac(values: Mapping[str, str]) -> str | None:
    mac = next((values[name] for name in ("macaddr", *NET_MODELS) if name in values), "")
    # No machine has an address of zeros.
    return mac.lower() if mac.strip("0:") else None


def _mtu(values: Mapping[str, str]) -> int | None:
    mtu = _number(values, "mtu")
    return mtu if mtu is not None and mtu >= SMALLEST_MTU else None


def _left_out(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if "bridge" not in values:
        yield "bridge", "it is on Proxmox's own router, and becomes a segment of its own"
    if values.get("mtu") == "1":
        yield "mtu", "the bridge's MTU is not known here"
    elif "mtu" in values and _mtu(values) is None:
        yield "mtu", f"{values['mtu']} is too small"
    for name, value in values.items():
        if name in {"bridge", "tag", "mtu"} or _MEANINGLESS.get(name) == value:
            continue
        if name not in {"virtio", "macaddr"} and value != "virtio":
            # The card itself is always a virtio one.
            yield name, f"{value!r} is left out" if name not in NET_MODELS else "becomes virtio"
