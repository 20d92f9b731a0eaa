"""What has to stay true while a script does something else; and trying again."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import final, overload

import trio

from netlab.errors import ConditionError, WaitError
from netlab.testing.conditions import INTERVAL
from netlab.testing.facade.durations import TIMEOUT, Duration, accept_old_names, to_seconds
from netlab.testing.facade.portal import Portal, limit

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds between two attempts: they grow by half."""

LAST_CHANCE = 0.5
"""Seconds before its end at which :func:`attempt` tries for the last time."""

Condition = Callable[[], object]


@final
class PollingCondition:
    """A condition of a script: ``with`` it, or :meth:`wait` for it.

    It holds when it returns something true, or None, and raises nothing. In its block it is looked
    at once at the beginning and then again and again in a thread of its own, also while a verb
    waits; when it breaks, the verb that runs is ended.
    """

    def __init__(
        self, portal: Portal, condition: Condition, interval: float, description: str | None
    ) -> None:
        name = getattr(condition, "__name__", "condition")
        self.description = description or inspect.getdoc(condition) or name
        self._portal = portal
        self._condition = condition
        self._interval = interval
        self._entered: list[object] = []

    def __enter__(self) -> None:
        self.look()
        key = object()
        self._portal.watch(key, self.look, self._interval)
        self._entered.append(key)

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, *_trace: object
    ) -> None:
        broken = self._portal.unwatch(self._entered.pop())
        if broken is not None and error is None:
            raise broken

    def look(self) -> None:
        """Look at it once.

        Raises:
            ConditionError: It does not hold.
        """
        try:
            result = self._condition()
        except Exception as error:
            raise ConditionError(
                f"{self.description}: it does not hold any more: {error}",
                evidence=getattr(error, "evidence", None),
            ) from error
        if result is not None and not result:
            raise ConditionError(f"{self.description}: it does not hold any more")

    def check(self) -> bool:
        """Look at it once and say whether it holds."""
        try:
            self.look()
        except ConditionError:
            return False
        return True

    @accept_old_names
    def wait(self, timeout: Duration | None = TIMEOUT) -> None:
        """Wait until it holds.

        Raises:
            WaitError: It did not in time.
        """
        what = f"{self.description}: it did not hold"
        attempt(self._portal, lambda _last: self.check(), to_seconds(timeout), what)


def attempt(portal: Portal, function: Callable[[bool], object], seconds: float, what: str) -> None:
    """Call a function until what it returns is true.

    It is told whether this is its last chance. Its verbs end when time is up, so that nothing takes
    longer than it may.

    Raises:
        WaitError: Time was up.
    """
    deadline = time.monotonic() + seconds
    pause = FIRST_PAUSE
    with limit(seconds):
        while True:
            last = deadline - time.monotonic() <= LAST_CHANCE
            if function(last):
                return
            if last:
                raise WaitError(f"{what} within {seconds:.3g} s")
            left = deadline - time.monotonic() - LAST_CHANCE
            portal.call(trio.sleep, max(0.0, min(pause, left)))
            pause = min(pause * 1.5, LONGEST_PAUSE)


@final
class Conditions:
    """``polling_condition`` and ``retry`` of a script."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    @accept_old_names
    def retry(self, fn: Callable[[bool], object], timeout: Duration | None = TIMEOUT) -> None:
        """Call a function until what it returns is true; it is told whether it is the last time.

        Raises:
            WaitError: It was not in time.
        """
        attempt(self._portal, fn, to_seconds(timeout), "the action was not done")

    @overload
    def polling_condition(self, fun: Condition, /) -> PollingCondition: ...

    @overload
    def polling_condition(
        self, fun: None = None, *, interval: Duration = INTERVAL, description: str | None = None
    ) -> Callable[[Condition], PollingCondition]: ...

    @accept_old_names
    def polling_condition(
        self,
        fun: Condition | None = None,
        *,
        interval: Duration = INTERVAL,
        description: str | None = None,
    ) -> PollingCondition | Callable[[Condition], PollingCondition]:
        """Make a condition of a function; as a decorator, with parentheses or without."""

        def make(condition: Condition) -> PollingCondition:
            return PollingCondition(self._portal, condition, to_seconds(interval), description)

        return make if fun is None else make(fun)
