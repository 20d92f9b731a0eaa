"""Who gets which address.

The rules, each a function of ids and numbers in the file and of nothing else:

- vlan N: ``192.168.N.ID/24`` and ``2001:db8:N::ID/64``, numbers written in decimal, as the NixOS
  test driver does;
- a link of two nodes: a /31 and a /64 from the pool ``p2p``. Two ids make one number,
  (b-1)(b-2)/2 + (a-1) for a < b, and that is the index of their subnet: 4,096 ids need 8,386,560 of
  the 8,388,608 that a /8 has. Further links of the same two count from the pool's end;
- a link with a subnet: two ends get its first two addresses, lower id first; more than two get its
  first address plus their id;
- loopback: the pool's first address plus the id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from netlab.plan.inventory import PlannedNode
from netlab.plan.wiring import Port, Segment
from netlab.topology.model import Topology
from netlab.topology.scalars import HostAddress, Network
from netlab.topology.source import Mistakes, quote

_BITS = {4: 32, 6: 128}
_LINK_PREFIX = {4: 31, 6: 64}
_PARALLEL = 7
"""Further links of one pair are apart from the next pair's by so many places at the pool's end."""


class Subnet(NamedTuple):
    """A prefix: IP version, first address as a number, length."""

    version: int
    start: int
    length: int

    @property
    def last(self) -> int:
        """Its last address as a number."""
        return self.start | (1 << (_BITS[self.version] - self.length)) - 1

    def holds(self, address: Address) -> bool:
        """Whether an address is inside."""
        return self.version == address.version and self.start <= address.value <= self.last

    def __str__(self) -> str:
        return f"{_text(self.version, self.start)}/{self.length}"


class Address(NamedTuple):
    """A host's address: IP version, the address as a number, prefix length."""

    version: int
    value: int
    length: int

    @property
    def network(self) -> Subnet:
        """The prefix that it is in."""
        host = _BITS[self.version] - self.length
        return Subnet(self.version, self.value >> host << host, self.length)

    @property
    def host(self) -> str:
        """The address without its prefix length."""
        return _text(self.version, self.value)

    @property
    def is_link_local(self) -> bool:
        """Whether it is in fe80::/10, which is on every segment."""
        return self.version == 6 and self.value >> 118 == 0xFE80 >> 6

    def __str__(self) -> str:
        return f"{self.host}/{self.length}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressing:
    """Everybody's addresses.

    Attributes:
        ports: By node and interface, in the order to be set: by rule first, then static ones.
        loopbacks: By node.
        subnets: The known prefixes of each segment, by its name; none for one whose addresses
            are all static.
        drawn: The names of the segments whose prefixes are drawn from a pool.
    """

    ports: Mapping[tuple[str, str], tuple[Address, ...]]
    loopbacks: Mapping[str, tuple[Address, ...]]
    subnets: Mapping[str, tuple[Subnet, ...]]
    drawn: frozenset[str]


def assign(
    topology: Topology,
    nodes: Mapping[str, PlannedNode],
    segments: Iterable[Segment],
    mistakes: Mistakes,
) -> Addressing:
    """Give every interface and loopback its addresses.

    Args:
        topology: The whole.
        nodes: Its nodes, by name.
        segments: Its segments.
        mistakes: Gets what has no address by rule, with what to do instead.
    """
    pool = tuple(map(subnet_of, topology.addressing.p2p))
    pairs: dict[tuple[int, int], int] = {}
    ports: dict[tuple[str, str], tuple[Address, ...]] = {}
    subnets: dict[str, tuple[Subnet, ...]] = {}
    drawn: set[str] = set()
    for segment in segments:
        own = _subnets(segment)
        if len(segment.ports) == 2 and segment.vlan is None and not own:
            first, second = sorted(port.node.id for port in segment.ports)
            nth = pairs[first, second] = pairs.get((first, second), -1) + 1
            if any(port.automatic for port in segment.ports):
                own = _draw(pool, (first, second), nth, segment, mistakes)
                drawn.add(segment.name)
        subnets[segment.name] = own
        for port in segment.ports:
            ruled = _by_rule(segment, port, own, mistakes) if port.automatic else ()
            ports[port.node.name, port.name] = (*ruled, *map(address_of, port.addresses))
    return Addressing(
        ports=ports,
        loopbacks={node.name: _loopback(topology, node, mistakes) for node in nodes.values()},
        subnets=subnets,
        drawn=frozenset(drawn),
    )


def address_of(address: HostAddress) -> Address:
    """Return an address of the file."""
    return Address(address.version, int(address.ip), address.network.prefixlen)


