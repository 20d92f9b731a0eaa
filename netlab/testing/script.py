"""Scripts for the NixOS test driver, on a lab: loaded, run in a thread, and told how they went.

::

    script = load_script("test.py")
    async with open_lab(plan) as live:
        result = await run_script(script, LabDriver(live))
    print(result)

The script is plain Python that finds the lab's machines by name (:mod:`netlab.testing.facade`). It
blocks, and the lab does not.
"""

from __future__ import annotations

import linecache
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import trio

from netlab.errors import CheckError, InputError, NetlabError, WaitError
from netlab.lab.lab import Lab
from netlab.testing.conditions import Part
from netlab.testing.facade.base import Session
from netlab.testing.facade.logging import Log, Tell, ignore
from netlab.testing.facade.portal import ScriptEnded, open_portal
from netlab.testing.facade.symbols import make_symbols
from netlab.testing.facade.watch import Record
from netlab.testing.lab import LabDriver

GLOBAL_TIMEOUT = 3600.0
"""Seconds that a whole script gets when nobody says how long: what Nix grants one."""


EVIDENCE_LINES = 20
"""How much of an output is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script that can be run.

    Attributes:
        name: Its file's name, for positions.
        text: What it says.
        code: The same, compiled.
    """

    name: str
    text: str
    code: CodeType


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A line of the script that was being run.

    Attributes:
        line: Counted from 1.
        function: The function that it is in, or ``<module>``.
        source: The line itself.
    """

    line: int
    function: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptFailure:
    """Why a script failed.

    Attributes:
        message: What is wrong: the verb's own message, or Python's.
        places: The script's lines that led there, the outermost first; no others.
        error: What was raised.
    """

    message: str
    places: tuple[Place, ...]
    error: BaseException

    def evidence(self) -> list[str]:
        """Return the last lines of what shows it, indented."""
        shown = self.error.evidence if isinstance(self.error, NetlabError) else None
        return [f"    {line}" for line in (shown or "").splitlines()[-EVIDENCE_LINES:]]

    @property
    def exit_code(self) -> int:
        """1 for what the script itself found, else that of what failed."""
        return self.error.exit_code if isinstance(self.error, NetlabError) else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptResult:
    """How a script went; as text, what a person reads.

    Attributes:
        name: The script's file.
        seconds: How long it took.
        parts: Its subtests in the order of their ends.
        failure: Why it failed, or None.
    """

    name: str
    seconds: float
    parts: tuple[Part, ...]
    failure: ScriptFailure | None

    @property
    def exit_code(self) -> int:
        """0 if it passed; else 1, or the exit code of what it failed by."""
        return 0 if self.failure is None else self.failure.exit_code

    def __str__(self) -> str:
        lines = [
            f"{'failed' if part.failure else 'passed'}: {part.name} ({part.seconds:.2f} s)"
            for part in self.parts
        ]
        if self.failure is None:
            return "\n".join([*lines, f"passed: {self.name} ({self.seconds:.2f} s)"])
        lines += [f"failed: {self.name} ({self.seconds:.2f} s)", self.failure.message]
        for place in self.failure.places:
            within = "" if place.function == "<module>" else f" in {place.function}"
            lines.append(f"  {self.name}:{place.line}{within}: {place.source}")
        return "\n".join([*lines, *self.failure.evidence()])


def load_script(path: str | Path) -> Script:
    """Read a script.

    Raises:
        InputError: There is none, or it is not Python; with the position.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    try:
        return make_script(data.decode(), name=str(path))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: it is not UTF-8: {error.reason}") from error


