"""What is proved on two guests and what is between them; its last rows end them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import trio

from netlab import open_lab, resolve
from netlab.errors import (
    CheckError,
    HostError,
    MachineDiedError,
    MachineError,
    NetlabError,
    NotReadyError,
)
from netlab.lab.folders import LabFolders
from netlab.scopes import open_tasks
from netlab.testing import LabDriver
from netlab.topology.load import loads
from tests.testing.conftest import LIMIT, live
from tests.testing.traps.trap import Trap, kill, run, told

TOPOLOGY = "name: pair\nnodes: {a: {id: 1, vlans: 5}, b: {id: 2, vlans: 5}}\nlinks: ['a -- b']\n"


async def cables(lab: LabDriver, _folder: Path) -> None:
    first, second = (each.name for each in lab["a"].node.plan.interfaces)
    await lab["a"].block(first)
    assert not (await lab["a"].interface(first).guest()).carrier
    assert (await lab["a"].interface(second).guest()).carrier
    await lab["a"].unblock(first)
    await lab.assert_reachable("a", "b")


async def impairments(lab: LabDriver, _folder: Path) -> None:
    async with lab.link("a:eth2", "b").down(), lab.vlan(5).down():
        with told(CheckError, "a does not reach b"):
            await lab.assert_reachable("a", "b")
    names = " ".join(each.name for each in lab["a"].node.plan.interfaces)
    await lab["a"].succeed(f"for i in {names}; do tc qdisc add dev $i root netem loss 100%; done")
    with told(CheckError, "a does not reach b"):
        await lab.assert_reachable("a", "b")
    await lab["a"].succeed(f"for i in {names}; do tc qdisc del dev $i root; done")
    # What asked for the neighbour's address in vain asks again a second later (RFC 4861, 10).
    await lab["a"].wait_until_succeeds("ping -c1 -W1 b")


async def tags(lab: LabDriver, _folder: Path) -> None:
    for number, node in enumerate(lab, 1):
        name = node.node.plan.interfaces[-1].name
        await node.succeed(
            f"ip link add link {name} name tagged type vlan id 9 &&"
            f" ip address add 10.99.0.{number}/24 dev tagged && ip link set tagged up"
        )
    await lab["a"].wait_until_succeeds("ping -c1 -W1 10.99.0.2")
    for node in lab:
        await node.succeed("ip link delete tagged")


async def captures(lab: LabDriver, folder: Path) -> None:
    async with lab.vlan(5).capture() as capture:
        await lab["a"].execute("arping -c1 -I eth1 192.168.5.2 || ping -c1 -W1 192.168.5.2")
    assert capture.frames
    written = capture.write(folder / "vlan.pcap")
    assert written.stat().st_size > sum(len(frame.data) for frame in capture.frames)


async def addressing(lab: LabDriver, _folder: Path) -> None:
    alone = resolve(loads(TOPOLOGY.replace("a: {id: 1, vlans: 5}, ", "").partition("links")[0]))
    (b,) = alone.nodes
    (kept,) = (each.addresses for each in b.interfaces)
    assert kept in [each.addresses for each in lab["b"].node.plan.interfaces]
    macs = [each.mac for node in lab for each in node.node.plan.interfaces]
    assert len(set(macs)) == len(macs) == 4
    for interface in lab["b"].node.plan.interfaces:
        seen = await lab["b"].interface(interface.name).guest()
        assert seen.mac == interface.mac
        assert set(interface.addresses) <= set(seen.addresses)


async def long_paths(lab: LabDriver, folder: Path) -> None:
    """Only the control socket has a path at all: where the rest lies does not matter."""
    deep = folder / ("x" * 200) / ("y" * 200)
    await trio.Path(deep).mkdir(parents=True)
    with told(HostError, "longer than a socket's path may be.*shorter lab name"):
        LabFolders("pair", deep / "run", deep / "state").make()
    assert list(deep.iterdir()) == []
    plan = resolve(loads("name: deep\nnodes: {a: {id: 1, disks: {size: 1 MiB}}}\n"))
    async with open_lab(plan, folder=deep) as opened:
        await opened.wait_ready()
        other = LabDriver(opened, timeout=LIMIT)
        await other["a"].copy_from("/etc/hostname", deep / "copy")
        async with lab.vlan(5).capture() as capture:
            await lab["a"].succeed("ping -c1 192.168.5.2")
        capture.write(deep / "vlan.pcap")
    assert (deep / "copy").read_text() == "a\n"
    assert (deep / "vlan.pcap").stat().st_size > 0


async def same_names(lab: LabDriver, folder: Path) -> None:
    for node in lab:
        await node.succeed(f"mkdir /root/logs; echo {node.name} >/root/logs/log")
        await node.copy_from("/root/logs", folder / f"logs-{node.name}")
        await node.copy_from("/root/logs/log", folder / f"log-{node.name}")
        await node.copy_from("/root/logs/log", folder / f"log-{node.name}")
    assert (folder / "logs-a/log").read_text() == (folder / "log-a").read_text() == "a\n"
    assert (folder / "logs-b/log").read_text() == (folder / "log-b").read_text() == "b\n"
    with told(NetlabError, "there is a folder already"):
        await lab["b"].copy_from("/root/logs", folder / "logs-a")


async def side_channel(lab: LabDriver, _folder: Path) -> None:
    await lab["a"].succeed("mkdir -p /tmp/shared; touch /tmp/shared/from-a")
    assert await lab["b"].succeed("find / -xdev -name from-a") == ""
    assert await lab["b"].succeed("grep -E ' (9p|virtiofs) ' /proc/mounts || exit 0") == ""


async def size_of_a_copy(lab: LabDriver, folder: Path) -> None:
    data = os.urandom(3 << 20)
    await trio.Path(folder / "big").write_bytes(data)
    text = f"a.copy_from_host_via_shell({str(folder / 'big')!r}, '/root/big')"
    assert str(await run(lab, text)).startswith("passed")
    shown = await lab["a"].succeed("sha256sum /root/big")
    assert shown.split()[0] == hashlib.sha256(data).hexdigest()


# Machines that end, the last rows of the pair.


async def death_in_a_command(lab: LabDriver, _folder: Path) -> None:
    async def kill_it() -> None:
        await lab["a"].wait_for_console_text("began")
        await kill(lab, "a")

    async with open_tasks() as tasks:
        tasks.start_soon(kill_it)
        with told(MachineDiedError, r"a: QEMU was killed by SIGKILL(.|\n)*qemu-system"):
            await lab["a"].succeed("echo began >/dev/console; sleep 53")


async def death_in_a_console_wait(lab: LabDriver, _folder: Path) -> None:
    async with open_tasks() as tasks:
        tasks.start_soon(kill, lab, "b")
        with told(MachineDiedError, "b: QEMU was killed by SIGKILL"):
            await lab["b"].wait_for_console_text("this never comes")


async def death_and_the_monitor(lab: LabDriver, _folder: Path) -> None:
    with told(MachineError, "b: QEMU was killed by SIGKILL"):
        await lab["b"].qmp("query-status")
    result = await run(lab, "b.wait_for_qmp_event(lambda event: False)")
    assert result.failure is not None
    assert isinstance(result.failure.error, MachineDiedError), str(result)


async def up_or_not(lab: LabDriver, _folder: Path) -> None:
    text = "assert not b.is_up()\nb.connect()\nassert b.is_up()\nb.crash()\nassert not b.is_up()"
    assert str(await run(lab, text)).startswith("passed")


async def stale_state(lab: LabDriver, _folder: Path) -> None:
    await lab["b"].start()
    await lab["b"].succeed("touch /root/mark /tmp/mark /etc/mark")
    await lab["b"].crash()
    await lab["b"].start()
    assert await lab["b"].succeed("find / -xdev -name mark") == ""


async def shutdown(lab: LabDriver, _folder: Path) -> None:
    """It has a limit: this guest cannot power off."""
    await lab["b"].pause()
    await live(lab["b"]).shutdown(grace=1)
    assert lab["b"].node.pid is None
    with told(NotReadyError, "b is stopped"):
        await lab["b"].succeed("true")


TRAPS = (
    Trap(
        name="pulling a cable",
        there="that of the second card, whichever it is",
        here="any by its name, or all; a link as a whole",
        proof=cables,
        covers=("cables",),
    ),
    Trap(
        name="links that are bad",
        there="no verb; `tc` in the guests",
        here="links go down and up; delay and loss are `tc` in the guests too (`micro` has it)",
        proof=impairments,
        covers=("no impairments",),
    ),
    Trap(
        name="tagged frames",
        there="lost in a VDE switch, unless it is a hub",
        here="carried by the kernel's bridge as they are",
        proof=tags,
        covers=("VDE",),
    ),
    Trap(
        name="captures",
        there="none, but for options smuggled to QEMU",
        here="`capture()` on every link and vlan",
        proof=captures,
        covers=("no pcap",),
    ),
    Trap(
        name="addresses",
        there="come from a node's rank: one node more changes the others'",
        here="come from a node's `id`; hardware addresses are unique on every link",
        proof=addressing,
        covers=("addressing",),
    ),
    Trap(
        name="long paths",
        there="of sockets are cut or refused by whoever meets them first",
        here="are refused before anything starts, with what to shorten",
        proof=long_paths,
        covers=("addressing",),
    ),
    Trap(
        name="files of one name from two machines",
        there="meet in one folder, and a folder cannot be copied twice",
        here="`copy_from` is told what they are called; a folder that is there is an error",
        proof=same_names,
        covers=("copy collisions",),
    ),
    Trap(
        name="a folder that all machines share",
        there="lets them see each other beside the network",
        here="does not exist; a node's `shares` are its own, and read-only",
        proof=side_channel,
        covers=("copy collisions",),
    ),
    Trap(
        name="a large file over the shell",
        there="is one argument, and too long",
        here="goes like any other, at any size",
        proof=size_of_a_copy,
        covers=("size of a copy",),
    ),
    Trap(
        name="QEMU dies in a command",
        there="a broken pipe, or a number that cannot be read; nobody says that QEMU has ended",
        here="an error at once, with QEMU's status, command line and last output",
        proof=death_in_a_command,
        covers=("death in a command", "dead QEMU"),
    ),
    Trap(
        name="QEMU dies while a console is waited for",
        there="the wait goes on for ever",
        here="the same error at once",
        proof=death_in_a_console_wait,
        covers=("console waits", "dead QEMU"),
    ),
    Trap(
        name="QEMU dies and its monitor is asked",
        there="the driver spins",
        here="the same error at once, also while an event is waited for",
        proof=death_and_the_monitor,
        covers=("dead QEMU",),
    ),
    Trap(
        name="whether a machine is up",
        there="is remembered, and not looked at",
        here="is so when it is ready, and not when it has ended",
        proof=up_or_not,
        covers=("is_up",),
    ),
    Trap(
        name="what an earlier run has left",
        there="may be used again",
        here="is not there: a machine that is started begins anew",
        proof=stale_state,
        covers=("iteration",),
    ),
    Trap(
        name="a guest that does not power off",
        there="is waited for without limit",
        here="its QEMU is ended after a while",
        proof=shutdown,
        covers=("shutdown",),
    ),
)
