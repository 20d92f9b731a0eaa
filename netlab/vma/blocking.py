"""Work that waits, in threads that a cancellation wakes."""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

import trio

from netlab.errors import StorageError
from netlab.scopes import open_tasks

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

PIPE_SIZE = 1 << 20
"""Bytes that a pipe of ours holds: fewer turns for the same bytes (pipe(7))."""


async def run_woken(function: Callable[[], _Result], *wakes: Callable[[], None]) -> _Result:
    """Run a function in a thread of its own, and return what it returns.

    Args:
        function: What is run. It calls :func:`hear` when it is woken.
        wakes: What end its waiting, called when the caller is cancelled or interrupted.

    Raises:
        trio.Cancelled: The caller was cancelled, and the function has ended.
    """
    results: list[_Result] = []
    ended = trio.Event()

    async def work() -> None:
        # Threads that wait for each other must not wait for a place among Trio's first.
        limiter = trio.CapacityLimiter(1)
        results.append(await trio.to_thread.run_sync(function, limiter=limiter))
        ended.set()

    async with open_tasks() as nursery:
        nursery.start_soon(work)
        try:
            # Not in the thread's own task: a KeyboardInterrupt would find nobody who can wake it.
            await ended.wait()
        except BaseException:
            nursery.cancel_scope.cancel()
            for wake in wakes:
                wake()
            raise
    return results[0]


def hear() -> None:
    """Hear in a thread of :func:`run_woken`, once woken, whether it is cancelled.

    Trio's thread is asked. What ``trio.from_thread.check_cancelled`` looks at may be written only
    after the thread was woken.

    Raises:
        trio.Cancelled: It is.
    """
    trio.from_thread.run(trio.lowlevel.checkpoint)


class Handover(Generic[_Item]):
    """A queue between threads; who waits in :func:`run_woken` is woken by :meth:`wake`."""

    def __init__(self) -> None:
        self._items: SimpleQueue[_Item | _Failure | None] = SimpleQueue()

    def put(self, item: _Item) -> None:
        """Add something at the end, from any thread."""
        self._items.put(item)

    @contextmanager
    def failures(self) -> Generator[None]:
        """Let :meth:`get` raise what fails in the block, behind all that was put before.

        So of two threads that fail one is heard: the one whose failure comes first in order.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001 # whatever it is, it is raised again
            self._items.put(_Failure(error))

    def get(self) -> _Item:
        """Wait in a thread for what is first, and take it.

        Raises:
            Exception: What failed in :meth:`failures`.
            trio.Cancelled: Whoever called :func:`run_woken` was cancelled.
        """
        while (item := self._items.get()) is None:
            hear()
        trio.from_thread.check_cancelled()
        if isinstance(item, _Failure):
            raise item.error
        return item

    def wake(self) -> None:
        """Let who waits hear whether it is cancelled."""
        self._items.put(None)


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception


class Blocking:
    """Runs functions that read or write in a thread, one at a time.

    A function that waits for a pipe waits by :meth:`wait`, and is woken when whoever called
    :meth:`run` is cancelled. Reading a disk is never waited for in that way: it ends by itself.
    """

    def __init__(self, bell: int) -> None:
        self._bell = bell

    async def run(self, function: Callable[[], _Result], *wakes: Callable[[], None]) -> _Result:
        """Run a function in a thread, as :func:`run_woken` does, and return what it returns.

        Raises:
            trio.Cancelled: The caller was cancelled, and the function has ended.
        """
        return await run_woken(function, self._ring, *wakes)

    def _ring(self) -> None:
        os.eventfd_write(self._bell, 1)

    def wait(self, descriptor: int, events: int) -> None:
        """Wait in the thread until a descriptor is ready.

        Args:
            descriptor: A pipe's or a socket's.
            events: ``select.POLLIN`` or ``select.POLLOUT``.

        Raises:
            trio.Cancelled: Whoever called :meth:`run` was cancelled.
        """
        poller = select.poll()
        poller.register(descriptor, events)
        poller.register(self._bell, select.POLLIN)
        while True:
            ready = {number for number, _ in poller.poll()}
            if self._bell in ready:
                # Left from an earlier call, or rung for this one: Trio knows.
                os.eventfd_read(self._bell)
                hear()
            if descriptor in ready:
                return


@asynccontextmanager
async def open_blocking() -> AsyncGenerator[Blocking]:
    """Open a :class:`Blocking`."""
    bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        yield Blocking(bell)
    finally:
        os.close(bell)


@contextmanager
def explain(path: str) -> Generator[None]:
    """Turn what the kernel refuses into an error that says where and why.

    A pipe that nobody reads any more stays a ``BrokenPipeError``: whoever reads decides.

    Raises:
        StorageError: With the path and the kernel's number.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(path, error.errno or 0, reason) from error


def widen(pipe: int) -> None:
    """Let a pipe hold more, if the user's share of pipes allows that."""
    with suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
