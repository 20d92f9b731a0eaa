"""How checks and tests went, as values: what reports are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Verdict = Literal["passed", "failed", "error", "interrupted", "skipped"]
"""``failed``: what had to be true is not. ``error``: that could not be found out. ``skipped``: it
was not looked at."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

CHECKS, TESTS, SCRIPT = "checks", "tests", "script"
"""The suites: of the topology's checks, of Python tests, and of a script and its parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one check or test went.

    Attributes:
        suite: ``checks``, ``tests`` or ``script``.
        group: What it belongs to: the lab, or a test's module and class with dots between.
        name: Its name in the group.
        title: Its name for people, unique in the suite.
        kind: A check's key in the file; ``python`` for a test, ``script`` or ``subtest``.
        file: Where it stands; empty if that is not known.
        line: Its line, counted from 1; 0 if that is not known.
        verdict: How it went.
        began: Seconds since the epoch; 0 for what never began.
        seconds: How long it took.
        message: Why it did not pass, in a line.
        evidence: What shows it, such as output; several lines.
        code: The exit code that it gives.
        folder: Where its evidence was kept, or None.
    """

    suite: str
    group: str
    name: str
    title: str
    kind: str
    file: str
    line: int
    verdict: Verdict
    began: float = 0.0
    seconds: float = 0.0
    message: str = ""
    evidence: str = ""
    code: int = 0
    folder: Path | None = None

    @property
    def place(self) -> str:
        """``file:line``, or what is known of it."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How a whole run went.

    Attributes:
        lab: The lab's name.
        topology: Its file, as the user gave it.
        began: Seconds since the epoch.
        seconds: How long it took, from the lab's start to its end.
        results: In the order in which they were run.
        interrupted: What was under way when it was interrupted, or empty.
    """

    lab: str
    topology: str
    began: float
    seconds: float
    results: tuple[Result, ...]
    interrupted: str = ""

    def suites(self) -> dict[str, tuple[Result, ...]]:
        """Return the results by suite; those that have none are left out."""
        found = {name: select(self.results, name) for name in (CHECKS, TESTS, SCRIPT)}
        return {name: results for name, results in found.items() if results}


def select(results: Iterable[Result], suite: str) -> tuple[Result, ...]:
    """Return the results of one suite."""
    return tuple(result for result in results if result.suite == suite)


def count(results: Sequence[Result]) -> dict[Verdict, int]:
    """Return how many there are of each verdict, all of which are in it."""
    return {verdict: sum(result.verdict == verdict for result in results) for verdict in VERDICTS}


def summarize(results: Sequence[Result]) -> str:
    """Return ``3 passed, 1 failed``: what there is none of is left out."""
    words: dict[Verdict, str] = {"error": "with errors"}
    counted = count(results)
    parts = [
        f"{number} {words.get(verdict, verdict)}" for verdict, number in counted.items() if number
    ]
    return ", ".join(parts) or "nothing was run"
