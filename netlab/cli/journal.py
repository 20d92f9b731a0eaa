"""What a run of `netlab test` has come to so far: shown as it comes, and kept for the reports."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, final

from netlab.cli.failure import BUG, INTERRUPTED
from netlab.cli.reports.lines import Lines
from netlab.errors import NetlabError
from netlab.plan.checklist import PlannedCheck
from netlab.testing.results import CHECKS, SCRIPT, TESTS, Record, Result, Verdict

_KINDS = {TESTS: "python", SCRIPT: "script"}


@final
@dataclass(slots=True, kw_only=True)
class Journal:
    """The results of a run, in their order.

    Attributes:
        lab: The lab's name.
        topology: Its file, as the user gave it.
        checks: All that are to be looked at, in their order.
        lines: Where they are shown.
        results: Those that are known.
        running: What is under way, in the words of its title; empty between two.
        interrupted: What was under way when the run was interrupted.
    """

    lab: str
    topology: str
    checks: Sequence[PlannedCheck]
    lines: Lines
    results: list[Result] = field(default_factory=list[Result])
    running: str = ""
    interrupted: str = ""
    _began: float = field(default_factory=time.time)
    _start: float = field(default_factory=time.monotonic)
    _running_since: tuple[float, float] = (0.0, 0.0)
    _suite: str = CHECKS

    def begin(self, title: str, *, suite: str = CHECKS, shown: bool = True) -> None:
        """Note what is under way.

        Args:
            title: What; empty when nothing is.
            suite: What it belongs to.
            shown: Whether to say so; not so where something else does.
        """
        self.running, self._suite = title, suite
        self._running_since = (time.time(), time.monotonic())
        self.lines.begin(title if shown else "")

    def add(self, result: Result, *, shown: bool = True) -> None:
        """Keep a result, and show it."""
        self.results.append(result)
        if shown:
            self.lines.show(result)

    def fail(self, error: BaseException) -> None:
        """Keep that the lab failed: what it was, and the checks that nobody looked at."""
        title = self.running or f"lab {self.lab}"
        self._add_running(title, "error", error)
        self._skip_rest("the lab failed")

    def interrupt(self) -> None:
        """Keep what was under way, and the checks that nobody looked at."""
        self.interrupted = self.running or f"the end of lab {self.lab}"
        self._add_running(self.interrupted, "interrupted", None)
        self._skip_rest("interrupted before")

    def record(self) -> Record:
        """Return what it has come to."""
        return Record(
            lab=self.lab,
            topology=self.topology,
            began=self._began,
            seconds=time.monotonic() - self._start,
            results=tuple(self.results),
            interrupted=self.interrupted,
        )

    def code(self) -> int:
        """Return the exit code of the run."""
        if self.interrupted:
            return INTERRUPTED
        return max((result.code for result in self.results), default=0)

    def _add_running(self, title: str, verdict: Verdict, error: BaseException | None) -> None:
        moment, start = self._running_since
        check = next((check for check in self.checks if check.name == title), None)
        mine = self._suite == CHECKS
        result = self._result(title, check if mine else None, verdict)
        result = replace(
            result,
            suite=self._suite,
            kind=_KINDS.get(self._suite, result.kind),
            began=moment or self._began,
            seconds=time.monotonic() - (start or self._start),
            message=str(error) if error else "interrupted while it ran",
            evidence=(error.evidence or "") if isinstance(error, NetlabError) else "",
            code=error.exit_code if isinstance(error, NetlabError) else BUG,
        )
        self.begin("")
        self.add(result, shown=False)
        # An error is reported with its evidence by who called.
        self.lines.show(replace(result, evidence=""))

    def _skip_rest(self, reason: str) -> None:
        known = {result.title for result in self.results if result.suite == CHECKS}
        for check in self.checks:
            if check.name not in known:
                self.add(replace(self._result(check.name, check, "skipped"), message=reason))

    def _result(self, title: str, check: PlannedCheck | None, verdict: Verdict) -> Result:
        return Result(
            suite=CHECKS,
            group=self.lab,
            name=title,
            title=title,
            kind=check.kind if check else "lab",
            file=check.file if check else "",
            line=check.line if check else 0,
            verdict=verdict,
        )


def to_plain(record: Record) -> dict[str, Any]:
    """Return a run as JSON takes it."""
    results = [
        {key: value for key, value in asdict(result).items() if key not in {"code", "folder"}}
        | {"folder": str(result.folder) if result.folder else None}
        for result in record.results
    ]
    return {**asdict(record), "results": results}
