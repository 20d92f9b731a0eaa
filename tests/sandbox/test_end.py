"""However a sandbox ends, nothing of it is left, and the message is true."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import trio

from netlab.errors import SandboxError
from netlab.sandbox.sandbox import Sandbox, open_sandbox
from tests.sandbox.conftest import (
    SOON,
    Namespace,
    abandon,
    children,
    command_line,
    count_descriptors,
    parent,
    python,
    segment,
    watch,
)

PLAN = [segment("wire"), segment("lan", 3)]
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"

VICTIMS: dict[str, Callable[[Sandbox], int]] = {
    "PID 1": lambda sandbox: sandbox.pid,
    "unshare": lambda sandbox: parent(sandbox.pid),
}


async def populate(sandbox: Sandbox) -> None:
    """Have programs inside that would rather stay."""
    await sandbox.launch(python(STUBBORN), descriptors={}, taps={3: "wire.0"})
    await sandbox.launch(["sh", "-c", "sleep 600 & sleep 600 & wait"], descriptors={})


async def test_the_end_of_the_scope_is_the_end_of_everything() -> None:
    with ExitStack() as stack:
        async with open_sandbox(PLAN) as sandbox:
            await populate(sandbox)
            namespace = stack.enter_context(watch(sandbox.pid))
            assert len(namespace.processes()) >= 4
        assert namespace.processes() == []


@pytest.mark.parametrize("victim", VICTIMS)
async def test_kill_ends_the_block_with_a_true_message(victim: str) -> None:
    with ExitStack() as stack:
        namespaces: list[Namespace] = []

        async def live() -> None:
            async with open_sandbox(PLAN) as sandbox:
                await populate(sandbox)
                namespaces.append(stack.enter_context(watch(sandbox.pid)))
                os.kill(VICTIMS[victim](sandbox), signal.SIGKILL)
                with trio.fail_after(SOON):
                    await trio.sleep_forever()

        with pytest.raises(SandboxError, match="was killed by SIGKILL, and everything"):
            await live()
        assert namespaces[0].processes() == []


@pytest.mark.parametrize("victim", VICTIMS)
async def test_kill_ends_pending_and_later_calls_at_once(victim: str) -> None:
    caught: list[SandboxError] = []

    async def expect(call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        except SandboxError as error:
            caught.append(error)

    async def live() -> None:
        async with open_sandbox(PLAN) as sandbox, trio.open_nursery() as nursery:
            process = await sandbox.launch(["sleep", "600"], descriptors={})
            # Shielded, as a caller in the middle of its own cleaning up may be.
            with trio.CancelScope(shield=True), trio.fail_after(SOON):
                nursery.start_soon(expect, sandbox.wait_exit)
                nursery.start_soon(expect, process.wait)
                await trio.testing.wait_all_tasks_blocked()
                os.kill(VICTIMS[victim](sandbox), signal.SIGKILL)
                await expect(process.wait)
                await expect(sandbox.counters)
                await expect(sandbox.wait_exit)

    with pytest.raises(SandboxError, match="SIGKILL"):
        await live()
    assert len(caught) >= 3
    assert all("was killed by SIGKILL" in str(error) for error in caught)


async def test_a_stopped_first_process_is_ended_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("netlab.sandbox.sandbox.END_PATIENCE", 0.2)
    with ExitStack() as stack:
        async with open_sandbox(PLAN) as sandbox:
            await populate(sandbox)
            namespaces = [stack.enter_context(watch(sandbox.pid))]
            os.kill(sandbox.pid, signal.SIGSTOP)
            with trio.move_on_after(0.1) as scope:
                await sandbox.counters()
            assert scope.cancelled_caught
        await namespaces[0].wait_gone()


async def test_a_child_that_is_killed_ends_alone() -> None:
    async with open_sandbox(PLAN) as sandbox:
        process = await sandbox.launch(["sleep", "600"], descriptors={}, taps={3: "wire.0"})
        os.kill(process.pid, signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        # Its port is still there.
        await sandbox.verify_wiring()


async def test_terminal_signals_do_not_end_the_sandbox() -> None:
    async with open_sandbox(PLAN) as sandbox:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGIO):
            os.kill(sandbox.pid, number)
            await sandbox.counters()


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        async with open_sandbox(PLAN):
            raise error
    assert caught.value is error
    group = ExceptionGroup("mine", [ValueError(), KeyError()])
    with pytest.raises(ExceptionGroup) as caught_group:
        async with open_sandbox(PLAN):
            raise group
    assert caught_group.value.exceptions == group.exceptions


async def test_an_error_that_the_death_caused_is_its_context() -> None:
    consequence = RuntimeError("the machine is gone")

    async def live() -> None:
        async with open_sandbox(PLAN) as sandbox:
            os.kill(sandbox.pid, signal.SIGKILL)
            try:
                await sandbox.wait_exit()
            finally:
                raise consequence

    with pytest.raises(SandboxError, match="SIGKILL") as caught:
        await live()
    assert caught.value.__cause__ is consequence


async def test_a_cancelled_block_leaves_nothing() -> None:
    with ExitStack() as stack:
        namespaces: list[Namespace] = []
        with trio.CancelScope() as scope:
            async with open_sandbox(PLAN) as sandbox:
                await populate(sandbox)
                namespaces.append(stack.enter_context(watch(sandbox.pid)))
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert namespaces[0].processes() == []


async def test_opening_can_be_cancelled_at_any_moment() -> None:
    """Moments are drawn over what opening takes, so that each step of it is hit in time."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    plan = [segment(f"s{number}", 20) for number in range(10)]
    before = children(os.getpid())
    opened = 0
    for _ in range(12):
        with trio.move_on_after(chance.uniform(0, 0.3)):
            async with open_sandbox(plan):
                opened += 1
        assert children(os.getpid()) == before
    assert opened < 12


