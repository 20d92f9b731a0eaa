"""Python tests beside a topology: pytest in a process of its own, heard line by line."""

from __future__ import annotations

import codecs
import os
import re
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import final

import trio

from netlab.cli.journal import Journal
from netlab.cli.reports.junit import read_pytest
from netlab.errors import MissingFeatureError, describe_status
from netlab.process import open_process
from netlab.scopes import open_tasks
from netlab.testing.fixtures import make_slug
from netlab.testing.results import TESTS, Result, Verdict

FOLDER = "tests"
"""The folder beside a topology that its tests are in."""

_ALL = "the Python tests"
"""What is under way between two of them, and while they are collected."""

GRACE = 10.0
"""Seconds that pytest gets to take its labs down and to write what it knows, once interrupted."""

_DRAIN = 1.0
"""Seconds to read what pytest has printed, once it has ended: others may hold its output open."""

_PASSED, _FAILED, _INTERRUPTED, _WRONG, _NONE = 0, 1, 2, 4, 5
"""Exit statuses of pytest (its ``ExitCode``); 3 is an error of its own."""

_LINE = re.compile(
    r"(?P<test>\S.*?::.+?) (?P<word>PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)(?: .*)?"
)
_RUNNING = re.compile(r"(\S.*?::.+?) ")
_WORDS: dict[str, Verdict] = {
    "PASSED": "passed",
    "XPASS": "passed",
    "FAILED": "failed",
    "ERROR": "error",
    "SKIPPED": "skipped",
    "XFAIL": "skipped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonTests:
    """Tests in Python.

    Attributes:
        folder: Where they are.
        topology: The topology that they are about.
        artifacts: Where their evidence goes, or None.
        variables: Values for ``${name}`` of the topology.
        accel: The accelerator, whatever the topology says, or None.
    """

    folder: Path
    topology: Path
    artifacts: Path | None
    variables: Mapping[str, str]
    accel: str | None

    def files(self) -> list[Path]:
        """Return the files that pytest looks for tests in, unless its configuration says more."""
        found = {*self.folder.rglob("test_*.py"), *self.folder.rglob("*_test.py")}
        return sorted(found)


def find_tests(
    topology: Path,
    artifacts: Path | None,
    *,
    variables: Mapping[str, str],
    accel: str | None,
) -> PythonTests | None:
    """Return the tests beside a topology, or None.

    Args:
        topology: The topology file.
        artifacts: Where their evidence goes, or None.
        variables: Values for ``${name}`` of the topology.
        accel: The accelerator, whatever the topology says, or None.

    Raises:
        MissingFeatureError: There are some, and pytest is not installed.
    """
    path = topology.resolve()
    folder = path.parent / FOLDER
    if not folder.is_dir():
        return None
    if find_spec("pytest") is None or find_spec("pytest_trio") is None:
        raise MissingFeatureError(
            f"{folder} has Python tests, and pytest with pytest-trio is not installed",
            hint="pip install 'netlab-vm[test]', or --no-python to run the checks alone",
        )
    return PythonTests(
        folder=folder, topology=path, artifacts=artifacts, variables=variables, accel=accel
    )


def make_command(tests: PythonTests, report: Path) -> list[str]:
    """Return pytest's command line, for the folder that the tests' folder is in.

    Args:
        tests: The tests.
        report: Where it writes its XML.
    """
    return [
        sys.executable,
        "-u",
        *("-m", "pytest", tests.folder.name),
        *("-v", "--color=no", "-p", "no:cacheprovider"),
        *(f"--junit-xml={report}", "-o", "junit_family=xunit1"),
        *_plugin_options(tests),
    ]


def _plugin_options(tests: PythonTests) -> list[str]:
    """Return the options of netlab's plugin of pytest."""
    options = ["--netlab-topology", str(tests.topology)]
    if tests.artifacts is not None:
        options += ["--netlab-artifacts", str(tests.artifacts.resolve())]
    if tests.accel is not None:
        options += ["--netlab-accel", tests.accel]
    for name, value in tests.variables.items():
        options += ["--netlab-set", f"{name}={value}"]
    return options


async def run_tests(tests: PythonTests, journal: Journal) -> None:
    """Run the tests; they are shown as they end, and kept with what pytest wrote about them."""
    listener = _Listener(journal)
    journal.begin(_ALL, suite=TESTS)
    with tempfile.TemporaryDirectory(prefix="netlab-test-") as name:
        report = Path(name) / "junit.xml"
        status: int | None = None
        try:
            status = await _run_pytest(tests, report, listener)
        finally:
            results = _read(report, status, listener)
            _keep([_find_evidence(each, tests.artifacts) for each in results], journal, listener)
    journal.begin("")


async def _run_pytest(tests: PythonTests, report: Path, listener: _Listener) -> int:
    """Run pytest to its end and return its status; cancelled, let it write what it knows."""
    output, theirs = os.pipe()
    async with AsyncExitStack() as stack:
        stream = await stack.enter_async_context(trio.lowlevel.FdStream(output))
        command = make_command(tests, report)
        try:
            process = await stack.enter_async_context(
                open_process(command, stderr=theirs, cwd=tests.folder.parent)
            )
        finally:
            os.close(theirs)
        hearing = await stack.enter_async_context(_open_hearing(stream, listener))
        try:
            status = await process.wait()
        except trio.Cancelled:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + GRACE):
                process.send_signal(signal.SIGINT)
                await process.wait()
            raise
        with trio.move_on_after(_DRAIN):
            await hearing.wait()
        return status
    raise AssertionError("unreachable")


