"""Waiting that ends in time and says what it saw last.

Deadlines are the caller's (``trio.fail_after``), or a verb's ``timeout=``, or the lab's default:
whichever comes first. A verb gives up a moment before the caller's deadline, because a cancellation
has no words: who waits gets an error that says what was missing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

from netlab.errors import AgentError, WaitError, leaves

REPORT = 0.05
"""Seconds before the caller's deadline at which a verb gives up, to have time to say why."""

FIRST_PAUSE = 0.002
LONGEST_PAUSE = 0.5
"""Seconds between two looks: they begin at milliseconds and grow by half."""

DEFAULT_TIMEOUT = 300.0
"""Seconds that a verb waits when nobody says how long."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Until when a verb may try.

    Attributes:
        deadline: By Trio's clock.
        seconds: How long that is from its beginning, for the message.
    """

    deadline: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen(Generic[T]):
    """What a look showed: the value that was waited for, or what was there in its place."""

    value: T | None = None
    instead: str = ""


def make_limit(timeout: float | None, default: float = DEFAULT_TIMEOUT) -> Limit:
    """Return until when to try: the timeout's or the default's end, or the caller's deadline.

    Args:
        timeout: Seconds, or None for the default.
        default: Seconds.
    """
    now = trio.current_time()
    own = now + (default if timeout is None else timeout)
    outer = trio.current_effective_deadline()
    # A deadline that is nearer than a report takes is still the caller's.
    early = outer - REPORT if outer - REPORT > now else outer
    deadline = min(own, early)
    return Limit(deadline=deadline, seconds=max(0.0, deadline - now))


@asynccontextmanager
async def within(limit: Limit, explain: Callable[[], Awaitable[WaitError]]) -> AsyncGenerator[None]:
    """Cancel the block at the limit and raise what `explain` finds out about it.

    Args:
        limit: From :func:`make_limit`.
        explain: Asked once the limit has passed; has to answer within a fraction of a second.
    """
    try:
        with trio.CancelScope(deadline=limit.deadline) as scope:
            yield
    except BaseException as error:
        # On a busy host the caller's deadline may have passed too before we were woken.
        cancelled = all(isinstance(leaf, trio.Cancelled) for leaf in leaves(error))
        if not cancelled or trio.current_time() < limit.deadline:
            raise
    else:
        if not scope.cancelled_caught:
            return
    with trio.CancelScope(shield=True):
        raise await explain() from None


async def nothing_known() -> str:
    """Have nothing to add to what the last look showed."""
    await trio.lowlevel.checkpoint()
    return ""


async def _look_once(look: Callable[[], Awaitable[Seen[T]]]) -> Seen[T]:
    """Look; an agent that is just being started again is what is seen then."""
    try:
        return await look()
    except AgentError as error:
        return Seen(instead=error.message)


async def poll(
    what: str,
    look: Callable[[], Awaitable[Seen[T]]],
    limit: Limit,
    diagnose: Callable[[], Awaitable[str]] = nothing_known,
) -> T:
    """Look until there is what is waited for, and return it.

    A guest whose agent is just being started again is looked at again; a machine that died is an
    error at once.

    Args:
        what: What is told if it does not come, such as ``r1: /etc/motd was not there``.
        look: Looks once.
        limit: From :func:`make_limit`.
        diagnose: Says what is wrong with whom was looked at, if anything is, when time is up.

    Raises:
        WaitError: It did not come; the message has what the last look showed.
        MachineError: The machine failed or died.
    """
    instead = "the first look had not ended"
    pause = FIRST_PAUSE

    async def give_up() -> WaitError:
        wrong = await diagnose()
        first, _, rest = instead.partition("\n")
        message = f"{what} within {limit.seconds:.3g} s: {wrong or first}"
        return WaitError(message, evidence=rest.strip() or None)

    async with within(limit, give_up):
        while True:
            seen = await _look_once(look)
            if seen.value is not None:
                return seen.value
            instead = seen.instead
            await trio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
    raise AssertionError("unreachable")
