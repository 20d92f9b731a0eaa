"""Real machines: few boots, many questions."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from netlab.errors import (
    AgentCommandError,
    AgentError,
    GuestError,
    LaunchError,
    MachineDiedError,
    MachineError,
    QMPCommandError,
    UnknownNameError,
)
from netlab.machine.boot import Boot
from netlab.machine.console import ATTACHMENT_LIMIT
from netlab.machine.identity import apply_identity
from netlab.machine.machine import Machine, open_machine
from netlab.plan.model import FilePlan, HostPlan, InterfacePlan, NodePlan, RoutePlan
from netlab.scopes import open_background

pytestmark = pytest.mark.machines

READY_LIMIT = 90
MakeNode = Callable[..., NodePlan]
MakeInterface = Callable[..., InterfacePlan]


async def check_programs(machine: Machine) -> None:
    result = await machine.agent.execute("echo out; echo err >&2; exit 3")
    assert (result.status, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
    assert (await machine.agent.execute("kill -9 $$")).status == -signal.SIGKILL
    result = await machine.agent.execute(
        ["sh", "-c", 'echo "$A"; cat'], stdin=b"\xff\0in", environment={"A": "1 '2'"}
    )
    assert result.stdout == b"1 '2'\n\xff\0in"
    with pytest.raises(AgentCommandError, match="No such file"):
        await machine.agent.execute(["/no/such/program"])


async def check_a_hundred_at_once(machine: Machine) -> None:
    outputs: dict[int, bytes] = {}

    async def ask(index: int) -> None:
        result = await machine.agent.execute(f"echo {index}; exit {index}")
        assert result.status == index
        outputs[index] = result.stdout

    async with trio.open_nursery() as nursery:
        for index in range(100):
            nursery.start_soon(ask, index)
    assert outputs == {index: b"%d\n" % index for index in range(100)}


async def check_cancelled_programs(machine: Machine) -> None:
    async def wait_for(number: bytes) -> None:
        # The kernel's own list; the pattern is not found by itself.
        with trio.fail_after(20):
            while (await machine.agent.execute("ps | grep -c 'sleep 777[78]$'")).stdout != number:
                await trio.lowlevel.checkpoint()

    async with open_background() as nursery:
        nursery.start_soon(machine.agent.execute, "sleep 7777 & sleep 7778; echo")
        await wait_for(b"2\n")
    await wait_for(b"0\n")

    content = os.urandom(1 << 20)
    with trio.move_on_after(0.2) as scope:
        await machine.agent.write_file("/tmp/cut", content)
    assert scope.cancelled_caught
    assert (await machine.agent.execute("echo fine")).stdout == b"fine\n"


async def check_large_files(machine: Machine) -> None:
    content = os.urandom(8 << 20)
    await machine.agent.write_file("/tmp/large", content)
    assert await machine.agent.read_file("/tmp/large") == content
    result = await machine.agent.execute(["cat", "/tmp/large"])
    assert result.stdout == content
    with pytest.raises(AgentCommandError, match="No such file"):
        await machine.agent.read_file("/tmp/none")


async def check_left_behind_children(machine: Machine) -> None:
    with trio.fail_after(30), pytest.raises(AgentError, match="keeps its output open"):
        await machine.agent.execute("sleep 40 & exit 0")


async def check_pause(machine: Machine) -> None:
    with machine.qmp.events("STOP", "RESUME") as events:
        await machine.pause()
        assert (await events.wait()).name == "STOP"
        with trio.move_on_after(0.5) as scope:
            await machine.agent.execute(["true"])
        assert scope.cancelled_caught
        assert machine.status_reason() == "the machine is paused"
        await machine.resume()
        assert (await events.wait()).name == "RESUME"
    assert (await machine.agent.execute(["true"])).status == 0
    with pytest.raises(QMPCommandError, match="has not been found"):
        await machine.qmp.execute("no-such-command")


async def check_console(machine: Machine) -> None:
    async with machine.console.attach() as stalled, machine.console.attach() as lively:
        await lively.send(b"\r")
        flood = f"head -c {ATTACHMENT_LIMIT * 2} /dev/zero | tr '\\0' x >/dev/console; echo"

        async def read() -> None:
            async for _ in lively:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            assert (await machine.agent.execute(flood)).status == 0
            await machine.agent.execute("echo finished >/dev/console")
            await machine.console.wait_for_text("finished")
            nursery.cancel_scope.cancel()
        assert stalled.dropped
        assert not lively.dropped
    assert b"netlab: init" in (machine.folder / "console.log").read_bytes()


async def test_one_machine_does_everything_that_is_asked(
    make_node: MakeNode, boot: Boot, launcher: Any, tmp_path: Path
) -> None:
    # An agent holds 8 MiB of output four times over, and 128 MiB have hardly room for that.
    node = make_node(memory=192)
    async with open_machine(
        node, boot, accel="tcg", launcher=launcher, folder=tmp_path / "r1"
    ) as machine:
        assert machine.exit is None
        assert "agent silent for 0 s" in machine.status_reason()
        with trio.fail_after(READY_LIMIT):
            await machine.wait_ready()
        assert machine.status_reason() == ""
        await check_programs(machine)
        await check_a_hundred_at_once(machine)
        await check_cancelled_programs(machine)
        await check_large_files(machine)
        await check_left_behind_children(machine)
        await check_pause(machine)
        await check_console(machine)
        status = await machine.shutdown(grace=10)
        assert status == machine.exit == 0
        with pytest.raises(MachineDiedError):
            await machine.agent.execute(["true"])
    assert launcher.started[0].status == 0


def make_swapped(make_node: MakeNode, make_interface: MakeInterface) -> NodePlan:
    """Three interfaces whose names are the kernel's own, in another order."""
    return make_node(
        name="fw",
        interfaces=(
            make_interface(0, "eth1", addresses=("192.168.1.1/24", "2001:db8:1::1/64")),
            make_interface(1, "eth0", mtu=9000, addresses=("10.0.0.0/31",)),
            make_interface(2, "it's$x", addresses=("192.168.3.254/24",)),
        ),
        loopback=("10.255.0.1/32", "2001:db8:ff::1/128"),
        routes=(
            RoutePlan(to="default", via="192.168.1.254", interface=None),
            RoutePlan(to="default", via="2001:db8:1::9", interface=None),
            RoutePlan(to="2001:db8:9::/48", via="2001:db8:1::9", interface="eth1"),
            RoutePlan(to="10.9.0.0/16", via=None, interface="it's$x"),
        ),
        files=(
            FilePlan(path="/etc/a b/'c'.conf", content="ä\n", encoding="utf-8", mode=0o600),
            FilePlan(path="/etc/raw", content="/wA=", encoding="base64", mode=0o755),
        ),
        run=("(sleep 500; echo) & echo started", "test -x /etc/raw"),
    )