def subnet_of(network: Network) -> Subnet:
    """Return a prefix of the file."""
    return Subnet(network.version, int(network.network_address), network.prefixlen)


def _text(version: int, value: int) -> str:
    return str(IPv4Address(value) if version == 4 else IPv6Address(value))


def _subnets(segment: Segment) -> tuple[Subnet, ...]:
    """Return the prefixes that a segment has without drawing from a pool."""
    if segment.vlan is None:
        return tuple(map(subnet_of, segment.subnets))
    if segment.vlan > 255 or not any(port.automatic for port in segment.ports):
        return ()
    return (
        Subnet(4, 192 << 24 | 168 << 16 | segment.vlan << 8, 24),
        Subnet(6, 0x20010DB8 << 96 | int(str(segment.vlan), 16) << 80, 64),
    )


def _draw(
    pool: tuple[Subnet, ...], pair: tuple[int, int], nth: int, segment: Segment, mistakes: Mistakes
) -> tuple[Subnet, ...]:
    lower, higher = pair
    index = (higher - 1) * (higher - 2) // 2 + lower - 1
    result: list[Subnet] = []
    for prefix in pool:
        length = _LINK_PREFIX[prefix.version]
        room = 1 << (length - prefix.length)
        place = index if nth == 0 else room - 1 - (index * _PARALLEL + nth - 1)
        if not 0 <= place < room:
            message = f"{prefix} has no /{length} for a link of the ids {lower} and {higher}"
            hint = "give the link a subnet:, or addressing.p2p a larger prefix"
            mistakes.add(segment.path, message, hint)
            continue
        start = prefix.start + (place << (_BITS[prefix.version] - length))
        result.append(Subnet(prefix.version, start, length))
    return tuple(result)


def _by_rule(
    segment: Segment, port: Port, subnets: tuple[Subnet, ...], mistakes: Mistakes
) -> tuple[Address, ...]:
    if segment.vlan is not None:
        return _on_vlan(segment.vlan, port, subnets, mistakes)
    if len(segment.ports) == 2:
        lower = min(segment.ports, key=lambda port: port.node.id)
        which = 0 if port is lower else 1
        found = [_end(segment, subnet, which, mistakes) for subnet in subnets]
    else:
        found = [_numbered(segment, subnet, port, mistakes) for subnet in subnets]
    return tuple(address for address in found if address is not None)


def _on_vlan(
    vlan: int, port: Port, subnets: tuple[Subnet, ...], mistakes: Mistakes
) -> tuple[Address, ...]:
    number = port.node.id
    if vlan > 255 or number > 254:
        what = f"vlan {vlan} and id {number} of {quote(port.node.name)}"
        message = f"192.168.VLAN.ID has no room for {what}"
        hint = "give the interface addresses:, or a vlan up to 255 and an id up to 254"
        mistakes.add(port.path, message, hint)
        return ()
    ipv4, ipv6 = subnets
    return (
        Address(4, ipv4.start + number, ipv4.length),
        Address(6, ipv6.start + int(str(number), 16), ipv6.length),
    )


def _end(segment: Segment, subnet: Subnet, which: int, mistakes: Mistakes) -> Address | None:
    # The first address of a prefix longer than one host bit is not a host's.
    first = 0 if subnet.length == _BITS[subnet.version] - 1 else 1
    value = subnet.start + first + which
    if value > subnet.last:
        message = f"{subnet} has no room for two ends"
        mistakes.add((*segment.path, "subnet"), message, "give a larger subnet")
        return None
    return Address(subnet.version, value, subnet.length)


def _numbered(segment: Segment, subnet: Subnet, port: Port, mistakes: Mistakes) -> Address | None:
    value = subnet.start + port.node.id
    if value >= subnet.last + (subnet.version == 6):
        message = f"{subnet} has no room for id {port.node.id} of {quote(port.node.name)}"
        mistakes.add((*segment.path, "subnet"), message, "give a larger subnet or a smaller id")
        return None
    return Address(subnet.version, value, subnet.length)


def _loopback(topology: Topology, node: PlannedNode, mistakes: Mistakes) -> tuple[Address, ...]:
    wanted = node.settings.loopback
    if not isinstance(wanted, bool):
        return tuple(map(address_of, wanted))
    result: list[Address] = []
    for pool in map(subnet_of, topology.addressing.loopback if wanted else ()):
        address = Address(pool.version, pool.start + node.id, _BITS[pool.version])
        if not pool.holds(address):
            message = f"{pool} has no address for id {node.id} of {quote(node.name)}"
            hint = "give addressing.loopback a larger prefix"
            mistakes.add(("addressing", "loopback"), message, hint)
            continue
        result.append(address)
    return tuple(result)
