"""What a row of the tables is, and what their proofs share."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from netlab.errors import NetlabError
from netlab.testing import LabDriver
from netlab.testing.script import ScriptResult, make_script, run_script

PER_ROW = 60.0
"""Seconds after which a row hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap:
    """A trap.

    Attributes:
        name: What it is about.
        there: What the NixOS driver does.
        here: What netlab does.
        proof: Shows that on a lab; it has a folder of its own.
        covers: Which of the names above it answers.
    """

    name: str
    there: str
    here: str
    proof: Callable[[LabDriver, Path], Awaitable[None]]
    covers: tuple[str, ...]


@contextmanager
def told(kind: type[NetlabError], pattern: str) -> Generator[None]:
    """Expect an error; that there is none fails the row and not the whole table."""
    try:
        yield
    except kind as error:
        said = f"{error}\n{error.evidence}"
    else:
        raise AssertionError(f"no {kind.__name__} was raised")
    assert re.search(pattern, said), said


async def run(lab: LabDriver, text: str, folder: Path | None = None) -> ScriptResult:
    return await run_script(make_script(text), lab, timeout=PER_ROW, out=folder)


async def kill(lab: LabDriver, node: str) -> None:
    pid = lab[node].node.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
