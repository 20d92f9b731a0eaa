"""Disks held at one moment: what is read of them, and that nothing of it stays."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import trio

from netlab import open_lab, resolve
from netlab.errors import MachineError, QMPCommandError, UnknownNameError
from netlab.lab.lab import Lab
from netlab.lab.node import Node
from netlab.machine.cut import MachineCut, open_cut
from netlab.plan.files import anchor
from netlab.plan.model import Plan
from netlab.process import run
from netlab.topology.load import load
from tests.conftest import STUCK_AGENT

pytestmark = pytest.mark.machines

# micro with a file system on a disk, in place of systems that take much longer to boot.
TEXT = """\
name: held
groups:
  system:
    disks: [{file: system.raw, format: raw}]
    run: [mount /dev/vda /root]
nodes:
  'disk[1-2]': {id: 1, groups: system}
  memory: {id: 3}
links: [{endpoints: [disk1, disk2, memory], subnet: 10.9.0.0/24}]
"""
SIZE = 30 << 20


async def test_the_disks_of_several_nodes_are_held_at_one_moment(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_lab(await write_plan(tmp_path)) as lab:
        await lab.wait_ready()
        before = {name: await list_leftovers(node) for name, node in lab.nodes.items()}
        await check_moment(lab, tmp_path)
        await check_programs_go_on(lab)
        await check_two_at_once(lab)
        await check_a_paused_node(lab)
        await check_a_stuck_agent(lab, monkeypatch)
        await check_failures(lab)
        await check_a_cancelled_reader(lab)
        await check_without_room(lab, small, tmp_path / "disk.raw")
        assert {name: await list_leftovers(node) for name, node in lab.nodes.items()} == before
        await check_a_death(lab)


async def write_plan(folder: Path) -> Plan:
    await trio.Path(folder / "held.yaml").write_text(TEXT)
    await run(("mke2fs", "-q", "-t", "ext4", str(folder / "system.raw"), "128M"))
    return anchor(resolve(load(folder / "held.yaml")), str(folder))


async def shell(node: Node, script: str) -> str:
    result = await node.execute(("/bin/sh", "-c", script))
    assert result.status == 0, result
    return result.stdout.decode()


async def list_leftovers(node: Node) -> object:
    """Return what a cut could leave behind: block nodes, exports, jobs, files."""
    queries = ("query-block-exports", "query-jobs", "query-block-jobs")
    blocks = await node.qmp("query-named-block-nodes", flat=True)
    names = sorted(block["node-name"] for block in cast("list[dict[str, str]]", blocks))
    files = sorted(path.name for path in node.machine.folder.iterdir())
    frozen = await shell(node, "[ ! -d /sys/fs/ext4 ] || { touch /root/frozen-not; sync; }")
    return names, [await node.qmp(query) for query in queries], files, frozen


async def read_disk(cut: MachineCut, target: Path) -> bytes:
    """Copy the held disk, and return what is in a file on it."""
    source = f"nbd+unix:///{cut.disks[0].name}?socket={cut.socket}"
    await run(("qemu-img", "convert", "-f", "raw", "-O", "raw", source, str(target)))
    return (await run(("debugfs", "-R", "cat /word", str(target)))).stdout


async def check_moment(lab: Lab, folder: Path) -> None:
    """What is written before the moment is there, what comes after it is not, even over it."""
    nodes = [lab["disk1"], lab["disk2"]]
    for node in nodes:
        await shell(node, "echo before >/root/word")
    async with lab.open_cut(["disk1", "disk2", "memory"]) as cut:
        assert [one.node for one in cut.machines] == ["disk1", "disk2", "memory"]
        assert [one.frozen for one in cut.machines] == [1, 1, 0]
        assert [len(one.disks) for one in cut.machines] == [1, 1, 0]
        for node in nodes:
            await shell(node, "echo after >/root/word; sync")
            await shell(node, f"head -c {SIZE} /dev/urandom >/root/large; sync; rm /root/large")
        for one in cut.machines[:2]:
            assert await read_disk(one, folder / "disk.raw") == b"before\n"
    assert await shell(nodes[0], "cat /root/word") == "after\n"


async def check_programs_go_on(lab: Lab) -> None:
    """What runs in a guest while its file systems are frozen is waited for, and ends as it would.

    An agent refuses to say how programs are while they are.
    """
    told: list[str] = []

    async def run() -> None:
        told.append(await shell(lab["disk1"], "sleep 1; echo ended"))

    async with trio.open_nursery() as programs:
        for _ in range(4):
            programs.start_soon(run)
        while not told:
            async with lab.open_cut(["disk1"]) as cut:
                assert cut.machines[0].frozen == 1
    assert told == ["ended\n"] * 4


async def check_two_at_once(lab: Lab) -> None:
    async with lab.open_cut(["disk1"]):
        with pytest.raises(MachineError, match="held by somebody else"):
            async with lab.open_cut(["disk2", "disk1"]):
                pass
        # And the other one was let go.
        async with lab.open_cut(["disk2"]):
            pass


async def check_a_paused_node(lab: Lab) -> None:
    """A node that stood still before stands still after."""
    node = lab["memory"]
    await node.pause()
    async with lab.open_cut(["memory", "disk1"]):
        status = await node.qmp("query-status")
        assert isinstance(status, dict)
        assert not status["running"]
    await node.resume()
    await shell(node, "true")


async def check_a_stuck_agent(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that freezes when everybody has given up on it thaws as well."""
    node = lab["disk1"]
    monkeypatch.setattr("netlab.machine.cut.FREEZE_LIMIT", 3)
    monkeypatch.setattr("netlab.machine.cut.CLEAN_UP_LIMIT", 3)
    name = node.plan.interfaces[0].name
    await shell(node, f"({STUCK_AGENT.format(interface=name)}) >/dev/null 2>&1 </dev/null &")
    await node.set_link(name, up=False)
    await node.wait_console_text("agent stands still", since=0)
    async with lab.open_cut(["disk1", "disk2"]) as cut:
        assert [one.frozen for one in cut.machines] == [0, 1]
    await node.set_link(name, up=True)
    monkeypatch.undo()
    await shell(node, "touch /root/thawed; sync")


