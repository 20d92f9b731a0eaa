"""`netlab test --script`: a script for the NixOS test driver, and its parts as results."""

from __future__ import annotations

import time
from pathlib import Path

from netlab.cli.journal import Journal
from netlab.errors import NetlabError
from netlab.testing.conditions import Part
from netlab.testing.lab import LabDriver
from netlab.testing.results import SCRIPT, Result, Verdict
from netlab.testing.script import Script, ScriptResult, run_script


async def run_on_lab(script: Script, lab: LabDriver, out: Path | None, journal: Journal) -> None:
    """Run a script on a lab; what it tells is shown as it comes, how it went is kept.

    Raises:
        InputError: Two nodes have the same name in Python.
    """
    journal.begin(script.name, suite=SCRIPT)
    began = time.time()
    result = await run_script(script, lab, out=out, tell=journal.lines.tell)
    journal.begin("")
    for each in make_results(result, lab.lab.plan.lab, began):
        journal.add(each)


def make_results(result: ScriptResult, lab: str, began: float) -> list[Result]:
    """Return the results of a script's parts, and that of the whole as the last.

    Args:
        result: How it went.
        lab: The lab's name.
        began: Seconds since the epoch.
    """
    failure = result.failure
    place = failure.places[-1] if failure and failure.places else None
    code = result.exit_code
    whole = Result(
        suite=SCRIPT,
        group=lab,
        name=result.name,
        title=result.name,
        kind="script",
        file=result.name,
        line=place.line if place else 0,
        verdict=_verdict(code),
        began=began,
        seconds=result.seconds,
        message=failure.message if failure else "",
        # Where it was, and what shows it; the first lines of the text say the rest again.
        evidence=_evidence(result),
        code=code,
    )
    return [*_parts(result, lab, began), whole]


def _parts(result: ScriptResult, lab: str, began: float) -> list[Result]:
    names: dict[str, int] = {}
    found: list[Result] = []
    for part in result.parts:
        names[part.name] = names.get(part.name, 0) + 1
        again = f" ({names[part.name]})" if names[part.name] > 1 else ""
        code = _code(part)
        found.append(
            Result(
                suite=SCRIPT,
                group=lab,
                name=f"{part.name}{again}",
                title=f"{part.name}{again}",
                kind="subtest",
                file=result.name,
                line=0,
                verdict=_verdict(code),
                began=began,
                seconds=part.seconds,
                message=str(part.failure) if part.failure else "",
                code=code,
            )
        )
    return found


def _code(part: Part) -> int:
    if part.failure is None:
        return 0
    return part.failure.exit_code if isinstance(part.failure, NetlabError) else 1


def _verdict(code: int) -> Verdict:
    if code == 0:
        return "passed"
    return "failed" if code == 1 else "error"


def _evidence(result: ScriptResult) -> str:
    if result.failure is None:
        return ""
    places = [f"{result.name}:{place.line}: {place.source}" for place in result.failure.places]
    return "\n".join([*places, *result.failure.evidence()])
