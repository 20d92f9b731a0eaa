"""What a machine tells while the script does something else: QEMU's events, its console.

A script asks for an event after it has done what makes it come, and for a console's text since the
last time that it asked. So both are followed from the script's beginning, over every restart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import trio

from netlab.errors import QMPError
from netlab.lab.lab import Lab
from netlab.lab.node import Node
from netlab.machine.console import Console
from netlab.machine.machine import Machine
from netlab.scopes import open_tasks

EVENT_LIMIT = 4096
"""How many events a script may leave unread; the oldest are dropped then."""

QMPEvent = dict[str, object]


async def wait_running(lab: Lab, node: Node) -> Machine:
    """Wait until a node's QEMU runs, ready or not.

    Raises:
        MachineError: It is stopped or has failed.
    """
    async with lab.events.open_follow() as events:
        async for _event in events:
            if node.pid is not None:
                return node.machine
            if node.error is not None and node.state == "failed":
                raise node.error
            if node.state == "stopped":
                # Raises the error that says how it ended.
                return node.machine
    raise AssertionError("unreachable")


async def wait_off(lab: Lab, node: Node) -> None:
    """Wait until a node is off.

    Raises:
        MachineError: It failed.
    """
    async with lab.events.open_follow() as events:
        async for _event in events:
            if node.state == "failed" and node.error is not None:
                raise node.error
            if node.state in {"stopped", "failed"}:
                return


@final
@dataclass(slots=True)
class Record:
    """What a machine has told.

    Attributes:
        events: QEMU's events that nobody has asked for yet.
        serial: Takes the lines of its console, or None.
    """

    events: deque[QMPEvent] = field(default_factory=lambda: deque[QMPEvent](maxlen=EVENT_LIMIT))
    serial: Callable[[str], None] | None = None
    _news: trio.Event = field(default_factory=trio.Event)
    _console: Console | None = None
    _seen: int = 0
    _log: Path | None = None
    _start: int = 0

    async def next_event(self) -> QMPEvent:
        """Return QEMU's next event; the deadline is the caller's."""
        while not self.events:
            await self._news.wait()
        await trio.lowlevel.checkpoint()
        return self.events.popleft()

    async def wait_console(self, console: Console, pattern: str) -> str:
        """Wait until a console prints what matches, behind the last match; return it.

        Raises:
            MachineError: The console ended first.
        """
        if console is not self._console:
            self._console, self._seen = console, 0
        found = await console.wait_for_text(pattern, since=self._seen)
        self._seen = console.position
        return found

    def console_log(self) -> str:
        """Return what the guest has printed since the machine was started; it may have ended."""
        if self._log is None:
            return ""
        with self._log.open("rb") as file:
            file.seek(self._start)
            return file.read().decode(errors="replace").replace("\r", "")

    async def follow(self, lab: Lab, node: Node) -> None:
        """Follow a node's machine, and the one that comes when it is started again; for ever."""
        last: Machine | None = None
        while True:
            last = await _next_machine(lab, node, last)
            self._log = last.folder / "console.log"
            # What is in front is of the lives before.
            self._start = max(0, self._log.stat().st_size - last.console.position)
            async with open_tasks() as tasks:
                tasks.start_soon(self._follow_events, last)
                tasks.start_soon(self._follow_console, last)

    async def _follow_events(self, machine: Machine) -> None:
        with machine.qmp.events() as events:
            try:
                async for event in events:
                    self._take(event.name, event.data, event.seconds)
            except QMPError:
                # The machine's end is seen by whoever needs it.
                return

    def _take(self, name: str, data: Mapping[str, object], seconds: float) -> None:
        whole = int(seconds)
        timestamp = {"seconds": whole, "microseconds": round((seconds - whole) * 1_000_000)}
        self.events.append({"event": name, "data": dict(data), "timestamp": timestamp})
        self._news.set()
        self._news = trio.Event()

    async def _follow_console(self, machine: Machine) -> None:
        rest = b""
        async with machine.console.attach() as attachment:
            async for data in attachment:
                *lines, rest = (rest + data).split(b"\n")
                if self.serial is not None:
                    for line in lines:
                        self.serial(line.decode(errors="replace").strip("\r"))


async def _next_machine(lab: Lab, node: Node, last: Machine | None) -> Machine:
    async with lab.events.open_follow() as events:
        async for _event in events:
            if node.pid is not None and node.machine is not last:
                return node.machine
    raise AssertionError("unreachable")
