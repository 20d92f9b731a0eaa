"""The synchronous facade's threads, limits and conditions, without machines."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
import trio

from netlab.errors import ConditionError, WaitError
from netlab.testing.facade.conditions import Conditions
from netlab.testing.facade.portal import GRACE, Portal, ScriptEnded, limit, open_portal


async def test_a_verb_runs_in_trio_s_thread_and_from_any_thread() -> None:
    async def where(word: str) -> tuple[str, int]:
        await trio.lowlevel.checkpoint()
        return word, threading.get_ident()

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise WaitError("late")

    results: list[object] = []

    def script(portal: Portal) -> int:
        thread = threading.Thread(target=lambda: results.append(portal.call(where, "other")))
        thread.start()
        thread.join()
        results.append(portal.call(where, word="own"))
        with pytest.raises(WaitError, match="late"):
            portal.call(fail)
        return threading.get_ident()

    async with open_portal() as portal:
        ident = await portal.run(lambda: script(portal))
    mine = threading.get_ident()
    assert results == [("other", mine), ("own", mine)]
    assert ident != mine


async def test_a_cancelled_script_ends_at_once_whatever_it_catches() -> None:
    ended: list[str] = []
    blocked = trio.Event()

    async def block() -> None:
        blocked.set()
        await trio.sleep_forever()

    def script(portal: Portal) -> None:
        try:
            while True:
                try:
                    portal.call(block)
                except Exception:  # noqa: BLE001 # what a script may do
                    ended.append("caught")
        except ScriptEnded:
            ended.append("ended")
        with pytest.raises(ScriptEnded):
            portal.call(block)
        ended.append("left")

    with trio.fail_after(5), trio.CancelScope() as scope:
        async with open_portal() as portal, trio.open_nursery() as nursery:

            async def run() -> None:
                await portal.run(lambda: script(portal))

            nursery.start_soon(run)
            await blocked.wait()
            scope.cancel()
    assert ended == ["ended", "left"]


async def test_a_script_that_does_not_end_is_left_to_itself() -> None:
    gate = threading.Event()
    ended = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def script(portal: Portal) -> None:
        gate.wait(30)
        try:
            portal.call(trio.sleep, 0)
        except ScriptEnded:
            token.run_sync_soon(ended.set)

    began = trio.current_time()
    with trio.move_on_after(0.1) as scope:
        async with open_portal() as portal:
            await portal.run(lambda: script(portal))
    assert scope.cancelled_caught
    assert GRACE <= trio.current_time() - began < GRACE + 5
    gate.set()
    with trio.fail_after(5):
        await ended.wait()


async def test_trying_again_takes_no_longer_than_it_may() -> None:
    calls: list[bool] = []

    def third(last: bool) -> bool:
        calls.append(last)
        return len(calls) == 3

    def never(last: bool) -> None:
        calls.append(last)

    def script(portal: Portal) -> None:
        retry = Conditions(portal).retry
        retry(third)
        assert calls == [False, False, False]
        calls.clear()
        began = time.monotonic()
        with pytest.raises(WaitError, match=r"the action was not done within 1 s"):
            retry(never, timeout=timedelta(seconds=1))
        assert calls == [False] * (len(calls) - 1) + [True]
        with pytest.raises(WaitError, match="time was up"):
            retry(lambda _last: portal.call(trio.sleep, 30), timeout=1)
        assert time.monotonic() - began < 4
        calls.clear()
        with pytest.raises(WaitError):
            retry(never, timeout=0)
        assert calls == [True]
        # The limit is gone with its block.
        portal.call(trio.sleep, 0.01)

    async with open_portal() as portal:
        await portal.run(lambda: script(portal))


async def test_a_limit_inside_a_limit_is_the_shorter_one() -> None:
    def script(portal: Portal) -> None:
        with limit(0.1), limit(30), pytest.raises(WaitError, match=r"time was up"):
            portal.call(trio.sleep, 30)
        with limit(1):
            assert 0.3 < portal.spare() <= 0.5
        assert portal.spare() > 1000

    with trio.fail_after(5000):
        async with open_portal() as portal:
            await portal.run(lambda: script(portal))


async def test_a_condition_holds_and_breaks() -> None:
    state: dict[str, object] = {"value": True}

    def script(portal: Portal) -> None:
        polling_condition = Conditions(portal).polling_condition

        @polling_condition(interval=0.01, description="it is so")
        def holds() -> object:
            # Its own verbs are not ended by its end.
            portal.call(trio.sleep, 0)
            return state["value"]

        def break_it() -> None:
            with holds:
                state["value"] = False
                portal.call(trio.sleep, 30)

        with holds:
            portal.call(trio.sleep, 0.1)
        state["value"] = None
        with holds, holds:
            portal.call(trio.sleep, 0.1)
        with pytest.raises(ConditionError, match=r"^it is so: it does not hold any more$"):
            break_it()
        # It is looked at when the block begins, and after it nothing is left.
        with pytest.raises(ConditionError):
            break_it()
        portal.call(trio.sleep, 0)
        assert not holds.check()
        with pytest.raises(WaitError, match=r"it is so: it did not hold within 0\.2 s"):
            holds.wait(0.2)
        state["value"] = True
        holds.wait(timeout=10)

    with trio.fail_after(20):
        async with open_portal() as portal:
            await portal.run(lambda: script(portal))


async def wait_broken(portal: Portal) -> None:
    while not portal._broken:
        await trio.lowlevel.checkpoint()


async def test_a_condition_that_breaks_is_told_at_the_end_of_a_block_without_verbs() -> None:
    raised = threading.Event()

    def script(portal: Portal) -> None:
        fine = [True]

        def look() -> None:
            "it raises nothing"
            if not fine:
                raised.set()
                raise KeyError("gone")

        condition = Conditions(portal).polling_condition(interval=0.01)(look)

        def break_it() -> None:
            with condition:
                fine.clear()
                raised.wait(10)
                # It is told at the end when Trio's thread has seen it.
                trio.from_thread.run(wait_broken, portal, trio_token=portal._token)

        with pytest.raises(ConditionError, match=r"^it raises nothing: .*'gone'"):
            break_it()

    with trio.fail_after(20):
        async with open_portal() as portal:
            await portal.run(lambda: script(portal))


async def test_a_verb_that_comes_after_a_break_is_ended_too() -> None:
    def script(portal: Portal) -> None:
        broken = threading.Event()

        def look() -> None:
            if broken.is_set():
                raise ConditionError("broken")

        key = object()
        portal.watch(key, look, 0.01)
        broken.set()
        for _attempt in range(2):
            with pytest.raises(ConditionError, match="broken"):
                portal.call(trio.sleep, 30)
        error = portal.unwatch(key)
        assert error is not None
        portal.call(trio.sleep, 0)

    with trio.fail_after(10):
        async with open_portal() as portal:
            await portal.run(lambda: script(portal))
