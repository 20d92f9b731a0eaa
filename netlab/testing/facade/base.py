"""What all verbs of a machine share: the way to Trio's thread, the log, the names of parameters."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import trio

from netlab.errors import WaitError
from netlab.lab.lab import Lab
from netlab.lab.node import Node
from netlab.testing.facade.durations import Duration, accept_old_names, to_seconds
from netlab.testing.facade.logging import Log
from netlab.testing.facade.portal import Portal
from netlab.testing.facade.watch import Record
from netlab.testing.node import NodeDriver
from netlab.testing.waiting import make_limit, within

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="MachineVerbs")

_inside: ContextVar[bool] = ContextVar("inside", default=False)
"""Whether a verb runs that is told already: those that it is made of are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What all machines of a script share.

    Attributes:
        lab: The live lab.
        portal: The way to Trio's thread.
        log: What the script tells.
        out: The folder for what it copies out and for its screenshots.
    """

    lab: Lab
    portal: Portal
    log: Log
    out: Path


class MachineVerbs:
    """A machine as a script has it.

    Attributes:
        name: The node's name.
    """

    def __init__(self, session: Session, driver: NodeDriver, record: Record) -> None:
        self.name = driver.name
        self._session = session
        self._driver = driver
        self._record = record

    @property
    def _node(self) -> Node:
        """The live node."""
        return self._session.lab[self.name]

    def __repr__(self) -> str:
        return f"<machine {self.name}>"

    @property
    def out_dir(self) -> Path:
        """The folder for what the script copies out and for its screenshots."""
        return self._session.out

    def log(self, msg: str) -> None:
        """Tell something of this machine."""
        self._session.log.log(msg, {"machine": self.name})

    def nested(
        self, msg: str, attrs: Mapping[str, str] | None = None
    ) -> AbstractContextManager[None]:
        """Tell what begins, indent what is told in the block, and tell how long it took."""
        return self._session.log.nested(msg, {"machine": self.name, **(attrs or {})})

    def _call(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._session.portal.call(function, *args, **kwargs)

    def _ask(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call what needs the guest: a machine that was powered off boots for it."""

        async def ask() -> T:
            if self._driver.node.state == "stopped":
                await self._driver.node.start()
            return await function(*args, **kwargs)

        return self._call(ask)

    def _seconds(self, timeout: Duration | None) -> float:
        """Return how long a verb may take: a little less than what it is part of still has."""
        return min(to_seconds(timeout), self._session.portal.spare())

    async def _bounded(self, function: Callable[[], Awaitable[T]], what: str, timeout: float) -> T:
        """Run what has no deadline of its own.

        Raises:
            WaitError: Time was up.
        """
        limit = make_limit(timeout)

        async def give_up() -> WaitError:
            await trio.lowlevel.checkpoint()
            return WaitError(f"{self.name}: {what} within {limit.seconds:.3g} s")

        async with within(limit, give_up):
            return await function()
        raise AssertionError("unreachable")

    def _telling(self, verb: str, arguments: tuple[object, ...]) -> AbstractContextManager[None]:
        if _inside.get():
            return nullcontext()
        shown = " ".join(str(argument) for argument in arguments)
        return self.nested(f"{verb} {shown}".rstrip())


def verb(function: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Make a method a verb: it is told in the log, and knows its parameters' old names."""
    plain = accept_old_names(function)

    @functools.wraps(function)
    def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._telling(function.__name__, args):  # pyright: ignore[reportPrivateUsage]
            token = _inside.set(True)
            try:
                return plain(self, *args, **kwargs)
            finally:
                _inside.reset(token)

    return run
