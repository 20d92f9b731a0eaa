"""lock.py: one at a time, waited for without polling, and given up cleanly."""

from __future__ import annotations

import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
import trio.testing

from netlab.image.lock import open_lock, try_lock
from netlab.process import open_process


def _unexpected() -> None:
    raise AssertionError("nobody else has the lock")


async def test_a_second_one_waits_for_the_first(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    order: list[str] = []
    waiting = trio.Event()

    async def second() -> None:
        async with open_lock(path, waiting=waiting.set):
            order.append("second")

    async with trio.open_nursery() as nursery, open_lock(path, waiting=_unexpected):
        nursery.start_soon(second)
        await waiting.wait()
        await trio.testing.wait_all_tasks_blocked()
        order.append("first")
    assert order == ["first", "second"]


async def test_who_gives_up_waiting_does_not_get_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    async with open_lock(path, waiting=_unexpected):
        with trio.CancelScope() as scope:
            async with open_lock(path, waiting=scope.cancel):
                raise AssertionError("it had to wait")
        assert scope.cancelled_caught
    # The thread that waited lets go as soon as it has the lock: then it is ours.
    with trio.fail_after(10):
        async with open_lock(path, waiting=lambda: None):
            assert try_lock(path) is None


async def test_a_lock_is_free_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(RuntimeError):
        async with open_lock(path, waiting=_unexpected):
            raise RuntimeError
    async with open_lock(path, waiting=_unexpected):
        pass


async def test_a_program_that_inherits_the_lock_holds_it_for_as_long_as_it_lives(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lock"
    async with AsyncExitStack() as stack:
        async with open_lock(path, waiting=_unexpected) as descriptor:
            opened = open_process(["sleep", "1000"], pass_fds=[descriptor])
            program = await stack.enter_async_context(opened)
        with trio.fail_after(10):
            async with open_lock(path, waiting=program.kill):
                assert await program.wait() == -signal.SIGKILL