async def test_a_guest_becomes_its_node_and_says_when_it_cannot(
    make_node: MakeNode, make_interface: MakeInterface, boot: Boot, launcher: Any, tmp_path: Path
) -> None:
    node = make_swapped(make_node, make_interface)
    hosts = (HostPlan(name="r9", addresses=("192.168.1.9",)),)
    async with open_machine(node, boot, accel="tcg", launcher=launcher, folder=tmp_path) as machine:
        with trio.fail_after(READY_LIMIT):
            await machine.wait_ready()
            # A daemon in `run` that goes into the background holds nothing up.
            await apply_identity(machine.agent, node, hosts)
            await apply_identity(machine.agent, node, hosts)
        links = json.loads((await machine.agent.execute(["ip", "-j", "link"])).stdout)
        names = {link["address"]: link["ifname"] for link in links if link["ifname"] != "lo"}
        assert [names[interface.mac] for interface in node.interfaces] == [
            "eth1",
            "eth0",
            "it's$x",
        ]
        assert (await machine.agent.execute("hostname")).stdout == b"fw\n"
        assert b"192.168.1.9 r9" in await machine.agent.read_file("/etc/hosts")
        assert await machine.agent.read_file("/etc/a b/'c'.conf") == "ä\n".encode()
        assert await machine.agent.read_file("/etc/raw") == b"\xff\0"
        stat = await machine.agent.execute(["stat", "-c", "%a", "/etc/a b/'c'.conf"])
        assert stat.stdout == b"600\n"

        await machine.set_link("it's$x", up=False)
        carrier = ["cat", "/sys/class/net/it's$x/carrier"]
        assert (await machine.agent.execute(carrier)).stdout == b"0\n"
        await machine.set_link("it's$x", up=True)
        with pytest.raises(UnknownNameError, match="fw has no interface 'eth7'"):
            await machine.set_link("eth7", up=False)

        absent = replace(node.interfaces[0], name="wan", mac="52:54:00:00:00:99")
        with pytest.raises(GuestError, match="wan: no interface has the MAC 52:54:00:00:00:99"):
            await apply_identity(machine.agent, replace(node, interfaces=(absent,)), hosts)
        with pytest.raises(
            GuestError, match=r"run\[0\] \(echo why; exit 4\) exited with status 4"
        ) as caught:
            await apply_identity(machine.agent, replace(node, run=("echo why; exit 4",)), hosts)
        assert caught.value.evidence == "why"


