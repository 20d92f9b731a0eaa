"""Topology -> checks: what `netlab test` looks at, with every name known and every range expanded.

Checks are no part of the plan: a lab that is up is the same lab when only its checks have changed.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

from netlab.topology import ranges
from netlab.topology.checks import EVERY, Check, Command, Converged, Ping, Reach
from netlab.topology.model import Topology
from netlab.topology.ranges import compact
from netlab.topology.source import Mistakes, Path, WrongError, quote

MAXIMUM_NAMES = 65_536
"""Most names of nodes in all checks together: ranges multiply."""

CONVERGES = "the network converges"
"""What ``converged`` is called."""

REACHABLE_WITHIN = 10.0
"""Seconds that addresses get to be usable: neighbour discovery and duplicate address detection
take one or two, on a slow host several. A routing protocol needs to be given longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PingCheck:
    """Pings that are counted.

    Attributes:
        sources: The nodes that ping.
        targets: What each of them pings: names of nodes, other host names, addresses.
        count: How many pings, one a second.
        loss: Percent of them that may go unanswered.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    count: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachCheck:
    """Who reaches whom.

    Attributes:
        sources: The nodes that ping.
        targets: What each of them pings; a node does not ping itself.
        answered: Whether all have to be answered, or none.
        within: Seconds that it may take, or None for one look.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    answered: bool
    within: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandCheck:
    """A command, and how it has to end.

    Attributes:
        nodes: The nodes that it is run in.
        run: A line for the guest's shell, or a program with its arguments.
        status: Its exit status.
        output: What it prints, without white space around it; None for anything.
        matches: A regular expression that what it prints matches; None for none.
        within: Seconds that it may take to become so, or None for one look.
    """

    nodes: tuple[str, ...]
    run: str | tuple[str, ...]
    status: int
    output: str | None
    matches: str | None
    within: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCheck:
    """A check.

    Attributes:
        name: Unique in the topology, on one line.
        kind: Its key in the file.
        file: The topology file, as the user gave it.
        line: Where it stands, counted from 1.
        test: What is looked at.
    """

    name: str
    kind: str
    file: str
    line: int
    test: PingCheck | ReachCheck | CommandCheck


def resolve_checks(topology: Topology, names: Collection[str]) -> tuple[PlannedCheck, ...]:
    """Return the checks of a topology, in file order.

    Args:
        topology: What its author wrote.
        names: Its nodes.

    Raises:
        TopologyError: Every mistake in them.
    """
    mistakes = Mistakes(topology.source)
    checks = make_checklist(topology, names, mistakes)
    mistakes.check()
    return checks


def make_checklist(
    topology: Topology, names: Collection[str], mistakes: Mistakes
) -> tuple[PlannedCheck, ...]:
    """Return the checks in file order; those with a mistake are left out.

    Args:
        topology: What its author wrote.
        names: Its nodes.
        mistakes: Gets unknown nodes, checks of nothing, and names that are taken.
    """
    checklist = _Checklist(topology, names, mistakes)
    found = [
        checklist.plan(check, ("checks", index)) for index, check in enumerate(topology.checks)
    ]
    # A name that is made gives way to the same one that is given, wherever that stands.
    taken = {check.name for check in topology.checks if check.name is not None}
    numbers: Counter[str] = Counter()
    return tuple(
        planned if check.name is not None else _with_free_name(planned, taken, numbers)
        for check, planned in zip(topology.checks, found, strict=True)
        if planned is not None
    )


