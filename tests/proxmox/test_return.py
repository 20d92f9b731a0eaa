"""Nodes exported, imported and started: the same machines on the same network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from netlab import open_lab, resolve
from netlab.image.store import open_store
from netlab.lab.node import Node
from netlab.plan.files import anchor
from netlab.proxmox.archives import ArchiveStore
from netlab.proxmox.exporting import Export, Request, export_nodes, export_plan
from netlab.proxmox.restoring import import_archives
from netlab.topology.load import loads
from netlab.vma.compression import Compression
from tests.proxmox.test_resting import content, restore

pytestmark = pytest.mark.machines

MIB = 1 << 20

TEXT = """\
name: return
defaults: {memory: 256}
nodes:
  one:
    id: 1
    disks:
      - {size: 2, serial: data, discard: false}
      - {file: fixed.raw, format: raw, read_only: true}
  two: {id: 2, firmware: uefi}
links: [one:uplink -- two]
"""
QUICK = Compression("zstd", 1)


async def test_nodes_that_come_back_are_the_same_on_the_same_network(tmp_path: Path) -> None:
    fixed = os.urandom(MIB)
    (tmp_path / "fixed.raw").write_bytes(fixed)
    plan = anchor(resolve(loads(TEXT)), str(tmp_path))
    nodes = [node.name for node in plan.nodes]
    request = Request(folder=tmp_path / "there", compression=QUICK)
    there = await export_plan(plan, nodes, request, store=open_store())
    imported = await import_archives(
        archives_of(there), store=ArchiveStore(tmp_path / "store"), name="return"
    )
    async with open_lab(resolve(loads(imported.text))) as lab:
        await lab.wait_ready()
        # Nobody told the guests who they are: it is on their disks.
        for node, was in zip(lab.nodes.values(), plan.nodes, strict=True):
            assert (await shell(node, "hostname")).strip() == was.name
            (interface,) = was.interfaces
            address = f"ip -o -4 addr show {interface.name} | awk '{{print $4}}'"
            assert (await shell(node, address)).strip() == interface.addresses[0]
        await shell(lab["one"], "ping -c 3 -W 5 two")
        await shell(lab["one"], "printf written | dd of=/dev/vda conv=fsync 2>&1")
        await shell(lab["one"], "! dd if=/dev/zero of=/dev/vdb bs=512 count=1 conv=fsync 2>&1")
        request = Request(folder=tmp_path / "again", compression=QUICK)
        again = await export_nodes(lab, nodes, request, store=open_store())
    await check_the_same(archives_of(there), archives_of(again), tmp_path)
    disks = content(tmp_path / "again0")
    assert disks["virtio0"] == b"written".ljust(2 * MIB, b"\0")
    assert disks["virtio1"] == fixed
    assert len(content(tmp_path / "again1")["efidisk0"]) == 540_672


def archives_of(export: Export) -> list[Path]:
    return [backup.archive for backup in export.backups]


async def shell(node: Node, script: str) -> str:
    result = await node.execute(("/bin/sh", "-c", script))
    assert result.status == 0, result
    return result.stdout.decode()


async def check_the_same(there: Sequence[Path], again: Sequence[Path], folder: Path) -> None:
    """The machines are the same; the description names the interfaces as the lab calls them."""
    for index, (first, second) in enumerate(zip(there, again, strict=True)):
        before = await restore(first, folder / f"there{index}")
        after = await restore(second, folder / f"again{index}")
        assert replace(after, description=before.description) == before
