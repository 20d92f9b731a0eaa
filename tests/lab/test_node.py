"""What becomes of one node while its lab goes on."""

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from netlab import open_lab, resolve
from netlab.errors import MachineDiedError, MachineError, NotReadyError
from netlab.lab.node import Node
from netlab.lab.options import Options
from netlab.topology.load import loads

pytestmark = pytest.mark.machines

LIMIT = 120
HANGS = """\
name: two
nodes:
  a: {id: 1, image: none, arch: x86_64, boot: network, vlans: 7}
  b: {id: 2}
"""
TEXT = "name: one\nnodes: {a: {id: 1, vlans: 7}}\n"


@asynccontextmanager
async def open_node() -> AsyncGenerator[Node]:
    async with open_lab(resolve(loads(TEXT))) as lab:
        with trio.fail_after(LIMIT):
            await lab["a"].wait_ready()
            yield lab["a"]


async def read_boot_id(node: Node) -> bytes:
    return (await node.execute(["cat", "/proc/sys/kernel/random/boot_id"])).stdout


async def check_identity(node: Node) -> None:
    assert (await node.execute(["hostname"])).stdout == b"a\n"
    shown = (await node.execute(["ip", "-br", "address", "show", "eth1"])).stdout
    assert b"192.168.7.1/24" in shown


async def test_a_node_is_shut_down_and_started_again_as_itself() -> None:
    async with open_node() as node:
        await node.shutdown()
        assert (node.state, node.reason(), node.pid) == ("stopped", "powered off", None)
        with pytest.raises(NotReadyError, match="a is stopped: powered off"):
            await node.execute(["true"])
        await node.shutdown()
        await node.start()
        await node.wait_ready()
        await check_identity(node)
        await node.start()
        assert node.state == "ready"


async def test_a_guest_that_boots_again_is_made_itself_again() -> None:
    async with open_node() as node:
        first = await read_boot_id(node)
        await node.reboot()
        await node.wait_ready()
        second = await read_boot_id(node)
        assert second != first
        await check_identity(node)
        # By itself, and unasked.
        before = node.machine.resets
        await node.machine.agent.execute("reboot >/dev/null 2>&1 &")
        await node.machine.wait_reset(before)
        await node.wait_ready()
        assert await read_boot_id(node) not in {first, second}
        await check_identity(node)


def kill(node: Node) -> None:
    assert node.pid is not None
    os.kill(node.pid, signal.SIGKILL)


async def test_a_power_cut_a_killed_qemu_and_a_shutdown_given_up_are_told_apart() -> None:
    async with open_node() as node:
        await node.crash()
        assert (node.state, node.reason()) == ("stopped", "crashed, as asked")
        await node.start()
        await node.wait_ready()
        kill(node)
        with pytest.raises(MachineDiedError, match="killed by SIGKILL"):
            await node.machine.agent.execute("sleep 100")
        await node.start()
        await node.wait_ready()
        await check_identity(node)
        # A guest that stands still hears nobody; who asked has gone when its QEMU dies.
        await node.pause()
        with trio.move_on_after(0.2):
            await node.shutdown()
        kill(node)
        with pytest.raises(MachineDiedError, match="killed by SIGKILL"):
            await node.machine.wait_ready()
        while node.state == "ready":
            await trio.lowlevel.checkpoint()
        assert (node.state, node.error is None) == ("failed", False)


async def test_a_power_cut_does_not_wait_for_a_qemu_that_stands_still() -> None:
    async with open_node() as node:
        assert node.pid is not None
        os.kill(node.pid, signal.SIGSTOP)
        # Given up meanwhile, it is one all the same.
        with trio.fail_after(30), trio.move_on_after(0.2):
            await node.crash()
        while node.state == "ready":
            await trio.lowlevel.checkpoint()
        assert (node.state, node.reason()) == ("stopped", "crashed, as asked")


async def test_a_guest_that_powers_itself_off_is_stopped() -> None:
    async with open_node() as node:
        # It may be off before its agent has answered.
        with suppress(MachineError):
            await node.machine.agent.execute("poweroff >/dev/null 2>&1 &")
        await node.machine.wait_exit()
        while node.state == "ready":
            await trio.lowlevel.checkpoint()
        assert (node.state, node.reason()) == ("stopped", "powered off")


async def test_a_node_that_never_comes_up_keeps_none_from_booting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("netlab.lab.slots.SLOT_LIMIT", 1.0)
    async with open_lab(resolve(loads(HANGS)), options=Options(max_workers=1)) as lab:
        with trio.fail_after(LIMIT):
            await lab["b"].wait_ready()
        assert lab["a"].state == "booting"
