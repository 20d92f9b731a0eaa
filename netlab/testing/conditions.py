"""What has to stay true, and parts of a test that are reported one by one."""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import final

import trio

from netlab.errors import CheckError, ConditionError, NetlabError
from netlab.scopes import open_background

INTERVAL = 2.0
"""Seconds between two looks at a condition."""


@asynccontextmanager
async def polling_condition(
    condition: Callable[[], Awaitable[object] | object],
    *,
    interval: float = INTERVAL,
    description: str | None = None,
) -> AsyncGenerator[None]:
    """Look at a condition while the block runs; cancel the block when it breaks.

    The condition is looked at once before the block begins. It breaks when it returns False or
    raises; None is fine, so that it can be made of verbs that raise.

    Args:
        condition: A function, async or not.
        interval: Seconds between two looks.
        description: What it says; its name or docstring when None.

    Raises:
        ConditionError: It broke; the cause is what it raised.
    """
    named = description or inspect.getdoc(condition) or getattr(condition, "__name__", "condition")

    async def look() -> None:
        try:
            result = condition()
            if inspect.isawaitable(result):
                result = await result
        except (NetlabError, AssertionError) as error:
            raise ConditionError(f"{named}: it does not hold any more: {error}") from error
        if result is False:
            raise ConditionError(f"{named}: it does not hold any more")

    async def watch() -> None:
        while True:
            await trio.sleep(interval)
            await look()

    await look()
    async with open_background() as tasks:
        tasks.start_soon(watch)
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a test.

    Attributes:
        name: What it says.
        seconds: How long it took.
        failure: Why it failed, or None.
    """

    name: str
    seconds: float
    failure: Exception | None


@final
@dataclass(slots=True)
class Parts:
    """The parts of one test, in their order."""

    done: list[Part] = field(default_factory=list[Part])

    @contextmanager
    def subtest(self, name: str, *, go_on: bool = False) -> Generator[None]:
        """Name a part of a test and record how it went.

        Args:
            name: What it says.
            go_on: Whether the test goes on when the part fails; :meth:`check` then fails it.
        """
        began = time.monotonic()
        failure: Exception | None = None
        try:
            yield
        except (NetlabError, AssertionError) as error:
            failure = error
            if not go_on:
                raise
        finally:
            seconds = time.monotonic() - began
            self.done.append(Part(name=name, seconds=seconds, failure=failure))

    def check(self) -> None:
        """Fail if a part did that was gone on from.

        Raises:
            CheckError: The message names all of them.
        """
        failed = [part for part in self.done if part.failure is not None]
        if failed:
            lines = [f"{part.name}: {part.failure}" for part in failed]
            raise CheckError(
                f"{len(failed)} of {len(self.done)} parts failed: {lines[0]}",
                evidence="\n".join(lines),
            )
