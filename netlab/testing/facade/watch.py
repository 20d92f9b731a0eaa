"""What a machine tells while the script does something else: QEMU's events, its console.

A script asks for an event after it has done what makes it come, and for a console's text since the
last time that it asked. So both are followed from the script's beginning, over every restart.
"""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import trio

from netlab.errors import QMPError
from netlab.lab.lab import Lab
from netlab.lab.node import Node
from netlab.machine.machine import Machine
from netlab.scopes import open_background, open_tasks

EVENT_LIMIT = 4096
"""How many events a script may leave unread; the oldest are dropped then."""

TEXT_LIMIT = 1024 * 1024
"""Characters of a console that are kept for who will wait for them."""

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
class Transcript:
    """What a console has printed and nobody has waited for yet; lines end as they do in Python."""

    def __init__(self) -> None:
        self.ended = False
        self._text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._news = trio.Event()

    def add(self, data: bytes) -> None:
        """Take what was printed."""
        text = self._text + self._decoder.decode(data).replace("\r", "")
        self._text = text[-TEXT_LIMIT:]
        self._tell()

    def end(self) -> None:
        """Let who waits know that nothing more comes."""
        self.ended = True
        self._tell()

    def take(self, pattern: re.Pattern[str]) -> str | None:
        """Return what matches and take it away, with everything up to the end of its line.

        What comes behind it is left for the next one: lines are printed faster than waited for.
        """
        found = pattern.search(self._text)
        if found is None:
            return None
        end = self._text.find("\n", found.end())
        self._text = self._text[found.end() if end < 0 else end + 1 :]
        return found.group()

    async def wait(self, pattern: re.Pattern[str]) -> str | None:
        """Wait until something matches and take it; return None when the console has ended."""
        while (found := self.take(pattern)) is None and not self.ended:
            await self._news.wait()
        await trio.lowlevel.checkpoint()
        return found

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


@final
@dataclass(slots=True)
class Record:
    """What a machine has told.

    Attributes:
        events: QEMU's events that nobody has been given yet, each with its number.
        serial: Takes the lines of its console, or None.
    """

    events: deque[tuple[int, QMPEvent]] = field(
        default_factory=lambda: deque[tuple[int, QMPEvent]](maxlen=EVENT_LIMIT)
    )
    serial: Callable[[str], None] | None = None
    _news: trio.Event = field(default_factory=trio.Event)
    _transcripts: dict[Machine, Transcript] = field(default_factory=dict[Machine, Transcript])
    _log: Path | None = None
    _start: int = 0
    _told: int = 0

    async def next_event(self, lab: Lab, node: Node, after: int) -> tuple[int, QMPEvent]:
        """Return QEMU's first event behind that number; the deadline is the caller's.

        Raises:
            MachineError: The machine failed, and there is none.
        """
        await trio.lowlevel.checkpoint()
        if (found := self._find_event(after)) is not None:
            return found
        async with open_background() as tasks:
            # Raises what ended the machine, if it was not told to end.
            tasks.start_soon(wait_off, lab, node)
            while (found := self._find_event(after)) is None:
                await self._news.wait()
            return found
        raise AssertionError("unreachable")

    async def take_event(self, event: tuple[int, QMPEvent]) -> None:
        """Let nobody else be given this event."""
        await trio.lowlevel.checkpoint()
        self.events.remove(event)

    def _find_event(self, after: int) -> tuple[int, QMPEvent] | None:
        return next((each for each in self.events if each[0] > after), None)

    async def find_transcript(self, machine: Machine) -> Transcript:
        """Return what a machine's console prints, once it is followed."""
        while machine not in self._transcripts:
            await self._news.wait()
        await trio.lowlevel.checkpoint()
        return self._transcripts[machine]

    def console_log(self) -> str:
        """Return what the guest has printed since the machine was started; it may have ended."""
        return self._read_log().decode(errors="replace").replace("\r", "")

    async def follow(self, lab: Lab, node: Node) -> None:
        """Follow a node's machine, and the one that comes when it is started again; for ever."""
        last: Machine | None = None
        while True:
            last = await _next_machine(lab, node, last)
            self._begin(last)
            async with open_tasks() as tasks:
                tasks.start_soon(self._follow_events, last)
                tasks.start_soon(self._follow_console, last)

    def _begin(self, machine: Machine) -> None:
        self._log = machine.folder / "console.log"
        # What is in front is of the lives before.
        self._start = max(0, self._log.stat().st_size - machine.console.position)

    def _read_log(self) -> bytes:
        if self._log is None:
            return b""
        with self._log.open("rb") as file:
            file.seek(self._start)
            return file.read()

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
        self._told += 1
        event: QMPEvent = {"event": name, "data": dict(data), "timestamp": timestamp}
        self.events.append((self._told, event))
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def _follow_console(self, machine: Machine) -> None:
        rest = b""
        async with machine.console.attach() as attachment:
            transcript = Transcript()
            # Nothing is printed between here and the attachment: it would take a turn of Trio's.
            transcript.add(self._read_log())
            self._transcripts = {machine: transcript}
            self._tell()
            async for data in attachment:
                transcript.add(data)
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if self.serial is not None:
                        self.serial(line.decode(errors="replace").strip("\r"))
                # A guest that ends no line is not to fill our memory.
                rest = rest[-TEXT_LIMIT:]
        transcript.end()


async def _next_machine(lab: Lab, node: Node, last: Machine | None) -> Machine:
    async with lab.events.open_follow() as events:
        async for _event in events:
            if node.pid is not None and node.machine is not last:
                return node.machine
    raise AssertionError("unreachable")
