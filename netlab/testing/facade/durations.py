"""Times and parameters as scripts of several generations give them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")

Duration = float | timedelta
"""Seconds, or a timedelta."""

TIMEOUT = 900
"""Seconds that a verb of the NixOS driver waits when nobody says how long."""

OLD_NAMES = {
    "timeout_seconds": "timeout",
    "secs": "duration",
    "seconds_interval": "interval",
}
"""What parameters were called before all durations became timedeltas."""


def to_seconds(duration: Duration | None) -> float:
    """Return seconds; None has no end of its own.

    Raises:
        TypeError: It is no duration.
        ValueError: It is not a number.
    """
    if duration is None:
        return math.inf
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    # A script is not type-checked: what comes here can be anything.
    if isinstance(duration, bool) or not isinstance(cast("object", duration), int | float):
        raise TypeError(f"{duration!r} is neither seconds nor a timedelta")
    if math.isnan(duration):
        raise ValueError("a duration is not a number")
    return max(0.0, float(duration))


def accept_old_names(function: Callable[P, T]) -> Callable[P, T]:
    """Let parameters of a function also go by their :data:`OLD_NAMES`."""

    @functools.wraps(function)
    def accept(*args: P.args, **kwargs: P.kwargs) -> T:
        given = cast("dict[str, Any]", kwargs)
        for old, new in OLD_NAMES.items():
            if old in given and new in given:
                raise TypeError(f"{old} is the old name of {new}; both were given")
            if old in given:
                given[new] = given.pop(old)
        return function(*args, **kwargs)

    return accept
