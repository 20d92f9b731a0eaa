"""A lock between processes that is waited for without polling and given up when cancelled."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio


@asynccontextmanager
async def open_lock(path: Path, *, waiting: Callable[[], None]) -> AsyncGenerator[int]:
    """Hold a lock; programs that inherit the descriptor hold it with us.

    Args:
        path: The lock's file, made if it is not there, never removed.
        waiting: Called once if somebody else has the lock.

    Yields:
        The descriptor.

    Raises:
        OSError: The file cannot be made.
    """
    descriptor = try_lock(path)
    if descriptor is None:
        waiting()
        descriptor = await _wait_lock(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """Take a lock and return its descriptor, or None if somebody else has it."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def share(path: Path) -> int | None:
    """Hold a file or folder so that nobody removes it; return the descriptor that does.

    None if it is not there, or just about to go.
    """
    return _flock(path, fcntl.LOCK_SH)


def seize(path: Path) -> int | None:
    """Hold a file or folder so that it can be removed; None if it is not there, or in use."""
    return _flock(path, fcntl.LOCK_EX)


def _flock(path: Path, kind: int) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        if _is_at(path, descriptor):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether what is open has still its name: it may have gone before it was locked."""
    return os.path.samestat(path.stat(), os.fstat(descriptor))


async def _wait_lock(path: Path) -> int:
    waiter = _Waiter(path)
    try:
        return await trio.to_thread.run_sync(waiter.acquire, abandon_on_cancel=True)
    except trio.Cancelled:
        waiter.abandon()
        raise


class _Waiter:
    """flock blocks a thread that cannot be ended: one that nobody waits for lets go at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = threading.Lock()
        self._abandoned = False
        self._descriptor: int | None = None

    def acquire(self) -> int:
        descriptor = _open(self._path)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with self._mutex:
            self._descriptor = descriptor
            if self._abandoned:
                os.close(descriptor)
        return descriptor

    def abandon(self) -> None:
        with self._mutex:
            self._abandoned = True
            if self._descriptor is not None:
                os.close(self._descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
