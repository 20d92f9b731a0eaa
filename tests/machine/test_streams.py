"""What comes from a program behind a port, without a machine."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio

from netlab.errors import MachineError
from netlab.machine.agent import Agent
from netlab.machine.streams import PortStream

MARK = "0123456789abcdef"


@asynccontextmanager
async def open_port(*said: str) -> AsyncGenerator[PortStream]:
    """A program that has said all this already."""
    ours, theirs = (trio.SocketStream(end) for end in trio.socket.socketpair())
    async with ours, theirs:
        for text in said:
            await theirs.send_all(text.encode())
        yield PortStream(cast("Agent", None), ours, ours, MARK)


@pytest.mark.parametrize("late", ["", "late", "x" * 1000])
async def test_what_comes_behind_the_status_is_not_waited_for(late: str) -> None:
    with trio.fail_after(5):
        async with open_port("out", f"put{MARK}007{late}") as stream:
            assert await stream.receive() == b"output"
            assert await stream.receive() == b""
            assert stream.status == 7


async def test_a_guest_that_forges_the_end_is_refused_and_not_kept() -> None:
    with trio.fail_after(5):
        async with open_port(f"out{MARK}none of it is a status") as stream:
            with pytest.raises(MachineError, match=r"the guest sent b'non' for a program's status"):
                await stream.receive()
