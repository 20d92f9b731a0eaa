"""From the script's thread to Trio's and back: a verb blocks the script and never the lab.

Every verb that a script calls runs in Trio's thread, under a cancel scope that the portal knows. So
a deadline, an interruption, a lab that goes away and a condition that breaks all end a blocked
verb at once, and the script sees an exception. What a script does without a verb cannot be ended:
it gets a grace, and then its thread is left to itself. Its verbs fail from then on, and it ends
with the process.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar, final

import trio

from netlab.errors import ConditionError, WaitError
from netlab.scopes import open_background

GRACE = 2.0
"""Seconds that a script gets to end once it was told to."""

REPORT = 0.5
"""Seconds before the end of what it is part of at which a verb gives up, to say why: it has to end
what it began in the guest first."""

T = TypeVar("T")
P = ParamSpec("P")

_deadline: ContextVar[float] = ContextVar("deadline", default=float("inf"))
"""By the clock ``time.monotonic``, which every thread can read."""

_checking: ContextVar[bool] = ContextVar("checking", default=False)
"""Whether a condition is being looked at: what it does is not ended because one has broken."""


class ScriptEnded(BaseException):  # like KeyboardInterrupt
    """The script has to end; every verb raises it from then on.

    It is no Exception: a script that goes on whatever fails has to end all the same.
    """


@dataclass(slots=True, eq=False)
class _Call:
    scope: trio.CancelScope
    checking: bool
    reason: ConditionError | None = None


@contextmanager
def limit(seconds: float) -> Generator[None]:
    """Let every verb in the block end within so many seconds of the block's beginning."""
    before = _deadline.get()
    _deadline.set(min(before, time.monotonic() + seconds))
    try:
        yield
    finally:
        _deadline.set(before)


@final
class Portal:
    """Takes verbs from a script's threads; made by :func:`open_portal`.

    Attributes:
        tasks: Serve the script while it runs.
    """

    def __init__(self, tasks: trio.Nursery) -> None:
        self.tasks = tasks
        self._token = trio.lowlevel.current_trio_token()
        self._deadline = trio.current_effective_deadline()
        self._until = time.monotonic() + self._deadline - trio.current_time()
        self._calls: set[_Call] = set()
        self._left = trio.Event()
        self._watches: dict[object, trio.CancelScope] = {}
        self._broken: dict[object, ConditionError] = {}
        self._ended = False

    def call(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an async function in Trio's thread, from any other, and return what it returns.

        Raises:
            ConditionError: A condition of the block that this is in has broken.
            WaitError: The function has not ended when time was up.
            ScriptEnded: The script has to end.
        """
        serve = partial(
            self._serve,
            partial(function, *args, **kwargs),
            _deadline.get() - time.monotonic(),
            checking=_checking.get(),
        )
        try:
            return trio.from_thread.run(serve, trio_token=self._token)
        except (trio.RunFinishedError, trio.Cancelled):
            raise ScriptEnded from None

    def spare(self) -> float:
        """Return the seconds that a verb has which wants to say why it gave up, from any thread."""
        left = min(self._until, _deadline.get()) - time.monotonic()
        return max(left - REPORT, left / 2)

    async def run(self, script: Callable[[], T]) -> T:
        """Run a script's function in a thread of its own, and return what it returns.

        When the caller is cancelled, the script's verbs are; a script that does not end then is
        left to itself after :data:`GRACE`.
        """
        ended = trio.Event()

        def run() -> T:
            try:
                return script()
            finally:
                with suppress(trio.RunFinishedError):
                    self._token.run_sync_soon(ended.set)

        # Who is cancelled here already has no thread to wait for.
        await trio.lowlevel.checkpoint()
        try:
            return await trio.to_thread.run_sync(run, abandon_on_cancel=True)
        finally:
            self.end()
            with trio.move_on_after(GRACE, shield=True):
                await ended.wait()

    def watch(self, key: object, look: Callable[[], None], interval: float) -> None:
        """Look again and again, from a thread, until :meth:`unwatch`.

        When it raises ConditionError, the verb that runs is ended with that, and those that come.
        """
        trio.from_thread.run_sync(self._watch, key, look, interval, trio_token=self._token)

    def unwatch(self, key: object) -> ConditionError | None:
        """Look no more; return how the condition broke, if it did."""
        return trio.from_thread.run_sync(self._unwatch, key, trio_token=self._token)

    def end(self) -> None:
        """End the verbs that run, and all that come."""
        self._ended = True
        for call in self._calls:
            call.scope.cancel()

    async def wait_left(self) -> None:
        """Wait until no verb runs any more; each cleans up in bounded time."""
        while self._calls:
            await self._left.wait()

    async def _serve(
        self, function: Callable[[], Awaitable[T]], seconds: float, *, checking: bool
    ) -> T:
        if self._ended:
            raise ScriptEnded
        if self._broken and not checking:
            first = next(iter(self._broken.values()))
            raise ConditionError(first.message, evidence=first.evidence)
        deadline = min(self._deadline, trio.current_time() + seconds)
        call = _Call(trio.CancelScope(deadline=deadline), checking)
        self._calls.add(call)
        try:
            with call.scope:
                return await function()
        finally:
            self._calls.discard(call)
            self._left.set()
            self._left = trio.Event()
        if call.reason is not None:
            raise call.reason
        if self._ended:
            raise ScriptEnded
        raise WaitError("time was up before the verb had ended")

    def _watch(self, key: object, look: Callable[[], None], interval: float) -> None:
        if self._ended:
            raise ScriptEnded
        scope = trio.CancelScope()
        self._watches[key] = scope
        self.tasks.start_soon(self._look_often, key, look, interval, scope)

    async def _look_often(
        self, key: object, look: Callable[[], None], interval: float, scope: trio.CancelScope
    ) -> None:
        with scope:
            while True:
                await trio.sleep(interval)
                try:
                    await trio.to_thread.run_sync(_check, look, abandon_on_cancel=True)
                except ConditionError as error:
                    self._break(key, error)
                    return
                except ScriptEnded:
                    return

    def _break(self, key: object, error: ConditionError) -> None:
        self._broken[key] = error
        for call in self._calls:
            if not call.checking:
                call.reason = error
                call.scope.cancel()

    def _unwatch(self, key: object) -> ConditionError | None:
        self._watches.pop(key).cancel()
        return self._broken.pop(key, None)


def _check(look: Callable[[], None]) -> None:
    # The thread has a context of its own, which ends with it.
    _checking.set(True)
    look()


@asynccontextmanager
async def open_portal() -> AsyncGenerator[Portal]:
    """Take verbs from threads while the block runs; when it is left, none runs any more."""
    async with open_background() as tasks:
        portal = Portal(tasks)
        try:
            yield portal
        finally:
            portal.end()
            with trio.CancelScope(shield=True):
                await portal.wait_left()
