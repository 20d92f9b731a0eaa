"""Archives as topologies: their disks once, byte by byte, and a way back that loses nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import trio

from netlab.errors import (
    ArchiveError,
    CapacityError,
    ConfigurationError,
    StorageError,
    UsageError,
)
from netlab.image.store import open_store
from netlab.plan.model import Plan
from netlab.plan.resolve import resolve
from netlab.proxmox.archives import ArchiveStore
from netlab.proxmox.exporting import Request, export_plan
from netlab.proxmox.importing import Imported
from netlab.proxmox.restoring import ignore, import_archives
from netlab.topology.load import load, loads
from netlab.vma import Contents, create_archive
from netlab.vma.compression import compression_of
from tests.proxmox.test_resting import content, make_plan, restore
from tests.vma.archives import MemoryDisk

MIB = 1 << 20
SYSTEM = os.urandom(70_000) + bytes(MIB - 70_000)
VARIABLES = os.urandom(540_672)

FOREIGN = """\
bios: ovmf
efidisk0: zfs:vm-200-disk-9,efitype=4m,size=4M
machine: q35
name: billing
net0: virtio=BC:24:11:00:00:01,bridge=vmbr0,tag=30
scsi0: zfs:vm-200-disk-0,size=1M
scsihw: virtio-scsi-pci
tpmstate0: zfs:vm-200-disk-5,size=4M
#qmdump#map:efidisk0:drive-efidisk0:zfs:raw:
#qmdump#map:scsi0:drive-scsi0:zfs:raw:
#qmdump#map:tpmstate0:drive-tpmstate0-backup:zfs:raw:
"""
DISKS = {
    "drive-scsi0": SYSTEM,
    # A storage has room for more than the variables.
    "drive-efidisk0": VARIABLES + bytes(4 * MIB - len(VARIABLES)),
    "drive-tpmstate0-backup": b"state" * 20_000,
}


@pytest.fixture
def store(tmp_path: Path) -> ArchiveStore:
    return ArchiveStore(tmp_path / "store")


async def write(
    path: Path, configuration: str | bytes = FOREIGN, disks: Mapping[str, bytes] = DISKS
) -> Path:
    data = configuration if isinstance(configuration, bytes) else configuration.encode()
    sources = {name: MemoryDisk(disk) for name, disk in disks.items()}
    configs = {"qemu-server.conf": data, "qemu-server.fw": b"[OPTIONS]\n"}
    contents = Contents(disks=sources, configs=configs)
    await create_archive(path, contents, compression=compression_of(str(path)))
    return path


def plan_of(imported: Imported) -> Plan:
    return resolve(loads(imported.text))


def read(path: str | None) -> bytes:
    assert path is not None
    return Path(path).read_bytes()


def names(store: ArchiveStore) -> list[str]:
    """Return what is in a store, but for folders that are always there."""
    found = (str(path.relative_to(store.folder)) for path in store.folder.rglob("*"))
    return sorted(set(found) - {"objects", "tmp", "lock"})


async def test_a_node_boots_from_what_the_archive_has(tmp_path: Path, store: ArchiveStore) -> None:
    path = await write(tmp_path / "vzdump-qemu-200-2026_01_02-03_04_05.vma.zst")
    imported = await import_archives([path], store=store)
    (node,) = plan_of(imported).nodes
    assert (node.name, node.firmware.kind, node.machine) == ("billing", "uefi", "q35")
    (disk,) = node.disks
    # Cut to the variables: their firmware would not take more.
    assert [read(path) for path in (disk.file, node.firmware.vars)] == [SYSTEM, VARIABLES]
    assert [str(mistake) for mistake in imported.left_out] == [
        "qemu-server.conf:7:1: scsihw: 'virtio-scsi-pci' becomes virtio-scsi-single in an export",
        "qemu-server.conf:8:1: tpmstate0.version: a TPM of a lab is a 2.0: it has none",
        "qemu-server.fw: is left out",
    ]
    folder = Path(disk.file or "").parent
    assert sorted(one.name for one in folder.iterdir()) == ["efidisk0.raw", "scsi0.raw"]
    assert all(one.stat().st_mode & 0o222 == 0 for one in folder.iterdir())
    assert (folder / "scsi0.raw").stat().st_blocks * 512 < MIB


async def test_the_same_archive_is_extracted_once(tmp_path: Path, store: ArchiveStore) -> None:
    path = await write(tmp_path / "a.vma.zst")
    said: list[str] = []

    def tell(what: str, _done: int, _total: int) -> None:
        said.append(what)

    first = await import_archives([path], store=store, tell=tell)
    files = {file: file.stat().st_ino for file in store.objects.rglob("*.raw")}
    assert set(said) == {"reading a.vma.zst", "extracting a.vma.zst"}
    said.clear()
    copy = path.rename(tmp_path / "b.vma.zst")
    second = await import_archives([copy], store=store, tell=tell)
    assert set(said) == {"reading b.vma.zst"}
    assert first.text == second.text
    assert {file: file.stat().st_ino for file in store.objects.rglob("*.raw")} == files
    # One that was damaged since is made again.
    damaged = next(file for file in files if file.name == "scsi0.raw")
    damaged.unlink()
    await import_archives([copy], store=store)
    assert damaged.read_bytes() == SYSTEM


async def test_imports_at_once_wait_for_each_other(tmp_path: Path, store: ArchiveStore) -> None:
    path = await write(tmp_path / "a.vma")
    said: list[str] = []
    texts: list[str] = []

    async def run() -> None:
        imported = await import_archives(
            [path], store=store, tell=lambda what, _done, _total: said.append(what)
        )
        texts.append(imported.text)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(run)
    assert len(texts) == 3
    assert len(set(texts)) == 1
    assert said.count("waiting for another import") == 2
    assert len(names(store)) == 3


async def test_machines_of_several_archives_meet_on_their_networks(
    tmp_path: Path, store: ArchiveStore
) -> None:
    one = await write(tmp_path / "one.vma")
    text = FOREIGN.replace("name: billing\n", "").replace("00:01", "00:02")
    two = await write(tmp_path / "vzdump-qemu-201-2026_01_02-03_04_05.vma", f"{text}usb0: spice\n")
    imported = await import_archives([one, two], store=store, name="office")
    plan = plan_of(imported)
    assert (plan.lab, [node.name for node in plan.nodes]) == ("office", ["billing", "vm201"])
    assert [len(segment.ports) for segment in plan.segments] == [2]
    told = [str(mistake) for mistake in imported.left_out if "usb0" in str(mistake)]
    assert told == [f"{two.name}/qemu-server.conf:11:1: usb0: 'spice' is left out"]


async def test_one_archive_can_be_several_machines_that_are_as_apart_as_others(
    tmp_path: Path, store: ArchiveStore
) -> None:
    path = await write(tmp_path / "a.vma", FOREIGN.replace(",bridge=vmbr0,tag=30", ""))
    imported = await import_archives([path, path], store=store)
    assert imported.nodes == ("billing", "billing-2")
    # Without a bridge each is alone on Proxmox's own router.
    assert [len(segment.ports) for segment in plan_of(imported).segments] == [1, 1]


async def test_a_lab_that_was_exported_and_imported_is_exported_the_same(
    tmp_path: Path, store: ArchiveStore
) -> None:
    """What the next export says otherwise is the description: it names interfaces and addresses."""
    plan = make_plan(tmp_path)
    nodes = [node.name for node in plan.nodes]

    async def export(plan: Plan, folder: str) -> list[Path]:
        request = Request(folder=tmp_path / folder, compression=None)
        done = await export_plan(plan, nodes, request, store=open_store())
        return [backup.archive for backup in done.backups]

    there = await export(plan, "there")
    imported = await import_archives(there, store=store)
    assert imported.left_out == ()
    again = await export(plan_of(imported), "again")
    for first, second in zip(there, again, strict=True):
        before = await restore(first, first.with_suffix(".d"))
        after = await restore(second, second.with_suffix(".d"))
        assert replace(after, description=before.description) == before
        assert content(first.with_suffix(".d")) == content(second.with_suffix(".d"))
        assert len(content(first.with_suffix(".d"))) == len(before.maps)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 512)


def overwrite(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b"VMAE", b"VMAX"))


@pytest.mark.parametrize("damage", [cut_short, overwrite])
async def test_nothing_is_left_of_a_damaged_archive(
    tmp_path: Path, store: ArchiveStore, damage: Callable[[Path], None]
) -> None:
    path = await write(tmp_path / "a.vma")
    damage(path)
    with pytest.raises(ArchiveError) as caught:
        await import_archives([path], store=store)
    assert caught.value.exit_code == 2
    assert names(store) == []


async def test_nothing_is_left_of_a_cancelled_import(tmp_path: Path, store: ArchiveStore) -> None:
    path = await write(tmp_path / "a.vma")
    with trio.CancelScope() as scope:

        def tell(what: str, _done: int, _total: int) -> None:
            if what.startswith("extracting"):
                assert len(names(store)) > 1
                scope.cancel()

        await import_archives([path], store=store, tell=tell)
    assert scope.cancelled_caught
    assert names(store) == []


async def test_what_a_killed_import_left_goes_with_the_next(
    tmp_path: Path, store: ArchiveStore
) -> None:
    left = store.folder / "tmp" / "tmpx" / "extracted"
    left.mkdir(parents=True)
    (left / "disk-drive-scsi0.raw").write_bytes(b"half")
    await import_archives([await write(tmp_path / "a.vma")], store=store)
    assert list((store.folder / "tmp").iterdir()) == []


async def test_an_archive_that_is_written_to_meanwhile_is_not_taken(
    tmp_path: Path, store: ArchiveStore
) -> None:
    path = await write(tmp_path / "a.vma")

    def tell(what: str, done: int, total: int) -> None:
        if what.startswith("extracting") and done == total:
            os.utime(path)

    with pytest.raises(UsageError, match="was written to while it was read"):
        await import_archives([path], store=store, tell=tell)
    assert names(store) == []


async def test_nothing_is_left_on_a_full_disk(tmp_path: Path, small: Path) -> None:
    path = await write(tmp_path / "a.vma", disks={**DISKS, "drive-scsi0": os.urandom(2 * MIB)})
    store = ArchiveStore(small / "store")
    with pytest.raises(CapacityError, match="no space left") as caught:
        await import_archives([path], store=store)
    assert "XDG_CACHE_HOME" in str(caught.value)
    assert names(store) == []


async def test_no_name_from_an_archive_is_a_path(tmp_path: Path, store: ArchiveStore) -> None:
    text = "name: ../../evil\nscsi0: a1:v\n"
    text += "#qmdump#map:scsi0:drive-scsi0:a1:raw:\n#qmdump#map:../../evil:drive-x:a1:raw:\n"
    disks = {"drive-scsi0": SYSTEM, "drive-x": SYSTEM}
    imported = await import_archives([await write(tmp_path / "a.vma", text, disks)], store=store)
    assert imported.nodes == ("evil",)
    assert [Path(name).name for name in names(store)[1:]] == ["scsi0.raw"]
    found = await trio.to_thread.run_sync(os.listdir, tmp_path)
    assert sorted(found) == ["a.vma", "store"]


async def test_what_is_no_backup_of_a_machine_is_told(tmp_path: Path, store: ArchiveStore) -> None:
    run = partial(import_archives, store=store)
    no_archive = tmp_path / "a.txt"
    no_archive.write_text("nothing" * 10_000)
    with pytest.raises(ArchiveError):
        await run([no_archive])
    with pytest.raises(UsageError, match="there is no such file"):
        await run([tmp_path / "nothing"])
    with pytest.raises(UsageError, match="is no file"):
        await run([tmp_path])
    other = tmp_path / "other.vma"
    await create_archive(other, Contents(disks={"drive-scsi0": MemoryDisk(SYSTEM)}))
    with pytest.raises(UsageError, match=r"has no qemu-server\.conf"):
        await run([other])
    latin = await write(tmp_path / "latin.vma", b"#note\nname: \xe4\n")
    with pytest.raises(ConfigurationError, match=r"qemu-server\.conf:2:1: is not UTF-8"):
        await run([latin])
    assert not store.folder.exists()


async def test_mistakes_of_all_archives_are_told_before_any_is_extracted(
    tmp_path: Path, store: ArchiveStore
) -> None:
    good = await write(tmp_path / "good.vma")
    paths = [
        await write(tmp_path / f"{name}.vma", f"{line}\n{FOREIGN}")
        for name, line in (("one", "what is this"), ("two", "cores: 1\ncores: 2"))
    ]
    with pytest.raises(ConfigurationError) as caught:
        await import_archives([good, *paths], store=store)
    assert [mistake.file for mistake in caught.value.mistakes] == [
        "one.vma/qemu-server.conf", "two.vma/qemu-server.conf",
    ]  # fmt: skip
    large = await write(tmp_path / "large.vma", f"{FOREIGN}memory: 2000000\n")
    told = r"qemu-server.conf:12:1: memory: 2000000 MiB, and a node has at most 1048576"
    with pytest.raises(ConfigurationError, match=told):
        await import_archives([good, large], store=store)
    assert not store.folder.exists()


async def test_a_store_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = await write(tmp_path / "a.vma")
    with pytest.raises(StorageError) as caught:
        await import_archives([path], store=ArchiveStore(tmp_path / "file"), tell=ignore)
    assert caught.value.exit_code == 3


async def test_the_example_of_the_page_makes_a_topology(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = files("netlab").joinpath("docs/proxmox.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n([^`]*import_archives.*?)^```", page, re.M | re.S)
    told: list[object] = []
    known: dict[str, Any] = {"print": told.append}
    exec(compile(example, "proxmox.md", "exec"), known)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = await write(tmp_path / "a.vma")
    await known["bring"]([path], tmp_path / "copy.yaml")
    plan = resolve(load(tmp_path / "copy.yaml"))
    assert read(plan.nodes[0].disks[0].file) == SYSTEM
    assert len(told) == 3
