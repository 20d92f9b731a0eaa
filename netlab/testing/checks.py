"""Checks of a topology on a live lab: one after the other, each with a result."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import trio

from netlab.errors import AgentCommandError, CheckError, NetlabError, leaves
from netlab.plan.checklist import CommandCheck, PingCheck, PlannedCheck, ReachCheck
from netlab.scopes import open_tasks
from netlab.testing.commands import Command, Outcome
from netlab.testing.lab import LabDriver
from netlab.testing.node import NodeDriver
from netlab.testing.pings import Answer, ping_command, read_answers
from netlab.testing.results import CHECKS, Result, Verdict
from netlab.testing.waiting import Seen, make_limit, poll
from netlab.topology.source import quote

COMMAND_LIMIT = 60.0
"""Seconds that a command of a check may run when `within` does not say how long."""

TRIES = 3
"""Pings that have to go unanswered until somebody counts as not reachable: one may be late."""

EVIDENCE_LIMIT = 64 * 1024
"""Characters of evidence that a result carries; reports are for reading."""

COLLECT_LIMIT = 60.0
"""Seconds that the collection of evidence may take: the machines may be what is broken."""

Collect = Callable[[LabDriver, Path], Awaitable[object]]
"""Writes what shows a lab's state into a folder."""

_Ask = Callable[[NodeDriver, Sequence[str] | str], Awaitable[Outcome]]
_SLUG = re.compile(r"[^a-z0-9]+")


async def run_check(
    lab: LabDriver,
    check: PlannedCheck,
    *,
    folder: Path | None = None,
    collect: Collect | None = None,
) -> Result:
    """Look at one check; whatever comes of it is a result.

    Args:
        lab: A lab that is ready.
        check: The check.
        folder: Where evidence is kept if it does not pass, or None.
        collect: Collects more of it, or None.
    """
    began, start = time.time(), time.monotonic()
    failures = await _look(lab, check.test)
    evidence = "\n\n".join(dict.fromkeys(each.evidence for each in failures if each.evidence))
    result = Result(
        suite=CHECKS,
        group=lab.lab.plan.lab,
        name=check.name,
        title=check.name,
        kind=check.kind,
        file=check.file,
        line=check.line,
        verdict=_verdict(failures),
        began=began,
        seconds=time.monotonic() - start,
        message="; ".join(dict.fromkeys(str(each) for each in failures)),
        evidence=_shorten(evidence),
        code=max((each.exit_code for each in failures), default=0),
        folder=folder if failures else None,
    )
    if result.folder is not None:
        text = f"{result.message}\n\n{evidence}".strip()
        if lost := await _keep(lab, result.folder, text, collect):
            return replace(result, evidence=f"{result.evidence}\n{lost}".strip())
    return result


def folder_names(names: Sequence[str]) -> list[str]:
    """Return a folder's name for each check: letters, digits and hyphens, no two alike."""
    taken: set[str] = set()
    found: list[str] = []
    for name in names:
        stem = _SLUG.sub("-", name.lower()).strip("-")[:60].strip("-") or "check"
        slug, number = stem, 1
        while slug in taken:
            number += 1
            slug = f"{stem}-{number}"
        taken.add(slug)
        found.append(slug)
    return found


async def _look(lab: LabDriver, test: PingCheck | ReachCheck | CommandCheck) -> list[NetlabError]:
    """Return why a check does not hold; what is no error of netlab's is a bug and goes on."""
    try:
        await _perform(lab, test)
    except Exception as error:
        found = leaves(error)
        failures = [each for each in found if isinstance(each, NetlabError)]
        if len(failures) < len(found):
            raise
        return failures
    return []


def _verdict(failures: Sequence[NetlabError]) -> Verdict:
    if not failures:
        return "passed"
    return "failed" if all(isinstance(each, CheckError) for each in failures) else "error"


def _shorten(text: str) -> str:
    if len(text) <= EVIDENCE_LIMIT:
        return text
    return f"{text[:EVIDENCE_LIMIT]}\n… and {len(text) - EVIDENCE_LIMIT} more characters"


async def _keep(lab: LabDriver, folder: Path, text: str, collect: Collect | None) -> str:
    """Keep evidence in a folder; return what is lost, if not all of it can be."""
    try:
        await _write(lab, folder, text, collect)
    except OSError as error:
        return f"not all evidence can be kept: {error.filename or folder}: {error.strerror}"
    return ""


async def _write(lab: LabDriver, folder: Path, text: str, collect: Collect | None) -> None:
    await trio.Path(folder).mkdir(parents=True, exist_ok=True)
    await trio.Path(folder / "failure.txt").write_text(f"{text}\n", encoding="utf-8")
    if collect is None:
        return
    told = f"not all was collected within {COLLECT_LIMIT:g} s"
    with trio.move_on_after(COLLECT_LIMIT):
        try:
            await collect(lab, folder)
        except NetlabError as error:
            told = f"not all could be collected: {error}"
        else:
            return
    await trio.Path(folder / "incomplete.txt").write_text(f"{told}\n", encoding="utf-8")


