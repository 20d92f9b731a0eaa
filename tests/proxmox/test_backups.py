"""Nodes exported, restored and started without netlab: the same files, names and addresses."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import trio

from netlab import resolve
from netlab.image.store import open_store
from netlab.lab.access import LabAccess, NodeAccess
from netlab.lab.folders import lab_folders
from netlab.lab.remote import open_remote
from netlab.plan.files import anchor
from netlab.proxmox.exporting import Request, export_nodes, export_plan
from netlab.testing import LabDriver
from netlab.topology.load import loads
from netlab.vma.compression import Compression
from tests.image.guest import Guest
from tests.lab.conftest import Home
from tests.proxmox.machines import restore, start

pytestmark = pytest.mark.machines

TEXT = """\
name: moved
nodes:
  system:
    image: debian
    firmware: uefi
    id: 1
    files: {/root/given: "from the file\\n"}
    run: [echo started >/run/started]
    routes: [10.77.0.0/16 via 10.0.0.1]
  memory:
    id: 2
    memory: 256
    files: {/root/given: "from the file\\n"}
    run: [echo started >/run/started]
links: [system -- memory]
"""
PLAN = resolve(loads(TEXT))
QUICK = Compression("zstd", 1)

HOST = "10.99.0.1 elsewhere"
"""A line that somebody adds in a guest."""

LIST = """
find /etc -type f -exec sha256sum '{}' +
ls -d /usr/lib/netlab /run/netlab* 2>&1 || true
"""

LOOK = "cat /root/given; cat /etc/hostname; ip -o -4 addr show eth1 | awk '{print $4}'"


async def test_nodes_of_a_lab_are_machines_on_proxmox(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, home.environment[variable])
    (tmp_path / "moved.yaml").write_text(TEXT)
    await trio.to_thread.run_sync(home.run, "up", str(tmp_path / "moved.yaml"))
    folder = tmp_path / "dump"
    async with open_remote(lab_folders("moved")) as lab:
        for node in lab.nodes.values():
            await shell(node, f"echo written later >/root/later; echo '{HOST}' >>/etc/hosts; sync")
        before = [await shell(node, LIST) for node in lab.nodes.values()]
        export = await LabDriver(lab).export(folder, compress="zstd:1", whole=True)
        assert [await shell(node, LIST) for node in lab.nodes.values()] == before
        await check_lab_is_as_before(lab)
        assert [backup.vmid for backup in export.backups] == [1001, 1002]
        assert export.pause > 0
        await check_a_resting_node(lab, tmp_path / "resting")
    check_folder(folder, [backup.archive for backup in export.backups])
    archives = [backup.archive for backup in export.backups]
    check = partial(check_restored, later=True)
    await trio.to_thread.run_sync(check, archives, tmp_path / "restored", ("ovmf", "seabios"))


async def test_nodes_of_a_plan_are_machines_on_proxmox_without_being_started(
    tmp_path: Path,
) -> None:
    request = Request(folder=tmp_path / "dump", compression=QUICK, vmid=200)
    export = await export_plan(PLAN, ["system", "memory"], request, store=open_store())
    assert [backup.vmid for backup in export.backups] == [200, 201]
    archives = [backup.archive for backup in export.backups]
    check = partial(check_restored, later=False)
    await trio.to_thread.run_sync(check, archives, tmp_path / "restored", ("seabios", "ovmf"))


async def test_what_a_node_serves_to_others_goes_with_it(tmp_path: Path) -> None:
    (tmp_path / "system.raw").write_bytes(bytes(1 << 20))
    own = "image: none, arch: x86_64, disk: {file: system.raw, format: raw}"
    text = f"name: served\nnodes: {{a: {{{own}, disks: {{netboot: micro}}, configure: false}}}}\n"
    plan = anchor(resolve(loads(text)), str(tmp_path))
    request = Request(folder=tmp_path / "dump", compression=QUICK)
    export = await export_plan(plan, ["a"], request, store=open_store())
    restored = tmp_path / "restored"
    await trio.to_thread.run_sync(restore, export.backups[0].archive, restored)
    with tarfile.open(restored / "disk-drive-virtio1.raw") as archive:
        assert archive.getnames() == ["kernel", "initrd", "boot.ipxe"]


async def shell(node: NodeAccess, script: str) -> str:
    result = await node.execute(("/bin/sh", "-c", script))
    assert result.status == 0, result
    return result.stdout.decode()


async def check_lab_is_as_before(lab: LabAccess) -> None:
    """Nothing is left in QEMU."""
    for node in lab.nodes.values():
        blocks = json.dumps(await node.qmp("query-named-block-nodes", flat=True))
        assert "cut-" not in blocks
        assert await node.qmp("query-block-exports") == []


async def check_a_resting_node(lab: LabAccess, folder: Path) -> None:
    """A node that is off is exported as it was left."""
    await lab.nodes["system"].shutdown()
    request = Request(folder=folder, compression=None)
    export = await export_nodes(lab, ["system"], request, store=open_store())
    assert export.pause == 0
    await trio.to_thread.run_sync(restore, export.backups[0].archive, folder / "restored")


def check_folder(folder: Path, archives: Sequence[Path]) -> None:
    names = {path.name for path in folder.iterdir()}
    for archive in archives:
        stem = archive.name.removesuffix(".vma.zst")
        assert {archive.name, f"{archive.name}.notes", f"{stem}.log"} <= names
    manifest = json.loads((folder / "moved.manifest.json").read_text())
    assert [one["archive"] for one in manifest["machines"]] == [one.name for one in archives]
    assert "qmrestore" in (folder / "moved.recipe.txt").read_text()
    assert len(names) == 3 * len(archives) + 2


def check_restored(
    archives: Sequence[Path], folder: Path, bios: Sequence[str], *, later: bool
) -> None:
    """Start the machines on a wire between them, and look who they are."""
    wire = folder / "wire"
    address = f"addr.type=unix,addr.path={wire}"
    wires = (f"stream,server=on,{address}", f"stream,server=off,{address}")
    folder.mkdir()
    with ExitStack() as stack:
        guests: list[Guest] = []
        for index, archive in enumerate(archives):
            place = folder / str(index)
            configuration = restore(archive, place)
            machine = start(configuration, place, bios=bios[index], wires=[wires[index]])
            guests.append(stack.enter_context(machine))
        for guest, node in zip(guests, PLAN.nodes, strict=True):
            guest.sync()
            check_guest(guest, node.name, node.interfaces[0].addresses[0], later=later)
        other = PLAN.nodes[1].interfaces[0].addresses[0].partition("/")[0]
        guests[0].run(f"ping -c 3 -W 5 {other}")
        guests[0].run("ip route show 10.77.0.0/16 | grep 'via 10.0.0.1 dev eth1'")


def check_guest(guest: Guest, name: str, address: str, *, later: bool) -> None:
    if name == "system":
        guest.run("systemctl is-system-running --wait || systemctl --failed >&2")
    assert guest.run(LOOK).splitlines() == ["from the file", name, address]
    assert guest.run("cat /proc/sys/kernel/hostname").strip() == name
    assert guest.run("cat /run/started").strip() == "started"
    assert guest.run("cat /proc/sys/net/ipv4/ip_forward").strip() == "1"
    found = guest.run("cat /root/later 2>/dev/null || true").strip()
    assert found == ("written later" if later else "")
    hosts = guest.run("cat /etc/hosts")
    assert name in hosts
    assert (HOST in hosts) == later
