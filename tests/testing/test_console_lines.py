"""What a script is told of a machine's console."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import trio
import trio.testing

from netlab.lab.events import EventLog
from netlab.lab.lab import Lab
from netlab.lab.node import Node
from netlab.machine.console import Console, open_console
from netlab.scopes import open_background
from netlab.testing.facade.watch import TEXT_LIMIT, Record


class Talker:
    """A machine whose console is all that there is of it."""

    def __init__(self, console: Console, folder: Path) -> None:
        self.console = console
        self.folder = folder
        self.qmp = self

    @contextmanager
    def events(self) -> Generator[AsyncIterator[None]]:
        async def nothing() -> AsyncGenerator[None]:
            await trio.sleep_forever()
            yield

        yield nothing()


async def test_a_guest_that_ends_no_line_does_not_fill_our_memory(tmp_path: Path) -> None:
    lines: list[str] = []
    ours, theirs = trio.testing.memory_stream_pair()
    events = EventLog()
    events.record("node", "runs", node="a")
    async with open_console(ours, tmp_path / "console.log") as console:
        node = SimpleNamespace(pid=1, machine=Talker(console, tmp_path))
        record = Record(serial=lines.append)
        async with open_background() as tasks:
            lab = cast("Lab", SimpleNamespace(events=events))
            tasks.start_soon(record.follow, lab, cast("Node", node))
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(TEXT_LIMIT // 65536 + 3):
                await theirs.send_all(b"x" * 65536)
                await trio.testing.wait_all_tasks_blocked()
            await theirs.send_all(b"\n")
            await trio.testing.wait_all_tasks_blocked()
    assert [len(line) for line in lines] == [TEXT_LIMIT]
