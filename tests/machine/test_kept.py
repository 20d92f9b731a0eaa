"""Disks that outlive their lab, with the real qemu-img."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import trio

from netlab.errors import InputError, StorageError
from netlab.machine.boot import Boot, Disk, Layer
from netlab.machine.disk import has_files, open_files
from netlab.machine.kept import is_used, kept_name, list_kept, remove_kept
from netlab.process import run

SERIAL = "../da ta/%1"


def boot(folder: Path, base: Path, *, size: int | None = None) -> Boot:
    layer = Layer(base=str(base), format="raw", size=size, serial=SERIAL)
    disk = Disk(file=str(folder / "disk0.qcow2"), format="qcow2", layer=layer)
    return Boot(kernel=None, disks=(disk,))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.raw"
    path.write_bytes(b"content!" * 1024)
    return path


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "disks" / "lab" / "node"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def write(folder: Path, letter: str) -> None:
    command = f"write -P {ord(letter)} 0 512"
    await run(["qemu-io", "-f", "qcow2", "-c", command, str(folder / "disk0.qcow2")])


async def test_what_is_written_is_there_for_the_next_lab_and_its_base_unchanged(
    tmp_path: Path, base: Path, kept: Path
) -> None:
    before = digest(base)
    machine = boot(tmp_path, base)
    async with open_files(machine, kept):
        assert has_files(machine)
        await write(tmp_path, "k")
    assert not has_files(machine)
    async with open_files(machine, kept):
        read = ["qemu-io", "-f", "qcow2", "-c", f"read -P {ord('k')} 0 512"]
        told = (await run([*read, str(tmp_path / "disk0.qcow2")])).stdout
        assert b"failed" not in told
    assert not (tmp_path / "disk0.qcow2").is_symlink()
    assert digest(base) == before


async def test_a_disk_is_used_by_one_lab_at_a_time(tmp_path: Path, base: Path, kept: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with open_files(boot(tmp_path, base), kept):
        (disk,) = list_kept(kept.parents[1])
        assert is_used(disk)
        with pytest.raises(InputError, match="this disk is in use"):
            async with open_files(boot(other, base), kept):
                pass
        with pytest.raises(InputError, match="this disk is in use"):
            remove_kept(disk)
    assert not is_used(disk)


async def test_a_disk_over_something_that_changed_is_refused(
    tmp_path: Path, base: Path, kept: Path
) -> None:
    async with open_files(boot(tmp_path, base), kept):
        pass
    with pytest.raises(InputError, match=r"changed is size") as caught:
        async with open_files(boot(tmp_path, base, size=1 << 20), kept):
            pass
    assert f"netlab disk rm lab/node/{SERIAL}" in (caught.value.hint or "")
    await trio.Path(base).write_bytes(b"another." * 2048)
    with pytest.raises(InputError, match=rf"a layer over {base} as it was: changed is bytes, time"):
        async with open_files(boot(tmp_path, base), kept):
            pass
    await trio.Path(base).unlink()
    with pytest.raises(StorageError, match=rf"{base}: No such file"):
        async with open_files(boot(tmp_path, base), kept):
            pass


async def test_a_disk_that_was_not_finished_is_made_again(
    tmp_path: Path, base: Path, kept: Path
) -> None:
    unfinished = trio.Path(kept / kept_name(SERIAL)).with_suffix(".new")
    await unfinished.parent.mkdir(parents=True)
    await unfinished.write_bytes(b"half of it")
    async with open_files(boot(tmp_path, base), kept):
        name = kept_name(SERIAL)
        assert names(kept) == sorted((name, name.replace(".qcow2", ".json")))


async def test_a_disk_is_listed_by_its_serial_and_removed_with_its_folders(
    tmp_path: Path, base: Path, kept: Path
) -> None:
    async with open_files(boot(tmp_path, base), kept):
        pass
    (disk,) = list_kept(kept.parents[1])
    assert (disk.name, disk.base) == (f"lab/node/{SERIAL}", str(base))
    assert disk.size > 0
    remove_kept(disk)
    assert names(kept.parents[1]) == []
