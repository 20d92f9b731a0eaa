"""Which bridge, and which VLAN on it, each segment of a lab becomes.

A segment is a network of its own, so two segments on one bridge need different VLAN tags. They are
a function of the plan and of the options alone: nodes that are exported one by one, on different
days, still meet on the same networks.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from netlab.errors import UsageError
from netlab.plan.model import Plan, SegmentPlan
from netlab.proxmox.formats import BRIDGE, VNET, integer

FIRST_TAG = 2001
"""The first tag of segments that are links; a vlan keeps its number, but for :data:`NATIVE`."""

NATIVE = 1
"""The VLAN of untagged frames on a bridge that knows VLANs (vlan_default_pvid in ip-link(8)),
and so of the host and the network outside: what is tagged with it would meet them."""

LAST_TAG = 4094

_TARGET = re.compile(r"(.+)=([^=/]+)(?:/([0-9]{1,9}))?")
_TAG = integer(1, LAST_TAG)


@dataclass(frozen=True, slots=True, order=True)
class Network:
    """A network on Proxmox.

    Attributes:
        bridge: A bridge such as ``vmbr0``, or the name of a virtual network (vnet).
        tag: The VLAN on it, 1 to 4094, or None: untagged.
    """

    bridge: str
    tag: int | None = None

    def __str__(self) -> str:
        return self.bridge if self.tag is None else f"{self.bridge}/{self.tag}"

    @property
    def virtual(self) -> bool:
        """Whether it can be a virtual network, which Proxmox makes by API, rather than a bridge."""
        return self._named_virtual and self.tag is None

    @property
    def carrier(self) -> str | None:
        """What its MTU is that of: a bridge, or None: the zone that all virtual networks are in."""
        return None if self._named_virtual else self.bridge

    @property
    def _named_virtual(self) -> bool:
        return not self.bridge.startswith("vmbr") and not VNET.mistakes(self.bridge)


def parse_mapping(text: str) -> tuple[tuple[str, Network], ...]:
    """Read ``SEGMENT=BRIDGE,SEGMENT=BRIDGE/TAG``: where segments go that do not go by rule.

    Raises:
        UsageError: Every part that is not of that form, or a segment that is there twice.
    """
    found: list[tuple[str, Network]] = []
    wrong: list[str] = []
    for part in filter(None, text.split(",")):
        match = _TARGET.fullmatch(part)
        if match is None:
            wrong.append(part)
        else:
            found.append((match[1], Network(match[2], int(match[3]) if match[3] else None)))
    twice = [name for name, count in Counter(name for name, _ in found).items() if count > 1]
    if twice:
        raise UsageError(f"{', '.join(twice)} is mapped twice", hint="a segment is one network")
    if wrong:
        parts = ", ".join(map(repr, wrong))
        raise UsageError(
            f"{parts} does not say where a segment goes",
            hint="write SEGMENT=BRIDGE or SEGMENT=BRIDGE/TAG, several with commas between",
        )
    return tuple(found)


def assign_networks(
    plan: Plan, *, bridge: str, mapping: tuple[tuple[str, Network], ...] = ()
) -> Mapping[str, Network]:
    """Return the network of every segment of a lab.

    Args:
        plan: The lab.
        bridge: The bridge of segments that the mapping does not name, each on a VLAN of its own: a
            vlan's number, or for a link and for vlan 1 one that no vlan of the lab has.
        mapping: Segments with the networks that they get.
    """
    wanted = dict(mapping)
    rest = [segment for segment in plan.segments if segment.name not in wanted]
    taken = {network.tag for network in wanted.values() if network.bridge == bridge}
    taken |= {segment.vlan for segment in rest}
    free = (
        tag for tag in (*range(FIRST_TAG, LAST_TAG + 1), *range(2, FIRST_TAG)) if tag not in taken
    )
    networks: dict[str, Network] = {}
    for segment in plan.segments:
        by_rule = _by_rule(segment, bridge, free) if segment.name not in wanted else None
        networks[segment.name] = by_rule or wanted.get(segment.name, Network(bridge))
    return networks


def _by_rule(segment: SegmentPlan, bridge: str, free: Iterator[int]) -> Network:
    # A lab with more segments than there are tags has some without: network_mistakes tells.
    numbered = segment.vlan is not None and segment.vlan != NATIVE
    return Network(bridge, segment.vlan if numbered else next(free, None))


def network_mistakes(
    plan: Plan, networks: Mapping[str, Network], mapping: tuple[tuple[str, Network], ...]
) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with the networks of a lab: where, what, and what to do.

    Args:
        plan: The lab.
        networks: What :func:`assign_networks` returned for it.
        mapping: What it was given.
    """
    known = [segment.name for segment in plan.segments]
    for name in dict(mapping).keys() - set(known):
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]}?" if close else "`netlab plan` lists them"
        yield name, "the lab has no such segment", hint
    for network in sorted(set(networks.values()), key=str):
        for _, message, hint in BRIDGE.mistakes(network.bridge):
            yield "bridge", message, hint
        if network.tag is not None and _TAG.mistakes(str(network.tag)):
            yield str(network), f"{network.tag} is no VLAN", f"allowed is {_TAG.allowed}"
    yield from _shared(networks)


def _shared(networks: Mapping[str, Network]) -> Iterator[tuple[str, str, str]]:
    segments: dict[Network, list[str]] = {}
    for name, network in networks.items():
        segments.setdefault(network, []).append(name)
    for network, names in segments.items():
        if len(names) > 1:
            message = f"{network} would join the segments {', '.join(names)}"
            yield names[1], message, "a segment is a network of its own: map it to another"