@asynccontextmanager
async def _open_hearing(
    stream: trio.lowlevel.FdStream, listener: _Listener
) -> AsyncGenerator[trio.Event]:
    """Read a program's output while the block runs, a cancelled one too; tell when it has ended."""
    ended = trio.Event()
    # Who is interrupted has last words, and must not wait for somebody to read them.
    scope = trio.CancelScope(shield=True)

    async def hear() -> None:
        with scope:
            async for chunk in stream:
                listener.feed(bytes(chunk))
        ended.set()

    async with open_tasks() as tasks:
        tasks.start_soon(hear)
        try:
            yield ended
        finally:
            scope.cancel()


def _read(report: Path, status: int | None, listener: _Listener) -> list[Result]:
    """Return what pytest wrote of the tests, and what went wrong with pytest itself."""
    try:
        results = read_pytest(report.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        results = []
    if status is None or (status in {_PASSED, _NONE} and not listener.running):
        return results
    if status == _INTERRUPTED:
        # A file that cannot be collected: what is wrong is the input.
        results = [replace(each, code=2) if each.verdict == "error" else each for each in results]
    if any(result.code for result in results) and status in {_FAILED, _INTERRUPTED}:
        return results
    return [*results, _broken(status, listener)]


def _find_evidence(result: Result, artifacts: Path | None) -> Result:
    """Return the result with the folder that netlab's plugin has made for it, if it has."""
    if artifacts is None:
        return result
    folder = artifacts / make_slug(result.title)
    return replace(result, folder=folder) if folder.is_dir() else result


def _broken(status: int, listener: _Listener) -> Result:
    title = listener.running or "pytest"
    while_it_ran = "while this ran " if listener.running else ""
    return Result(
        suite=TESTS,
        group="pytest",
        name=title,
        title=title,
        kind="python",
        file="",
        line=0,
        verdict="error",
        began=time.time(),
        message=f"{while_it_ran}pytest {describe_status(status)}",
        evidence="\n".join(listener.tail),
        code=2 if status == _WRONG else 4,
    )


def _keep(results: list[Result], journal: Journal, listener: _Listener) -> None:
    known = {result.title for result in results}
    for result in listener.shown.values():
        # pytest came to no end at which it could have written of it.
        if result.title not in known:
            journal.add(result, shown=False)
    for result in results:
        said = result.title in listener.shown
        journal.add(result, shown=not said)
        # Why a test did not pass is known only now.
        if said and result.verdict not in {"passed", "skipped"}:
            journal.lines.explain(result)


@final
class _Listener:
    """Reads what pytest prints with ``-v``, and shows a test as soon as it has ended.

    Attributes:
        shown: The tests that have been shown, by their title.
        running: The test that runs, or empty.
        tail: The last lines that it printed.
    """

    def __init__(self, journal: Journal) -> None:
        self.shown: dict[str, Result] = {}
        self.running = ""
        self.tail: deque[str] = deque(maxlen=40)
        self._journal = journal
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._partial = ""
        self._began = time.time()

    def feed(self, chunk: bytes) -> None:
        """Take what was printed next."""
        *lines, self._partial = (self._partial + self._decoder.decode(chunk)).split("\n")
        for line in lines:
            self._take(line)
        found = _RUNNING.fullmatch(self._partial)
        if found and found[1] != self.running:
            self.running = found[1]
            self._began = time.time()
            self._journal.begin(self.running, suite=TESTS)

    def _take(self, line: str) -> None:
        self.tail.append(line)
        found = _LINE.fullmatch(line.rstrip())
        if found is None:
            return
        self.running = ""
        self._journal.begin(_ALL, suite=TESTS)
        verdict = _WORDS[found["word"]]
        result = Result(
            suite=TESTS,
            group="pytest",
            name=found["test"],
            title=found["test"],
            kind="python",
            file=found["test"].partition("::")[0],
            line=0,
            verdict=verdict,
            began=self._began,
            seconds=time.time() - self._began,
            code=int(verdict in {"failed", "error"}),
        )
        self.shown[result.title] = result
        self._journal.lines.show(result)
        self._began = time.time()
