"""Streams of a lab in another process, which takes no more before it says why: all played."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.testing

from netlab.errors import CommandError, ControlError
from netlab.lab.access import NodeAccess
from netlab.testing import files
from netlab.testing.forward import open_forward


class Stream:
    """A program in the guest of another process's lab: it ends, and its lab takes no more."""

    def __init__(self, *said: bytes, status: int = 0) -> None:
        self.status = status
        self._said = list(said)
        self._refused = trio.Event()

    async def send_all(self, _data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self._refused.set()
        raise ControlError("lab far ended, or closed the connection")

    async def send_eof(self) -> None:
        await self.send_all(b"")

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._said:
            return self._said.pop(0)
        await self._refused.wait()
        await trio.testing.wait_all_tasks_blocked()
        return b""


def play(make: Callable[[], Stream]) -> NodeAccess:
    @asynccontextmanager
    async def open_stream(*_: Any, **__: Any) -> AsyncGenerator[Stream]:
        await trio.lowlevel.checkpoint()
        yield make()

    return cast(
        "NodeAccess", SimpleNamespace(plan=SimpleNamespace(name="a"), open_stream=open_stream)
    )


async def test_a_guest_that_takes_no_more_says_why_and_not_that_the_lab_has_ended(
    tmp_path: Path,
) -> None:
    source = tmp_path / "big"
    source.write_bytes(bytes(files.CHUNK + 1))
    node = play(lambda: Stream(b"\n", b"No space left on device", status=1))
    with pytest.raises(CommandError, match="/big cannot be written: No space left on device"):
        await files.send_file(node, source, "/big", 0o600, lambda _count: None)


async def test_a_connection_that_ends_early_ends_no_forward() -> None:
    async with open_forward(play(Stream), 80, 0, "127.0.0.1") as port:
        for _ in range(2):
            with trio.fail_after(5):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                async with stream:
                    await stream.send_all(b"hello")
                    assert await stream.receive_some() == b""