class _Checklist:
    def __init__(self, topology: Topology, names: Collection[str], mistakes: Mistakes) -> None:
        self._given: dict[str, Path] = {}
        self._source = topology.source
        self._names = dict.fromkeys(names)
        # One for all checks: a topology can have a great many, and as many nodes.
        self._everybody = tuple(self._names)
        self._mistakes = mistakes
        self._room = MAXIMUM_NAMES

    def plan(self, check: Check, path: Path) -> PlannedCheck | None:
        self._take_name(check, path)
        inside = (*path, check.kind)
        match check.ping or check.reachable or check.unreachable or check.command:
            case Ping() as ping:
                test = self._ping(ping, inside)
            case Reach() as reach:
                test = self._reach(reach, inside, answered=check.reachable is not None)
            case Command() as command:
                test = self._command(command, inside)
            case None:
                test = self._converged(check.converged or Converged(), inside)
        if test is None:
            return None
        line, _, _ = self._source.locate(path)
        made = CONVERGES if check.kind == "converged" else describe(test, self._names)
        name = check.name or made
        return PlannedCheck(
            name=name, kind=check.kind, file=self._source.name, line=line, test=test
        )

    def _take_name(self, check: Check, path: Path) -> None:
        if check.name is None:
            return
        first = self._given.setdefault(check.name, path)
        if first != path:
            where = self._source.place((*first, "name"))
            message = f"the name {quote(check.name)} is taken"
            self._mistakes.add((*path, "name"), message, f"the first is at {where}")

    def _ping(self, ping: Ping, path: Path) -> PingCheck | None:
        sources, targets = self._ends(ping, path)
        if not sources or not targets:
            return None
        return PingCheck(sources=sources, targets=targets, count=ping.count, loss=ping.loss)

    def _reach(self, reach: Reach, path: Path, *, answered: bool) -> ReachCheck | None:
        sources, targets = self._ends(reach, path)
        if not sources or not targets:
            return None
        default = REACHABLE_WITHIN if answered else None
        within = default if reach.within is None else reach.within
        return ReachCheck(sources=sources, targets=targets, answered=answered, within=within)

    def _converged(self, converged: Converged, path: Path) -> ReachCheck | None:
        everybody = self._everybody
        if len(everybody) < 2:
            self._mistakes.add(path, "one node alone has nobody to reach", "leave it out")
            return None
        return ReachCheck(
            sources=everybody, targets=everybody, answered=True, within=converged.within
        )

    def _command(self, command: Command, path: Path) -> CommandCheck | None:
        nodes = self._expand(command.node, path, "node", others=False)
        if not nodes:
            return None
        return CommandCheck(
            nodes=nodes,
            run=command.run,
            status=command.status,
            output=None if command.output is None else command.output.strip(),
            matches=command.matches,
            within=command.within,
        )

    def _ends(self, ends: Ping | Reach, path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
        # A list alone is both, and nothing in it may be but a node.
        short = self._source.locate((*path, "from"))[2] == path
        sources = self._expand(ends.source, path, "from", others=False)
        targets = self._expand(ends.target, path, "to", others=not short)
        if sources and targets and len({*sources, *targets}) < 2:
            self._mistakes.add(path, f"{quote(sources[0])} alone has nobody to reach")
            return (), ()
        return sources, targets

    def _expand(
        self, patterns: tuple[str, ...], path: Path, key: str, *, others: bool
    ) -> tuple[str, ...]:
        """Return names, each once; nothing if one of them is a mistake."""
        found: dict[str, None] = {}
        right = True
        if not patterns:
            self._mistakes.add((*path, key), "no node is named here")
        for index, pattern in enumerate(patterns):
            place = self._place(path, key, index)
            for name in self._names_of(pattern, place):
                if name in self._names or (others and _is_elsewhere(name)):
                    found[name] = None
                    continue
                right = False
                if not self._mistakes.holds(place):
                    otherwise = "a host name that is no node's has a dot" if others else ""
                    hint = self._mistakes.suggest(name, self._names, otherwise)
                    self._mistakes.add(place, f"the node {quote(name)} is not declared", hint)
        return tuple(found) if right else ()

    def _names_of(self, pattern: str, place: Path) -> tuple[str, ...]:
        if pattern == EVERY:
            names = self._everybody
        elif _is_address(pattern):
            return (pattern,)
        else:
            try:
                names = ranges.expand(pattern)
            except WrongError as wrong:
                self._mistakes.add(place, wrong.message, wrong.hint)
                return ()
        self._room -= len(names)
        if self._room < 0:
            message = f"the checks up to here name more than {MAXIMUM_NAMES:,} nodes"
            self._mistakes.add(place, message)
            raise self._mistakes.error()
        return names

    def _place(self, path: Path, key: str, index: int) -> Path:
        """Return where an element of a list of nodes stands: in a short form there is no key."""
        short = (*path, index)
        return short if self._source.locate(short)[2] == short else (*path, key, index)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_elsewhere(name: str) -> bool:
    """Whether something that is no node may be meant: an address, or a name with a domain."""
    return _is_address(name) or "." in name or name == "localhost"


def describe(test: PingCheck | ReachCheck | CommandCheck, nodes: Collection[str]) -> str:
    """Return what a check says, in a few words.

    Args:
        test: The check.
        nodes: Every node of the lab.
    """
    match test:
        case CommandCheck():
            line = test.run if isinstance(test.run, str) else " ".join(test.run)
            return _one_line(f"{_who(test.nodes, nodes)}: {' '.join(line.split())}")
        case PingCheck():
            verb = "pings" if len(test.sources) == 1 else "ping"
            return _one_line(f"{_who(test.sources, nodes)} {verb} {_who(test.targets, nodes)}")
        case ReachCheck():
            return _one_line(_describe_reach(test, nodes))


def _describe_reach(test: ReachCheck, nodes: Collection[str]) -> str:
    one = len(test.sources) == 1
    if test.answered:
        verb = "reaches" if one else "reach"
    else:
        verb = "does not reach" if one else "do not reach"
    mutual = test.sources == test.targets
    target = "each other" if mutual else _who(test.targets, nodes)
    return f"{_who(test.sources, nodes)} {verb} {target}"


def _who(names: tuple[str, ...], nodes: Collection[str]) -> str:
    return "all nodes" if len(names) > 1 and set(names) == set(nodes) else compact(names)


def _one_line(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown if len(shown) <= 100 else f"{shown[:99]}…"


def _with_free_name(check: PlannedCheck, taken: set[str], numbers: Counter[str]) -> PlannedCheck:
    """Number a name that is taken, from the last number that it was given on, and take it."""
    name = check.name
    while name in taken:
        numbers[check.name] += 1
        name = f"{check.name} ({numbers[check.name] + 1})"
    taken.add(name)
    return replace(check, name=name)