async def check_failures(lab: Lab) -> None:
    with pytest.raises(UnknownNameError):
        async with lab.open_cut(["disk1", "nobody"]):
            pass
    with pytest.raises(ZeroDivisionError):
        async with lab.open_cut(["disk1"]):
            raise ZeroDivisionError
    # What QEMU refuses halfway is undone: a node of that name is in the way here.
    node = lab["disk2"]
    occupied = {"driver": "null-co", "node-name": "cut-access-disk0", "read-zeroes": True}
    await node.qmp("blockdev-add", **occupied)
    with pytest.raises(QMPCommandError):
        async with lab.open_cut(["disk1", "disk2"]):
            pass
    await node.qmp("blockdev-del", **{"node-name": "cut-access-disk0"})
    await shell(node, "touch /root/written; sync")


async def check_a_cancelled_reader(lab: Lab) -> None:
    with trio.move_on_after(0.5) as scope:
        async with lab.open_cut(["disk1", "disk2"]):
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def check_without_room(lab: Lab, small: Path, target: Path) -> None:
    """When what is written over finds no room, reading fails and the guest does not notice."""
    node = lab["disk1"]
    await shell(node, f"head -c {SIZE} /dev/urandom >/root/large; sync")
    async with open_cut([node.machine], [small]) as cut:
        await shell(node, f"head -c {SIZE} /dev/zero 1<>/root/large; sync")
        one = cut.machines[0]
        source = f"nbd+unix:///{one.disks[0].name}?socket={one.socket}"
        words = ("qemu-img", "convert", "-O", "raw", source, str(target))
        assert (await run(words, check=False)).status != 0
    await shell(node, "rm /root/large; sync")


async def check_a_death(lab: Lab) -> None:
    """A machine that dies meanwhile takes nothing else with it."""
    async with lab.open_cut(["disk1", "disk2"]):
        await lab["disk2"].crash()
    await shell(lab["disk1"], "touch /root/written; sync")
