"""Work that waits, in threads that a cancellation wakes."""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TypeVar

import trio

from netlab.errors import StorageError
from netlab.scopes import open_background

_Result = TypeVar("_Result")

PIPE_SIZE = 1 << 20
"""Bytes that a pipe of ours holds: fewer turns for the same bytes (pipe(7))."""


class Blocking:
    """Runs functions that read or write in a thread, one at a time.

    A function that waits for a pipe waits by :meth:`wait`, and is woken when whoever called
    :meth:`run` is cancelled. Reading a disk is never waited for in that way: it ends by itself.
    """

    def __init__(self, bell: int) -> None:
        self._bell = bell

    async def run(self, function: Callable[[], _Result]) -> _Result:
        """Run a function in a thread and return what it returns.

        Raises:
            trio.Cancelled: The caller was cancelled, and the function has ended.
        """
        async with open_background() as nursery:
            nursery.start_soon(self._watch)
            return await trio.to_thread.run_sync(function)

    async def _watch(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
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
                # Left from an earlier call, or rung for this one: the scope knows.
                os.eventfd_read(self._bell)
                trio.from_thread.check_cancelled()
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