async def test_a_death_ends_what_waits_and_another_machine_lives_on(
    make_node: MakeNode, boot: Boot, launcher: Any, tmp_path: Path
) -> None:
    async with (
        open_machine(
            make_node(name="a"), boot, accel="tcg", launcher=launcher, folder=tmp_path / "a"
        ) as first,
        open_machine(
            make_node(name="b"), boot, accel="tcg", launcher=launcher, folder=tmp_path / "b"
        ) as second,
    ):
        with trio.fail_after(READY_LIMIT):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first.wait_ready)
                nursery.start_soon(second.wait_ready)
        messages: list[str] = []

        async def expect_death(call: Callable[[], Any]) -> None:
            with pytest.raises(MachineDiedError, match="a: QEMU was killed by SIGKILL") as caught:
                await call()
            messages.append(str(caught.value.evidence))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(expect_death, lambda: first.agent.execute("sleep 100"))
                nursery.start_soon(expect_death, lambda: first.agent.execute("sleep 101"))
                nursery.start_soon(expect_death, lambda: _wait_for_ever(first))
                assert (await first.agent.execute(["true"])).status == 0
                os.kill(first.pid, signal.SIGKILL)
                assert await first.wait_exit() == -signal.SIGKILL
        assert len(messages) == 3
        assert all("-name guest=a" in message for message in messages)
        assert first.status_reason() == "a: QEMU was killed by SIGKILL"
        assert (await second.agent.execute(["hostname"])).status == 0
        assert await first.shutdown() == -signal.SIGKILL

        panic = "echo c >/proc/sysrq-trigger"
        with (
            trio.fail_after(20),
            pytest.raises(MachineError, match="b: the guest's kernel panicked"),
        ):
            await second.agent.execute(panic)
        assert "sysrq triggered crash" in second.status_reason()
    assert [process.status for process in launcher.started] == [-signal.SIGKILL, 0]


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


async def _wait_for_ever(machine: Machine) -> None:
    while True:
        await machine.qmp.execute("query-status")


async def test_a_deadline_that_is_hit_finds_the_reasons_ready(
    make_node: MakeNode, boot: Boot, launcher: Any, tmp_path: Path
) -> None:
    deaf = replace(boot, append=f"{boot.append} rdinit=/no/such/init")
    async with open_machine(
        make_node(), deaf, accel="tcg", launcher=launcher, folder=tmp_path
    ) as machine:
        with pytest.raises(trio.TooSlowError), trio.fail_after(0.2):
            await machine.wait_ready()
        assert machine.status_reason().startswith("agent silent for 0 s, ")
        with (
            trio.fail_after(READY_LIMIT),
            pytest.raises(MachineError, match="kernel panicked: No working init found") as caught,
        ):
            await machine.wait_ready()
        assert "Kernel panic" in str(caught.value.evidence)


async def test_a_qemu_that_does_not_start_shows_its_command_and_words(
    make_node: MakeNode, launcher: Any, tmp_path: Path
) -> None:
    with pytest.raises(LaunchError, match=r"r1: QEMU did not start: .*/no/such/kernel") as caught:
        async with open_machine(
            make_node(),
            Boot(kernel="/no/such/kernel"),
            accel="tcg",
            launcher=launcher,
            folder=tmp_path,
        ):
            pytest.fail("it started")
    evidence = str(caught.value.evidence)
    assert "qemu-system-x86_64 -name guest=r1" in evidence
    assert "No such file" in evidence


async def test_leaving_the_scope_closes_every_descriptor(
    make_node: MakeNode, boot: Boot, launcher: Any, tmp_path: Path
) -> None:
    before = descriptors()
    with trio.move_on_after(0.3) as scope:
        async with open_machine(
            make_node(), boot, accel="tcg", launcher=launcher, folder=tmp_path
        ) as machine:
            await machine.wait_ready()
    assert scope.cancelled_caught
    assert [process.status for process in launcher.started] == [0]
    assert descriptors() == before


async def test_many_interfaces_are_all_there_for_the_guest(
    make_node: MakeNode, make_interface: MakeInterface, boot: Boot, launcher: Any, tmp_path: Path
) -> None:
    # More than a processor has interrupt vectors for.
    interfaces = tuple(make_interface(i, f"port{i}") for i in range(80))
    node = make_node(interfaces=interfaces, memory=160)
    async with open_machine(node, boot, accel="tcg", launcher=launcher, folder=tmp_path) as machine:
        with trio.fail_after(READY_LIMIT):
            await machine.wait_ready()
            await apply_identity(machine.agent, node, ())