OWNER = """
import sys, trio
sys.path += sys.argv[2:]
from netlab.sandbox.sandbox import open_sandbox
from tests.sandbox.conftest import segment
from tests.sandbox.test_end import populate

async def main():
    plan = [segment("wire"), segment("lan", 3), *(segment(f"s{n}", 20) for n in range(5))]
    async with open_sandbox(plan) as sandbox:
        print(sandbox.pid, flush=True)
        await populate(sandbox)
        print("ready", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def start_owner(program: str) -> subprocess.Popen[str]:
    roots = [str(Path(__file__).parents[2]), *filter(None, sys.path)]
    command = [sys.executable, "-c", program, "owner", *roots]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("moment", ["busy", "ready"])
async def test_kill_of_the_owner_ends_everything(moment: str) -> None:
    with start_owner(OWNER) as owner:
        assert owner.stdout is not None
        with watch(int(owner.stdout.readline())) as namespace:
            if moment == "ready":
                assert owner.stdout.readline() == "ready\n"
            owner.kill()
            await namespace.wait_gone()


async def test_kill_of_the_owner_while_links_are_made_ends_everything() -> None:
    """The first process hears of it by a signal: it reads no message while it works."""
    with start_owner(OWNER.replace("range(5)", "range(50)")) as owner:
        with watch(await find_first(owner.pid)) as namespace:
            owner.kill()
            await namespace.wait_gone()
        assert owner.stdout is not None
        assert owner.stdout.read() == ""


async def find_first(owner: int) -> int:
    """Return the first process of the sandbox that a process makes, as soon as it is there."""
    with trio.fail_after(SOON * 2):
        while True:
            await trio.lowlevel.checkpoint()
            for unshare in children(owner):
                for first in children(unshare):
                    if b"netlab" in command_line(first):
                        return first


async def test_kill_before_the_links_are_made_is_told_as_such() -> None:
    plan = [segment(f"s{number}", 20) for number in range(20)]

    caught: list[SandboxError] = []

    async def live() -> None:
        try:
            async with open_sandbox(plan):
                await trio.sleep_forever()
        except SandboxError as error:
            caught.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live)
        os.kill(await find_first(os.getpid()), signal.SIGKILL)
    assert "was killed by SIGKILL before the sandbox was ready" in str(caught[0])


async def test_what_the_first_process_says_when_it_fails_is_evidence_and_logged() -> None:
    """A message that it does not know is a fault of ours: it says where, and ends."""
    log = os.memfd_create("log")
    try:

        async def live() -> None:
            async with open_sandbox(PLAN, log=log) as sandbox:
                await sandbox._connection.request("nonsense")

        with pytest.raises(SandboxError, match="exited with status 1, and everything") as caught:
            await live()
        assert "KeyError: 'nonsense'" in (caught.value.evidence or "")
        assert b"KeyError: 'nonsense'" in os.pread(log, 100_000, 0)
    finally:
        os.close(log)


async def test_an_abandoned_capture_is_closed() -> None:
    async with open_sandbox(PLAN) as sandbox:
        before = count_descriptors()
        for _ in range(5):
            await abandon(sandbox, partial(sandbox.open_capture, "wire.0"))
        await sandbox.counters()
        await trio.testing.wait_all_tasks_blocked()
        assert count_descriptors() == before


async def test_a_process_that_ignores_everything_is_gone_soon() -> None:
    async with open_sandbox([]) as sandbox:
        await populate_stubborn(sandbox)
        started = trio.current_time()
    assert trio.current_time() - started < SOON


async def populate_stubborn(sandbox: Sandbox) -> None:
    ours, theirs = socket.socketpair()
    code = STUBBORN.replace("time.sleep", "import os; os.write(3, b'.'); time.sleep")
    with ours, theirs:
        await sandbox.launch(python(code), descriptors={3: theirs.fileno()})
        await trio.lowlevel.wait_readable(ours)
