"""QEMU or a program beside it: its end is awaited, explained and, if need be, forced."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import trio

from netlab.errors import MachineDiedError, MachineError, SandboxError
from netlab.process import Process

QUIT_GRACE = 2.0
"""Seconds that QEMU gets to flush its disks and end after SIGTERM, before it is killed."""

KILL_GRACE = 10.0
"""Seconds to wait for a killed process, which ends unless the host's kernel is stuck."""

DEATH_GRACE = 2.0
"""Seconds between the end of a connection and the news that QEMU ended, which belong together."""

OUTPUT_LIMIT = 4096
"""Bytes of QEMU's own output that an error shows."""


@final
@dataclass(slots=True, kw_only=True)
class Life:
    """A QEMU: how it ended, and what it printed.

    It does without QMP: a cancelled scope has no tasks left that would speak it.

    Attributes:
        name: The node's name.
        process: What the launcher started.
        folder: Where its output goes.
        log: The file there that gets it.
        status: Its exit status once it has ended.
    """

    name: str
    process: Process
    folder: Path
    log: str = "qemu.log"
    ended: trio.Event = field(default_factory=trio.Event)
    status: int | None = None
    watching: trio.CancelScope = field(default_factory=lambda: trio.CancelScope(shield=True))

    async def watch(self) -> None:
        """Wait for its end; the end of the sandbox is one as well."""
        # Not to be cancelled before the process has ended: how else would that be known?
        with self.watching:
            try:
                self.status = await self.process.wait()
            except SandboxError:
                # With PID 1 of its namespace gone, the kernel has killed it.
                self.status = -signal.SIGKILL
        self.ended.set()

    async def wait(self) -> int:
        """Wait for its end and return its status."""
        await self.ended.wait()
        return self.status if self.status is not None else -signal.SIGKILL

    async def explain(self, error: MachineError) -> MachineError:
        """Return what the end of a connection to it means."""
        with trio.move_on_after(DEATH_GRACE):
            status = await self.wait()
            return MachineDiedError(self.name, self.process.argv, status, self.output_tail())
        return error

    def output_tail(self) -> str:
        """Return the last that it printed."""
        try:
            with (self.folder / self.log).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - OUTPUT_LIMIT))
                return file.read().decode(errors="replace").strip()
        except OSError as error:
            return f"(its output cannot be read: {error})"

    def is_stopped(self) -> bool:
        """Say whether a signal keeps it from running, such as SIGSTOP (proc_pid_stat(5))."""
        try:
            text = Path(f"/proc/{self.process.pid}/stat").read_text(errors="replace")
        except OSError:
            return False
        # Behind the program's name, which may have any character in it.
        return text.rpartition(")")[2].split()[0] in {"T", "t"}

    async def end(self) -> None:
        """Make it end: told to, then killed; bounded, and not to be cancelled."""
        with trio.CancelScope(shield=True):
            for number, grace in ((signal.SIGTERM, QUIT_GRACE), (signal.SIGKILL, KILL_GRACE)):
                if self.ended.is_set():
                    return
                with trio.move_on_after(grace):
                    # A sandbox that is gone has taken it along.
                    with suppress(SandboxError):
                        await self.process.send_signal(number)
                    await self.ended.wait()
        # Neither dead nor alive: the host's kernel is stuck, and waiting is of no use.
        self.watching.cancel()
