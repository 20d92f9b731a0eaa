"""Failures on their way out of what a verb has changed for a block.

A cable that is pulled for a block is put back when the block fails: who wants to know how the lab
was at the failure has to look before that.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio


async def ignore(_error: Exception) -> None:
    """Have nothing to do with a failure."""
    await trio.lowlevel.checkpoint()


@dataclass(slots=True)
class Failures:
    """Who is told of a failure that leaves a block.

    Attributes:
        note: Is awaited before what the block had changed is changed back. The test may still catch
            the failure.
    """

    note: Callable[[Exception], Awaitable[None]] = ignore

    @asynccontextmanager
    async def watch(self) -> AsyncGenerator[None]:
        """Tell of a failure of the block before it goes on."""
        try:
            yield
        except Exception as error:
            await self.note(error)
            raise
