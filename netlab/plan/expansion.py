"""``links`` written out: rules and ranges -> links of single ends."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netlab.plan.inventory import PlannedNode
from netlab.topology import ranges
from netlab.topology.links import Endpoint, Link
from netlab.topology.model import Topology
from netlab.topology.scalars import HostAddress, Network
from netlab.topology.source import Mistakes, Path, WrongError, quote

MAXIMUM_ENDS = 65_536
"""Most ends of links in a lab; each is a tap."""

_FEWEST = {"ring": 3, "line": 2, "star": 2, "mesh": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """An interface that is asked for.

    Attributes:
        node: Whose.
        interface: Its name, or None to be named by rule.
        path: Where it is asked for.
        automatic: Whether it gets addresses by rule.
        addresses: Its static addresses.
        mtu: In bytes, if it is said for this end.
        mac: Its MAC address, if it is said.
    """

    node: PlannedNode
    interface: str | None
    path: Path
    automatic: bool
    addresses: tuple[HostAddress, ...] = ()
    mtu: int | None = None
    mac: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedLink:
    """A link that is asked for.

    Attributes:
        path: Where.
        ends: Two or more.
        mtu: In bytes, if it is said for the link.
        subnets: The prefixes that it is given.
    """

    path: Path
    ends: tuple[End, ...]
    mtu: int | None
    subnets: tuple[Network, ...]


def expand_links(
    topology: Topology, nodes: Mapping[str, PlannedNode], mistakes: Mistakes
) -> list[WantedLink]:
    """Return the links in file order, each rule's in the order of its nodes.

    Args:
        topology: The whole.
        nodes: Its nodes, by name.
        mistakes: Gets unknown nodes, links to themselves, and rules with too few nodes or too many.
    """
    expansion = _Expansion(nodes, mistakes)
    result: list[WantedLink] = []
    for index, link in enumerate(topology.links):
        path = ("links", index)
        if link.endpoints is None and link.generator is None:
            continue  # left out: what is wrong with it is known
        result.extend(
            expansion.by_rule(link, path) if link.generator else expansion.one(link, path)
        )
        if expansion.ends > MAXIMUM_ENDS:
            mistakes.add(path, f"the links up to here have more than {MAXIMUM_ENDS:,} ends")
            return []
    return result


class _Expansion:
    """Makes links; `ends` counts theirs, made or not: a bomb is noticed before it bursts."""

    def __init__(self, nodes: Mapping[str, PlannedNode], mistakes: Mistakes) -> None:
        self.ends = 0
        self._nodes = nodes
        self._mistakes = mistakes

    def one(self, link: Link, path: Path) -> list[WantedLink]:
        ends: list[End] = []
        unknown = False
        for index, endpoint in enumerate(link.endpoints or ()):
            place = (*path, "endpoints", index)
            found = self._find(endpoint.node, place)
            unknown = unknown or found is None
            ends += [_end(link, endpoint, node, place) for node in found or ()]
        if unknown or not self._is_link(ends, link, path):
            return []
        return [_wanted(link, path, ends)]

    def by_rule(self, link: Link, path: Path) -> list[WantedLink]:
        rule, patterns = link.generator or ("", ())
        members: dict[str, PlannedNode] = {}
        unknown = False
        for index, pattern in enumerate(patterns):
            place = (*path, rule, index)
            found = self._find(pattern, place)
            unknown = unknown or found is None
            for node in found or ():
                if node.name in members:
                    self._mistakes.add(place, f"{quote(node.name)} is in this {rule} twice")
                members[node.name] = node
        if len(members) < _FEWEST[rule] and not unknown:
            message = f"a {rule} of {_number(len(members), 'node')}"
            self._mistakes.add((*path, rule), message, f"it needs at least {_FEWEST[rule]}")
        self.ends += len(members) * (len(members) - 1 if rule == "mesh" else 1)
        if unknown or len(members) < _FEWEST[rule] or self.ends > MAXIMUM_ENDS:
            return []
        return [
            _wanted(link, path, [_end(link, None, node, (*path, rule)) for node in pair])
            for pair in _pairs(rule, list(members.values()))
        ]

    def _find(self, pattern: str, path: Path) -> list[PlannedNode] | None:
        """Return the nodes of a pattern, or None if one of them is not there."""
        self.ends += ranges.count(pattern)
        if self.ends > MAXIMUM_ENDS:
            return None
        try:
            names = ranges.expand(pattern)
        except WrongError as wrong:
            self._mistakes.add(path, wrong.message, wrong.hint)
            return None
        missing = [name for name in names if name not in self._nodes]
        for name in missing:
            hint = self._mistakes.suggest(name, self._nodes)
            self._mistakes.add(path, f"the node {quote(name)} is not declared", hint)
        return None if missing else [self._nodes[name] for name in names]

    def _is_link(self, ends: list[End], link: Link, path: Path) -> bool:
        where = (*path, "endpoints")
        if len(ends) < 2:
            self._mistakes.add(
                where, f"a link of {_number(len(ends), 'end')}", "it needs at least 2"
            )
            return False
        if len(ends) == 2 and ends[0].node is ends[1].node:
            self._mistakes.add(where, f"a link from {quote(ends[0].node.name)} to itself")
            return False
        needy = any(end.automatic for end in ends)
        if len(ends) > 2 and needy and not link.subnet:
            message = f"a link of {len(ends)} ends needs a subnet for their addresses"
            self._mistakes.add(where, message, "give it subnet: 10.1.0.0/24, or addresses: none")
        return True


def _number(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _wanted(link: Link, path: Path, ends: Iterable[End]) -> WantedLink:
    return WantedLink(path=path, ends=tuple(ends), mtu=link.mtu, subnets=link.subnet or ())


def _end(link: Link, endpoint: Endpoint | None, node: PlannedNode, path: Path) -> End:
    automatic = link.addresses == "auto"
    if endpoint is None:
        return End(node=node, interface=None, path=path, automatic=automatic)
    return End(
        node=node,
        interface=endpoint.interface,
        path=path,
        automatic=automatic and endpoint.addresses is None,
        addresses=endpoint.addresses or (),
        mtu=endpoint.mtu,
        mac=endpoint.mac,
    )


def _pairs(rule: str, nodes: list[PlannedNode]) -> Iterable[tuple[PlannedNode, PlannedNode]]:
    if rule == "mesh":
        return itertools.combinations(nodes, 2)
    if rule == "star":
        return ((nodes[0], leaf) for leaf in nodes[1:])
    return itertools.pairwise([*nodes, nodes[0]] if rule == "ring" else nodes)