def make_script(text: str, *, name: str = "script.py") -> Script:
    """Make a script of its text.

    Raises:
        InputError: It is not Python; with the position.
    """
    try:
        code = compile(text, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        place = f"{name}:{error.lineno or 1}:{error.offset or 1}"
        raise InputError(f"{place}: {error.msg}", evidence=_point_at(error)) from error
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
    return Script(name=name, text=text, code=code)


async def run_script_file(
    path: str | Path,
    lab: LabDriver,
    *,
    out: Path | None = None,
    tell: Tell = ignore,
    timeout: float = GLOBAL_TIMEOUT,
) -> ScriptResult:
    """Read a script and run it on a lab; as :func:`load_script` and :func:`run_script`.

    Raises:
        InputError: There is none, or it is not Python.
    """
    return await run_script(load_script(path), lab, out=out, tell=tell, timeout=timeout)


async def run_script(
    script: Script,
    lab: LabDriver,
    *,
    out: Path | None = None,
    tell: Tell = ignore,
    timeout: float = GLOBAL_TIMEOUT,
) -> ScriptResult:
    """Run a script on a lab, to its end; what it raises is in the result.

    It runs in a thread. Cancelled, its verbs end at once; one that ends in no other way is left to
    itself and ends with the process.

    Args:
        script: The script.
        lab: What it runs on; its nodes may still boot.
        out: The folder for what it copies out; the working directory when None.
        tell: Takes the lines of its log, from several threads. They may hold what a guest printed.
        timeout: Seconds that it gets.

    Raises:
        InputError: Two nodes have the same name in Python, or the lab lives in another process.
    """
    live = _live(lab)
    began = time.monotonic()
    records = {node.name: Record() for node in lab}
    parts: Sequence[Part] = ()
    thread = _Thread(script)
    with trio.move_on_after(timeout) as scope:
        async with open_portal() as portal:
            session = Session(lab=live, portal=portal, log=Log(tell), out=out or Path.cwd())
            driver, symbols = make_symbols(lab, session, records)
            parts = driver.parts
            for node in lab:
                portal.tasks.start_soon(records[node.name].follow, live, live[node.name])
            await portal.run(lambda: thread.run(symbols))
    failure = thread.failure or (thread.late(timeout) if scope.cancelled_caught else None)
    seconds = time.monotonic() - began
    return ScriptResult(name=script.name, seconds=seconds, parts=tuple(parts), failure=failure)


def _live(lab: LabDriver) -> Lab:
    if not isinstance(lab.lab, Lab):
        raise InputError("a script needs a lab in its own process")
    return lab.lab


class _Thread:
    """The thread of a script.

    Attributes:
        failure: How it failed, once it has.
    """

    def __init__(self, script: Script) -> None:
        self.failure: ScriptFailure | None = None
        self._script = script
        self._ident = 0
        self._ended_at: tuple[Place, ...] = ()

    def run(self, symbols: dict[str, Any]) -> None:
        """Run the script in this thread."""
        import threading

        self._ident = threading.get_ident()
        # Where a traceback finds the lines of a script that is no file.
        text = self._script.text
        linecache.cache[self._script.name] = (
            len(text), None, text.splitlines(keepends=True), self._script.name,
        )  # fmt: skip
        try:
            exec(self._script.code, symbols)  # it is what the user asks for
        except SystemExit as error:
            if error.code not in (None, 0):
                self.failure = self._explain(CheckError(f"it ended by exit({error.code!r})"), error)
        except ScriptEnded as error:
            self._ended_at = self._places(traceback.extract_tb(error.__traceback__))
        except Exception as error:  # noqa: BLE001 # whatever it is, it is why the script failed
            self.failure = self._explain(error, error)

    def late(self, timeout: float) -> ScriptFailure:
        """Say where the script was, or is, when time was up."""
        frame = sys._current_frames().get(self._ident)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        running = self._places(traceback.extract_stack(frame)) if frame else ()
        message = f"the script did not end within {timeout:.3g} s"
        return ScriptFailure(
            message=message, places=self._ended_at or running, error=WaitError(message)
        )

    def _explain(self, error: BaseException, raised: BaseException) -> ScriptFailure:
        places = self._places(traceback.extract_tb(raised.__traceback__))
        message = str(error)
        if not isinstance(error, NetlabError):
            said = message or (places[-1].source if places else "")
            message = f"{type(error).__name__}: {said}"
        return ScriptFailure(message=message, places=places, error=error)

    def _places(self, frames: traceback.StackSummary) -> tuple[Place, ...]:
        return tuple(
            Place(line=frame.lineno or 0, function=frame.name, source=frame.line or "")
            for frame in frames
            if frame.filename == self._script.name
        )


def _point_at(error: SyntaxError) -> str | None:
    if not error.text:
        return None
    column = min(error.offset or 1, len(error.text))
    return f"{error.text.rstrip()}\n{' ' * (column - 1)}^"
