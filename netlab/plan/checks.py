"""What is wrong with addresses once everybody has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from netlab.plan.addressing import Address, Addressing, Subnet, address_of
from netlab.plan.inventory import PlannedNode
from netlab.plan.wiring import Port, Segment
from netlab.topology.source import Mistakes, Path

_MINIMUM_IPV6_MTU = 1280
"""Bytes (RFC 8200, section 5): the kernel takes IPv6 off an interface below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holder:
    """Who has an address, and on what: a segment's name, or the node's own name for a loopback."""

    name: str
    node: str
    segment: str | None
    path: Path


def check_addresses(
    nodes: Iterable[PlannedNode],
    segments: Iterable[Segment],
    addressing: Addressing,
    mistakes: Mistakes,
) -> tuple[str, ...]:
    """Find addresses outside their segment, used twice or overlapping; return warnings.

    One address on two segments is a warning, as anycast and separate networks behind address
    translation are real; on one segment, or twice on one node, it is a mistake.
    """
    segments = tuple(segments)
    for segment in segments:
        for port in segment.ports:
            _check_port(segment, port, addressing, mistakes)
    overlapping = _check_overlaps(segments, nodes, addressing, mistakes)
    # Whose prefix is wrong has wrong addresses: that they are taken too need not be said.
    sound = (segment for segment in segments if segment.name not in overlapping)
    return _check_unique(_holders(sound, nodes, addressing), mistakes)


def _check_port(segment: Segment, port: Port, addressing: Addressing, mistakes: Mistakes) -> None:
    addresses = addressing.ports[port.node.name, port.name]
    known = addressing.subnets[segment.name]
    for address in addresses[len(addresses) - len(port.addresses) :]:
        if address.is_link_local or not known:
            continue
        if not any(subnet.holds(address) for subnet in known):
            prefixes = " and ".join(map(str, known))
            hint = f"{segment.name} has {prefixes}"
            mistakes.add((*port.path, "addresses"), f"{address.host} is outside its segment", hint)
    if port.mtu < _MINIMUM_IPV6_MTU and any(address.version == 6 for address in addresses):
        message = f"an MTU of {port.mtu} with IPv6 addresses"
        mistakes.add(port.path, message, f"IPv6 needs {_MINIMUM_IPV6_MTU}")


def _holders(
    segments: Iterable[Segment], nodes: Iterable[PlannedNode], addressing: Addressing
) -> Iterator[tuple[Address, _Holder]]:
    for segment in segments:
        for port in segment.ports:
            holder = _Holder(
                name=f"{port.node.name}:{port.name}",
                node=port.node.name,
                segment=segment.name,
                path=(*port.path, "addresses") if port.addresses else port.path,
            )
            for address in addressing.ports[port.node.name, port.name]:
                yield address, holder
    for node in nodes:
        path = node.settings.places.get("loopback", node.path)
        holder = _Holder(name=f"{node.name}:lo", node=node.name, segment=None, path=path)
        for address in addressing.loopbacks[node.name]:
            yield address, holder


def _check_unique(
    holders: Iterable[tuple[Address, _Holder]], mistakes: Mistakes
) -> tuple[str, ...]:
    on_segment: dict[tuple[str, int, int], _Holder] = {}
    on_node: dict[tuple[str, int, int], _Holder] = {}
    anywhere: dict[tuple[int, int], tuple[Address, list[str]]] = {}
    for address, holder in holders:
        key = address.version, address.value
        near: list[_Holder] = []
        if holder.segment is not None:
            near.append(on_segment.setdefault((holder.segment, *key), holder))
        if not address.is_link_local:
            near.append(on_node.setdefault((holder.node, *key), holder))
        first = next((other for other in near if other is not holder), None)
        if first is not None:
            hint = f"the first is {first.name}, at {mistakes.source.place(first.path)}"
            message = f"{address.host} of {holder.name} is used twice"
            mistakes.add(holder.path, message, hint)
        elif not address.is_link_local:
            anywhere.setdefault(key, (address, []))[1].append(holder.name)
    return tuple(
        f"{address.host} is used more than once: {', '.join(names)}"
        for address, names in anywhere.values()
        if len(names) > 1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """A prefix in use: whose, and whether it is drawn from a pool."""

    subnet: Subnet
    owner: str
    drawn: bool
    path: Path


def _check_overlaps(
    segments: Iterable[Segment],
    nodes: Iterable[PlannedNode],
    addressing: Addressing,
    mistakes: Mistakes,
) -> set[str]:
    """Find drawn prefixes that overlap others: what the file gives has precedence over a pool.

    The claims are gone through by their first addresses; only the one that reaches furthest can
    overlap the next, so one look suffices for each. Returns the names of the segments found.
    """
    claims = sorted(
        _claims(segments, nodes, addressing),
        key=lambda claim: (claim.subnet.version, claim.subnet.start, claim.subnet.length),
    )
    found: set[str] = set()
    widest: _Claim | None = None
    for claim in claims:
        if widest is not None and _overlap(widest.subnet, claim.subnet):
            if widest.owner != claim.owner and (widest.drawn or claim.drawn):
                ours, other = (claim, widest) if claim.drawn else (widest, claim)
                message = f"{ours.subnet}, drawn from the pool, overlaps {other.subnet}"
                hint = f"that is {other.owner}'s; give the link a subnet:, or change addressing.p2p"
                mistakes.add(ours.path, message, hint)
                found.add(ours.owner)
            if widest.subnet.last >= claim.subnet.last:
                continue
        widest = claim
    return found


def _overlap(earlier: Subnet, later: Subnet) -> bool:
    return earlier.version == later.version and later.start <= earlier.last


def _claims(
    segments: Iterable[Segment], nodes: Iterable[PlannedNode], addressing: Addressing
) -> Iterator[_Claim]:
    for segment in segments:
        drawn = segment.name in addressing.drawn
        for subnet in addressing.subnets[segment.name]:
            yield _Claim(subnet=subnet, owner=segment.name, drawn=drawn, path=segment.path)
        for port in segment.ports:
            for address in map(address_of, port.addresses):
                if not address.is_link_local:
                    yield _Claim(
                        subnet=address.network, owner=segment.name, drawn=False, path=port.path
                    )
    for node in nodes:
        for address in addressing.loopbacks[node.name]:
            path = node.settings.places.get("loopback", node.path)
            yield _Claim(subnet=address.network, owner=f"{node.name}:lo", drawn=False, path=path)
