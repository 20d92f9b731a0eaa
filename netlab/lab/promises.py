"""Memory that labs were promised: no MiB is promised twice, whoever starts labs at the same time.

Every lab, in a lab process or in a test's, leaves a file in the user's state folder that says
how many MiB it may come to use, and holds a lock on it while it lives; the kernel releases the lock
however its process ends. Who wants to start a lab looks at all of them under one lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from netlab.errors import CapacityError, explain_storage
from netlab.lab.capacity import check_capacity, memory_available, memory_needed, memory_used
from netlab.lab.folders import is_held, make_private, promises_folder, try_hold, wait_released
from netlab.plan.model import Plan


@dataclass(frozen=True, slots=True)
class _Promise:
    path: Path
    pid: int
    needed: int


@dataclass(frozen=True, slots=True)
class _Own:
    path: Path
    lock: int


@asynccontextmanager
async def open_promise(plan: Plan, *, wait: bool) -> AsyncGenerator[None]:
    """Have the memory of a plan promised while the block runs.

    Args:
        plan: What will be started.
        wait: Whether to wait until other labs have ended, if that helps.

    Raises:
        CapacityError: There is not enough.
        StorageError: It cannot be written down.
    """
    own = await trio.to_thread.run_sync(partial(_promise, plan, wait=wait))
    while isinstance(own, _Promise):
        await trio.to_thread.run_sync(partial(_wait_end, own.path), abandon_on_cancel=True)
        own = await trio.to_thread.run_sync(partial(_promise, plan, wait=wait))
    try:
        yield
    finally:
        own.path.unlink(missing_ok=True)
        os.close(own.lock)


def memory_promised(proc: Path = Path("/proc")) -> int:
    """Return the MiB that this user's labs were promised and have not come to use yet.

    Args:
        proc: Where procfs is mounted.
    """
    return _sum(_living(), proc)


def _sum(promises: Sequence[_Promise], proc: Path = Path("/proc")) -> int:
    used: dict[int, int] = {}
    promised = 0
    for promise in promises:
        # A process with several labs has used memory once.
        left = used.setdefault(promise.pid, memory_used(proc, promise.pid))
        used[promise.pid] = max(0, left - promise.needed)
        promised += max(0, promise.needed - left)
    return promised


def _promise(plan: Plan, *, wait: bool) -> _Own | _Promise:
    """Have it promised, or return one of those that are in the way and can be waited for."""
    folder = promises_folder()
    make_private(folder)
    with _only_one(folder):
        # One look decides both: who ends after it is waited for in vain, and for no time.
        living = _living()
        try:
            check_capacity(plan, memory_available() - _sum(living))
        except CapacityError:
            if living and wait:
                return living[0]
            raise
        with explain_storage(folder):
            return _write(folder, plan)


def _write(folder: Path, plan: Plan) -> _Own:
    path = folder / f"{os.getpid()}-{secrets.token_hex(4)}"
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    about = {"pid": os.getpid(), "lab": plan.lab, "needed": memory_needed(plan)}
    try:
        # Held first: one that can be read and is not held is taken for a dead lab's.
        try_hold(lock)
        os.write(lock, json.dumps(about).encode())
    except OSError:
        os.close(lock)
        path.unlink(missing_ok=True)
        raise
    return _Own(path, lock)


@contextlib.contextmanager
def _only_one(folder: Path) -> Generator[None]:
    path = folder / ".lock"
    with explain_storage(path):
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        wait_released(lock)
        yield
    finally:
        os.close(lock)


def _living() -> list[_Promise]:
    """The promises of labs that live; what dead ones left is removed."""
    found: list[_Promise] = []
    for path in sorted(promises_folder().glob("[0-9]*")):
        try:
            about = json.loads(path.read_text())
            promise = _Promise(path, int(about["pid"]), int(about["needed"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # it is just being written, or just ended
        if is_held(path):
            found.append(promise)
        else:
            path.unlink(missing_ok=True)
    return found


def _wait_end(path: Path) -> None:
    try:
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        wait_released(lock)
    finally:
        os.close(lock)
