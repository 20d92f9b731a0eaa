"""The live part of `netlab test`: the lab in this process, its checks, then the Python tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import trio

from netlab.cli.interrupts import watch_signals
from netlab.cli.journal import Journal
from netlab.cli.progress import open_progress
from netlab.cli.pythontests import PythonTests, run_tests
from netlab.cli.scripts import run_on_lab
from netlab.errors import leaves
from netlab.lab.events import EventLog
from netlab.lab.lab import open_lab, wait_ready_within, watch_ready_within
from netlab.lab.options import Options
from netlab.plan.checklist import PlannedCheck
from netlab.plan.model import Plan
from netlab.scopes import open_background
from netlab.testing.checks import folder_names, run_check
from netlab.testing.evidence import collect_evidence
from netlab.testing.lab import LabDriver
from netlab.testing.script import Script


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is run.

    Attributes:
        plan: The lab.
        options: How it is brought to life.
        timeout: Seconds that its nodes have to become ready.
        checks: What is looked at; without any, and without a script, the lab is not started.
        tests: Python tests, or None.
        folder: Where evidence goes, or None to keep none.
        script: What is run on the lab in place of all that, or None.
    """

    plan: Plan
    options: Options
    timeout: float
    checks: Sequence[PlannedCheck]
    tests: PythonTests | None
    folder: Path | None
    script: Script | None = None


def run(session: Session, journal: Journal) -> BaseException | None:
    """Run all of it; what comes of it is in the journal.

    Returns:
        What ended it before its time, if something did: that it failed, or a bug.
    """
    try:
        trio.run(_run, session, journal)
    except BaseException as error:  # noqa: BLE001 # reported once all is written down
        found = leaves(error)
        if any(isinstance(each, KeyboardInterrupt) for each in found):
            journal.interrupt()
        else:
            journal.fail(found[0])
        return error
    return None


async def _run(session: Session, journal: Journal) -> None:
    """Bring the lab to life, look at its checks, take it down, and run the tests.

    SIGINT, SIGTERM and SIGHUP interrupt it: the lab is taken down, and the journal says so.

    Raises:
        NetlabError: The lab could not be brought to life, or broke as a whole.
    """
    async with open_background() as watcher:
        with trio.CancelScope() as scope:
            await watcher.start(watch_signals, scope)
            if session.script is not None:
                await _run_script(session, session.script, journal)
            elif session.checks:
                await _run_checks(session, journal)
            if session.tests is not None:
                await run_tests(session.tests, journal)
        if scope.cancelled_caught:
            journal.interrupt()


async def _run_checks(session: Session, journal: Journal) -> None:
    events = EventLog()
    journal.begin(f"the start of lab {session.plan.lab}", shown=False)
    async with (
        _open_shown(session.plan, events) as shown,
        open_lab(session.plan, options=session.options, events=events) as live,
    ):
        await wait_ready_within(live, session.timeout)
        events.record("lab", "ready", state="ready")
        await shown.wait()
        lab = LabDriver(live)
        slugs = folder_names([check.name for check in session.checks])
        for check, slug in zip(session.checks, slugs, strict=True):
            journal.begin(check.name)
            folder = session.folder / slug if session.folder else None
            result = await run_check(lab, check, folder=folder, collect=collect_evidence)
            journal.begin("")
            journal.add(result)
        journal.begin(f"the end of lab {session.plan.lab}", shown=False)
    journal.begin("")


async def _run_script(session: Session, script: Script, journal: Journal) -> None:
    journal.begin(f"the start of lab {session.plan.lab}")
    # Not waited for: a script may be about how machines boot, and its verbs wait themselves.
    async with (
        open_lab(session.plan, options=session.options) as live,
        open_background() as watcher,
    ):
        watcher.start_soon(watch_ready_within, live, session.timeout)
        await run_on_lab(script, LabDriver(live), session.folder, journal)
        journal.begin(f"the end of lab {session.plan.lab}", shown=False)
    journal.begin("")


@asynccontextmanager
async def _open_shown(plan: Plan, events: EventLog) -> AsyncGenerator[trio.Event]:
    """Show what happens until the lab is ready; the event says that nothing more is shown."""
    done = trio.Event()

    async def show() -> None:
        with open_progress(plan) as progress:
            async with events.open_follow() as following:
                async for event in following:
                    progress.record(asdict(event))
                    if (event.kind, event.state) == ("lab", "ready"):
                        break
        done.set()

    async with open_background() as tasks:
        tasks.start_soon(show)
        yield done
