"""Who is joined to whom: vlans, interfaces and links -> segments with named interfaces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from netlab.plan.expansion import End, WantedLink, expand_links
from netlab.plan.inventory import PlannedNode
from netlab.plan.names import link_name
from netlab.topology.model import Topology
from netlab.topology.scalars import HostAddress, Network
from netlab.topology.source import Mistakes, Path, quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A node's interface on a segment, named.

    Attributes:
        node: The node.
        name: The interface's name.
        position: Grows in the order in which the interfaces of a node are to be listed.
        path: Where the file asks for it.
        automatic: Whether it gets addresses by rule.
        addresses: Its static addresses.
        mtu: In bytes.
        mac: Its MAC address, if it is given.
    """

    node: PlannedNode
    name: str
    position: int
    path: Path
    automatic: bool
    addresses: tuple[HostAddress, ...]
    mtu: int
    mac: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What joins ports.

    Attributes:
        name: For people.
        path: Where the file asks for it; for a vlan, where the first does.
        vlan: Its number, or None for a link.
        mtu: In bytes.
        subnets: The prefixes that the file gives it.
        ports: Its ports, in the order of the file.
        identity: A link's ends as the file names them, and which link with these ends it is.
    """

    name: str
    path: Path
    vlan: int | None
    mtu: int
    subnets: tuple[Network, ...]
    ports: tuple[Port, ...]
    identity: tuple[tuple[tuple[str, str], ...], int] = ((), 0)


def make_segments(
    topology: Topology, nodes: Mapping[str, PlannedNode], mistakes: Mistakes
) -> tuple[Segment, ...]:
    """Return the segments: vlans by number, then links in file order.

    Args:
        topology: The whole.
        nodes: Its nodes, by name.
        mistakes: Gets unknown nodes, names used twice and the like.
    """
    links = expand_links(topology, nodes, mistakes)
    naming = _Naming(mistakes)
    for node in nodes.values():
        naming.reserve(node, node.node.interfaces)
    for link in links:
        for end in link.ends:
            naming.reserve(end.node, (end.interface,) if end.interface else ())
    vlans = _vlans(nodes, naming)
    return (*vlans, *_links(links, naming, mistakes))


@dataclass(slots=True)
class _Naming:
    """Gives interfaces their names: eth1, eth2 … in order of appearance, around those given."""

    mistakes: Mistakes
    _given: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    _next: dict[str, int] = field(default_factory=dict[str, int])
    _used: dict[tuple[str, str], Path] = field(default_factory=dict[tuple[str, str], Path])

    def reserve(self, node: PlannedNode, names: Mapping[str, object] | tuple[str, ...]) -> None:
        self._given.setdefault(node.name, set()).update(names)

    def port(self, end: End, link_mtu: int | None = None) -> Port | None:
        """Return an end with its name, or None if another has that."""
        name = end.interface or self._by_rule(end.node.name)
        key = end.node.name, name
        if key not in self._used:
            self._used[key] = end.path
            return Port(
                node=end.node,
                name=name,
                position=len(self._used),
                path=end.path,
                automatic=end.automatic,
                addresses=end.addresses,
                mtu=end.mtu or link_mtu or end.node.settings.mtu,
                mac=end.mac,
            )
        hint = f"the first is at {self.mistakes.source.place(self._used[key])}"
        whose = quote(f"{end.node.name}:{name}")
        self.mistakes.add(end.path, f"the interface {whose} is used twice", hint)
        return None

    def _by_rule(self, node: str) -> str:
        while True:
            number = self._next[node] = self._next.get(node, 0) + 1
            if (name := f"eth{number}") not in self._given[node]:
                return name


def _vlans(nodes: Mapping[str, PlannedNode], naming: _Naming) -> list[Segment]:
    members: dict[int, list[Port]] = {}
    for node in nodes.values():
        for vlan, end in _vlan_ends(node):
            port = naming.port(end)
            if port is not None:
                members.setdefault(vlan, []).append(port)
    return [
        Segment(
            name=f"vlan{vlan}",
            path=ports[0].path,
            vlan=vlan,
            mtu=max(port.mtu for port in ports),
            subnets=(),
            ports=tuple(ports),
        )
        for vlan, ports in sorted(members.items())
    ]


def _vlan_ends(node: PlannedNode) -> Iterator[tuple[int, End]]:
    for index, vlan in enumerate(node.settings.vlans):
        path = (*node.settings.places["vlans"], index)
        yield vlan, End(node=node, interface=None, path=path, automatic=True)
    for name, wanted in node.node.interfaces.items():
        yield (
            wanted.vlan,
            End(
                node=node,
                interface=name,
                path=(*node.path, "interfaces", name),
                automatic=wanted.assign_ip,
                addresses=wanted.addresses,
                mtu=wanted.mtu,
                mac=wanted.mac,
            ),
        )


def _links(links: Iterable[WantedLink], naming: _Naming, mistakes: Mistakes) -> Iterator[Segment]:
    counts: dict[tuple[tuple[str, str], ...], int] = {}
    for link in links:
        ends = tuple(sorted((end.node.name, end.interface or "") for end in link.ends))
        nth = counts[ends] = counts.get(ends, -1) + 1
        segment = _link(link, naming, mistakes)
        if segment is not None:
            yield replace(segment, identity=(ends, nth))


def _link(link: WantedLink, naming: _Naming, mistakes: Mistakes) -> Segment | None:
    ports: list[Port] = []
    for end in link.ends:
        if link.mtu is not None and end.mtu is not None and end.mtu > link.mtu:
            message = f"an MTU of {end.mtu} on a link of {link.mtu}"
            mistakes.add((*end.path, "mtu"), message, "an end's is at most the link's")
        port = naming.port(end, link.mtu)
        if port is not None:
            ports.append(port)
    if len(ports) < len(link.ends):
        return None
    return Segment(
        name=link_name((port.node.name, port.name) for port in ports),
        path=link.path,
        vlan=None,
        mtu=link.mtu or max(port.mtu for port in ports),
        subnets=link.subnets,
        ports=tuple(ports),
    )