async def _perform(lab: LabDriver, test: PingCheck | ReachCheck | CommandCheck) -> None:
    match test:
        case PingCheck():
            await _count_pings(lab, test)
        case ReachCheck():
            what = "not all is reachable" if test.answered else "something is still reachable"
            await _hold(lab, test.sources, what, test.within, lambda ask: _reach(lab, test, ask))
        case CommandCheck():
            what = "the command did not end as expected"
            await _hold(lab, test.nodes, what, test.within, lambda ask: _end(lab, test, ask))


async def _hold(
    lab: LabDriver,
    nodes: Sequence[str],
    what: str,
    within: float | None,
    look: Callable[[_Ask], Awaitable[Seen[bool]]],
) -> None:
    """Look until something holds, or once when there is no time for it to become so."""
    if within is None:
        seen = await look(_execute)
        if seen.value is None:
            raise _as_error(seen)
        return

    async def find_reason() -> str:
        for name in nodes:
            if reason := await lab[name].node.diagnose():
                return f"{name}: {reason}"
        return ""

    await poll(what, lambda: look(NodeDriver.look), make_limit(within), find_reason)


async def _execute(node: NodeDriver, command: Sequence[str] | str) -> Outcome:
    return await node.execute(command, timeout=COMMAND_LIMIT)


async def _count_pings(lab: LabDriver, test: PingCheck) -> None:
    async def ask(node: NodeDriver, command: Sequence[str] | str) -> Outcome:
        return await node.execute(command, timeout=COMMAND_LIMIT + test.count)

    lines: list[str] = []
    for source, answer in await _ping(lab, test, test.count, ask):
        if answer.problem:
            lines.append(f"{source} cannot ping {answer.target}: {answer.problem}")
        elif answer.loss > test.loss:
            counts = answer.refusal or f"{answer.received} of {answer.sent} answered"
            told = f"{answer.loss:.3g}% of {source}'s pings to {answer.target} were lost"
            lines.append(f"{told}, more than {test.loss:g}%: {counts}")
    if lines:
        raise _as_error(_seen(lines))


async def _reach(lab: LabDriver, test: ReachCheck, ask: _Ask) -> Seen[bool]:
    lines: list[str] = []
    for source, answer in await _ping(lab, test, 1 if test.answered else TRIES, ask):
        if answer.problem:
            lines.append(f"{source} cannot ping {answer.target}: {answer.problem}")
        elif test.answered and not answer.received:
            why = f": {answer.refusal}" if answer.refusal else ""
            lines.append(f"{source} does not reach {answer.target}{why}")
        elif not test.answered and answer.received:
            lines.append(f"{source} reaches {answer.target}")
    return _seen(lines)


async def _ping(
    lab: LabDriver, test: PingCheck | ReachCheck, count: int, ask: _Ask
) -> list[tuple[str, Answer]]:
    """Ping every target from every source, all at once; answers come in the check's order."""
    found: dict[str, list[Answer]] = {}

    async def ping_from(source: str) -> None:
        targets = [target for target in test.targets if target != source]
        outcome = await ask(lab[source], ping_command(targets, count))
        found[source] = read_answers(outcome.stdout, targets)

    async with open_tasks() as tasks:
        for source in test.sources:
            tasks.start_soon(ping_from, source)
    return [(source, answer) for source in test.sources for answer in found[source]]


async def _end(lab: LabDriver, test: CommandCheck, ask: _Ask) -> Seen[bool]:
    problems: dict[str, str] = {}

    async def run_in(name: str) -> None:
        try:
            outcome = await ask(lab[name], test.run)
        except AgentCommandError as error:
            # The agent says so of a program that is not there: the machine is fine.
            problems[name] = f"could not be run: {error.message}"
            return
        if problem := _mismatch(test, outcome):
            problems[name] = f"{problem}\n{outcome.output() or ''}"

    async with open_tasks() as tasks:
        for name in test.nodes:
            tasks.start_soon(run_in, name)
    command = Command(argv=test.run)
    lines = [f"{name}: `{command}` {problems[name]}" for name in test.nodes if name in problems]
    return _seen(lines)


def _mismatch(test: CommandCheck, outcome: Outcome) -> str:
    """Say how a command did not end as expected; empty if it did."""
    printed = outcome.stdout.strip()
    if outcome.status != test.status:
        last = outcome.last_line()
        return f"ended with status {outcome.status}, not {test.status}" + (f": {last}" * bool(last))
    if test.output is not None and printed != test.output:
        return f"printed {quote(printed) if printed else 'nothing'}, not {quote(test.output)}"
    if test.matches is not None and not re.search(test.matches, outcome.stdout, re.MULTILINE):
        return f"printed nothing that matches {quote(test.matches)}"
    return ""


def _seen(lines: Sequence[str]) -> Seen[bool]:
    """Return what a look saw: the first line says the most important, all of them are evidence."""
    if not lines:
        return Seen(value=True)
    if len(lines) == 1:
        return Seen(instead=lines[0])
    first = lines[0].partition("\n")[0]
    return Seen(instead="\n".join([f"{first} (and {len(lines) - 1} more)", *lines]))


def _as_error(seen: Seen[bool]) -> CheckError:
    first, _, rest = seen.instead.partition("\n")
    return CheckError(first, evidence=rest.strip() or None)
