"""Nodes of a plan as backups, without starting anything: every disk as the guest would find it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from netlab.errors import ImageError
from netlab.image.store import open_store
from netlab.nbd.client import open_export
from netlab.plan.files import anchor
from netlab.plan.model import Plan
from netlab.plan.resolve import resolve
from netlab.process import run
from netlab.proxmox.configuration import NAME, Configuration, parse
from netlab.proxmox.drives import name_drives
from netlab.proxmox.exporting import Request, export_plan, open_plan
from netlab.proxmox.machine_request import MachineRequest
from netlab.topology.load import loads
from netlab.vma import open_archive

MIB = 1 << 20
VARIABLES = 540_672

TEXT = """\
name: disks
defaults: {image: none, arch: x86_64, configure: false}
nodes:
  bios:
    id: 1
    machine: pc
    agent: false
    cpus: 3
    cpu: Haswell,+aes,-pcid
    rng: false
    vmgenid: true
    smbios: {manufacturer: "Acme, Inc.", serial: A-17}
    vlans: 7
    disk: {file: system.raw, format: raw, bus: scsi, size: 3, serial: root}
    disks:
      - {file: data.raw, format: raw, read_only: true}
      - {size: 2, bus: sata, serial: "a/b", discard: false}
      - {file: data.raw, format: raw, bus: scsi}
  uefi:
    id: 2
    accel: tcg
    display: virtio
    memory: 1 GiB
    firmware: {vars: vars.fd}
    disk: {file: system.raw, format: raw, bus: sata}
  secure:
    id: 3
    firmware: {secure_boot: true, vars: vars.fd}
    disk: {file: system.raw, format: raw, bus: scsi}
    interfaces: {native: {vlan: 1}}
links:
  - {endpoints: [bios, uefi], mtu: 9000}
  - {endpoints: ["bios:cable", "uefi:cable"], addresses: none}
"""


def make_plan(folder: Path) -> Plan:
    """Return a plan whose files are in a folder, written there."""
    for name, size in (("system.raw", 2 * MIB), ("data.raw", MIB), ("vars.fd", VARIABLES)):
        (folder / name).write_bytes(os.urandom(size))
    return anchor(resolve(loads(TEXT)), str(folder))


async def test_disks_and_variables_are_exported_as_the_topology_says(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    request = Request(folder=tmp_path / "dump", compression=None)
    export = await export_plan(plan, ["bios", "uefi", "secure"], request, store=open_store())
    bios, uefi, secure = [
        await restore(backup.archive, tmp_path / backup.node) for backup in export.backups
    ]
    assert {key: settings_of(bios, key) for key in ("scsi0", "scsi1", "virtio0", "sata0")} == {
        "scsi0": "discard=on,iothread=1,serial=root,size=3M",
        "scsi1": "discard=on,iothread=1,size=1M",
        "virtio0": "discard=on,iothread=1,ro=1,size=1M",
        "sata0": "discard=ignore,serial=a%2Fb,size=2M",
    }
    assert bios.get("boot") == "order=scsi0;virtio0;sata0;scsi1"
    assert (bios.get("machine"), bios.get("agent")) == ("pc", "enabled=0")
    assert settings_of(uefi, "efidisk0") == "efitype=4m,pre-enrolled-keys=0,size=528K"
    # Microsoft's keys are in them, as its guest starts with Secure Boot.
    assert settings_of(secure, "efidisk0") == "efitype=4m,pre-enrolled-keys=1,size=528K"
    assert (uefi.get("machine"), uefi.get("bios")) == ("q35", "ovmf")
    system, data = (tmp_path / "system.raw").read_bytes(), (tmp_path / "data.raw").read_bytes()
    assert content(tmp_path / "bios") == {
        "scsi0": system + bytes(MIB),
        "virtio0": data,
        "sata0": bytes(2 * MIB),
        "scsi1": data,
    }
    variables = (tmp_path / "vars.fd").read_bytes()
    assert content(tmp_path / "uefi") == {"sata0": system, "efidisk0": variables}


async def test_a_file_is_read_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, place = make_plan(tmp_path), tmp_path / "work"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    async with open_plan(plan, ["bios"], MachineRequest(), store=open_store()):
        files = [path for path in place.rglob("*") if path.is_file()]
        assert files
        assert sum(path.stat().st_blocks * 512 for path in files) < MIB
    assert not list(place.iterdir())


async def test_a_disk_that_somebody_writes_to_is_not_exported(tmp_path: Path) -> None:
    plan, address = make_plan(tmp_path), tmp_path / "socket"
    server = ["qemu-nbd", "--fork", "--format=raw", f"--socket={address}"]
    await run([*server, str(tmp_path / "data.raw")])
    async with open_export(address):
        with pytest.raises(ImageError, match=r"data\.raw: Failed to get shared .write. lock"):
            await export_plan(plan, ["bios"], Request(folder=tmp_path / "dump"), store=open_store())
    assert not list((tmp_path / "dump").glob("*"))


async def restore(archive: Path, folder: Path) -> Configuration:
    async with open_archive(archive) as opened:
        await opened.extract(folder)
        return parse(opened.configs[NAME].decode())


def settings_of(configuration: Configuration, key: str) -> str:
    return (configuration.get(key) or "").partition(",")[2]


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.stem.removeprefix("disk-drive-"): path.read_bytes() for path in folder.glob("*.raw")
    }


def test_what_lives_in_memory_has_a_disk_before_the_others() -> None:
    text = "name: x\nnodes: {a: {disks: [{size: 1}, {size: 2}]}, b: {}, c: {image: debian}}\n"
    plan = resolve(loads(text))
    drives = [name_drives(node) for node in plan.nodes]
    assert drives == [("scsi0", "virtio0", "virtio1"), ("scsi0",), ("virtio0",)]
