"""A lab for the length of one test: opened, watched, proven gone; what the pytest plugin stands on.

Nothing in here knows pytest: a test is a :class:`Case`, and the plugin tells it how it went.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from netlab.errors import CheckError, LabConflictError, NetlabError, leaves
from netlab.lab.client import open_client
from netlab.lab.events import EventLog
from netlab.lab.folders import is_alive, lab_folders
from netlab.lab.lab import open_lab
from netlab.lab.options import Options
from netlab.lab.remote import open_remote
from netlab.lab.start import Start, start_lab
from netlab.plan.codec import difference, digest
from netlab.plan.model import Plan
from netlab.testing.evidence import collect_evidence, save_files, summarize_gone
from netlab.testing.lab import LabDriver
from netlab.testing.remains import find_remains, read_host, trace

DOWN_LIMIT = 60.0
"""Seconds for taking a lab process's lab down."""


@dataclass(kw_only=True)
class Case:
    """A test that uses a lab.

    Attributes:
        name: Its name, as pytest has it.
        place: Makes the folder for its evidence.
        timeout: Seconds that a verb waits when nobody says how long.
        options: How its lab is brought to life.
        always: Whether evidence is kept of a test that passes, too.
        failed: Whether it has failed.
        noted: The failure that the evidence is of.
        driver: Its lab, while that lives.
        folder: Where its evidence is, once there is some.
        summary: What is in that folder, or why there is none.
        told: What the report says beside.
    """

    name: str
    place: Callable[[], Path]
    timeout: float
    options: Options
    always: bool = False
    failed: bool = False
    noted: BaseException | None = None
    driver: LabDriver | None = None
    folder: Path | None = None
    summary: str = ""
    told: list[str] = field(default_factory=list[str])

    async def note_failure(self, error: BaseException) -> None:
        """Keep the evidence of a failure, once, as long as the lab is there."""
        if self.noted not in leaves(error):
            self.noted = leaves(error)[0]
            await self.keep_evidence()

    async def keep_evidence(self) -> None:
        """Keep the evidence of how the lab is now."""
        if self.driver is None:
            return
        self.drop_evidence()
        folder = self._make_folder()
        if folder is None:
            return
        # Bounded by what it is made of; the test's own deadline has often passed.
        with trio.CancelScope(shield=True):
            self.summary = await collect_evidence(self.driver, folder)

    def drop_evidence(self) -> None:
        """Remove evidence of a failure that the test has caught."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None
        self.summary = ""

    def _make_folder(self) -> Path | None:
        # What the test has failed by is what counts, and not where to write that down.
        try:
            self.folder = self.place()
        except OSError as error:
            self.summary = f"no evidence can be kept: {error.filename}: {error.strerror}"
        return self.folder

    def keep_logs(self, plan: Plan, source: Path, events: EventLog) -> None:
        """Keep what a lab that is gone has left, if there is no evidence yet."""
        self.failed = True
        if self.folder is not None:
            return
        folder = self._make_folder()
        if folder is None:
            return
        missing: list[str] = []
        save_files(plan, source, events, folder, missing)
        self.summary = summarize_gone(plan, events, folder, missing)

    def report(self) -> str:
        """Return what the report of a failed test shows; empty when there is nothing."""
        lines = [*self.told, *self.summary.splitlines()]
        if self.folder is not None:
            lines.append(f"evidence: {self.folder}")
        return "\n".join(lines)


def make_slug(name: str) -> str:
    """Return a test's name as one that a folder can have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[-120:] or "test"


@asynccontextmanager
async def open_case(case: Case, plan: Plan) -> AsyncGenerator[LabDriver]:
    """Have a lab in this process for a test; it is ready when the block begins.

    Raises:
        CheckError: Something of it is left in the end.
        NetlabError: It could not be opened, or not be made ready.
    """
    before = read_host()
    folder = Path(tempfile.mkdtemp(prefix="netlab-test-"))
    events = EventLog()
    options = case.options
    try:
        try:
            async with open_lab(plan, options=options, folder=folder, events=events) as lab:
                traces = trace(lab, before)
                async with _use(case, LabDriver(lab, timeout=case.timeout)) as driver:
                    yield driver
        except BaseException as error:
            # What became of the lab itself: an error of the test's own has its evidence already.
            if any(isinstance(leaf, NetlabError) for leaf in leaves(error)):
                case.keep_logs(plan, folder, events)
            raise
        remains = find_remains(traces)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if remains:
        listed = "\n".join(remains)
        raise CheckError(f"of lab {plan.lab} is left: {remains[0]}", evidence=listed)


@asynccontextmanager
async def attach_case(case: Case, name: str, plan: Plan | None) -> AsyncGenerator[LabDriver]:
    """Use a lab that is up for a test, and leave it as it is.

    Args:
        case: The test.
        name: The lab.
        plan: What the test expects it to be, or None.

    Raises:
        LabConflictError: It is another one.
        UnknownNameError: No lab of that name is up.
    """
    async with open_remote(lab_folders(name)) as lab:
        if plan is not None and digest(plan) != digest(lab.plan):
            raise LabConflictError(
                f"lab {name} is up from another plan than this test's",
                hint="netlab down, and netlab up with the test's topology and variables",
                evidence="\n".join(difference(lab.plan, plan)),
            )
        async with _use(case, LabDriver(lab, timeout=case.timeout)) as driver:
            yield driver


@asynccontextmanager
async def open_kept_case(case: Case, plan: Plan) -> AsyncGenerator[LabDriver]:
    """Have a lab in a lab process for a test; it is left running when the test fails.

    Raises:
        NetlabError: It could not be opened, or not be made ready.
    """
    start = Start(plan=plan, topology=plan.topology, options=case.options, timeout=case.timeout)
    await trio.to_thread.run_sync(_start, start)
    try:
        async with attach_case(case, plan.lab, plan) as driver:
            yield driver
    finally:
        if case.failed:
            case.told += _how_to_enter(plan)
        else:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + DOWN_LIMIT):
                await trio.to_thread.run_sync(_take_down, plan.lab)
    if not case.failed and is_alive(lab_folders(plan.lab)):
        raise CheckError(f"lab {plan.lab} does not end", hint=f"netlab status --name {plan.lab}")


@asynccontextmanager
async def _use(case: Case, driver: LabDriver) -> AsyncGenerator[LabDriver]:
    case.driver = driver
    try:
        try:
            await driver.wait_ready()
        except NetlabError as error:
            case.failed = True
            await case.note_failure(error)
            raise
        driver.failures.note = case.note_failure
        yield driver
        if case.always and not case.failed:
            await case.keep_evidence()
        elif not case.failed:
            case.drop_evidence()
    finally:
        case.driver = None


def free_name(name: str) -> str:
    """Return a lab's name that no lab has which is up: the given one, or with a number."""
    number, found = 1, name
    while is_alive(lab_folders(found)):
        number += 1
        found = f"{name}-{number}"
    return found


def _start(start: Start) -> None:
    for _ in start_lab(start):
        pass


def _take_down(lab: str) -> None:
    folders = lab_folders(lab)
    if is_alive(folders):
        open_client(folders).down()


def _how_to_enter(plan: Plan) -> list[str]:
    first = plan.nodes[0].name
    return [
        f"lab {plan.lab} is left running:",
        f"  netlab status --name {plan.lab}",
        f"  netlab exec {plan.lab}/{first} -- ip route",
        f"  netlab console {plan.lab}/{first}",
        f"  netlab down --name {plan.lab}",
    ]
