"""Disks with a boot loader: what is on them, and that they start from BIOS and from UEFI."""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
import uuid
from pathlib import Path

import pytest
import trio

from netlab.image.bootdisk import (
    BOOT_START,
    CORE_START,
    MIB,
    SECTOR,
    plan_disk,
    write_configuration,
    write_disk,
)
from netlab.image.loader import Loader
from netlab.image.store import Image, open_store
from tests.image.guest import open_qemu

IDENTITY = uuid.UUID("0f7a6c7e-4f43-4c3f-8a53-0c1d2e3f4a5b")
FIRMWARE = Path("/usr/share/OVMF")


@pytest.fixture(scope="module")
def loader() -> Loader:
    return trio.run(open_store().ensure_loader)


@pytest.fixture(scope="module")
def disk(loader: Loader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk that boots the micro image."""
    image = trio.run(open_store().ensure, "micro")
    path = tmp_path_factory.mktemp("disk") / "disk.raw"
    _write(path, loader, image)
    return path


def _write(path: Path, loader: Loader, image: Image) -> None:
    async def write() -> None:
        await write_disk(
            path,
            loader,
            identity=IDENTITY,
            configuration=write_configuration(
                kernel="/kernel", initrd="/initrd", append=image.append
            ),
            files={"kernel": image.packed_kernel, "initrd": image.initrd},
        )

    trio.run(write)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_the_loader_searches_the_file_system_that_has_the_kernel() -> None:
    files = {"kernel": "/vmlinuz", "initrd": "/initrd.img", "append": "quiet"}
    assert "search --no-floppy --fs-uuid --set=root 1-2\n" in write_configuration(
        **files, root="1-2"
    )
    assert "search" not in write_configuration(**files)


def test_parts_of_a_disk_follow_one_another() -> None:
    layout = plan_disk(100 * MIB, root_size=512 * MIB)
    assert layout.boot_size > 100 * MIB
    assert layout.root_start == BOOT_START + layout.boot_size
    assert layout.size == layout.root_start + 512 * MIB + MIB
    assert plan_disk(0).boot_size >= 34 * MIB


def test_a_disk_has_its_parts_where_the_loader_looks_for_them(disk: Path) -> None:
    with disk.open("rb") as file:
        first = file.read(SECTOR)
        file.seek(CORE_START)
        core = file.read(SECTOR)
    assert struct.unpack_from("<Q", first, 0x5C) == (CORE_START // SECTOR,)
    assert struct.unpack_from("<Q", core, SECTOR - 12) == (CORE_START // SECTOR + 1,)
    done = subprocess.run(
        ["/sbin/sfdisk", "--dump", disk], capture_output=True, text=True, check=True
    )
    assert f"label-id: {str(IDENTITY).upper()}" in done.stdout
    assert [line.partition('name="')[2].rstrip('"') for line in done.stdout.splitlines()][-2:] == [
        "bios",
        "boot",
    ]
    # Sparse: what is not used takes no room.
    assert disk.stat().st_blocks * 512 < disk.stat().st_size


def test_the_same_parts_make_the_same_disk(disk: Path, loader: Loader, tmp_path: Path) -> None:
    _write(tmp_path / "again.raw", loader, trio.run(open_store().ensure, "micro"))
    assert _digest(tmp_path / "again.raw") == _digest(disk)


def test_a_loader_that_is_there_is_not_made_again(loader: Loader) -> None:
    before = loader.core.stat()
    assert trio.run(open_store().ensure_loader) == loader
    assert loader.core.stat() == before


@pytest.mark.machines
@pytest.mark.parametrize("machine", ["pc", "q35"])
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_a_disk_starts_by_itself(disk: Path, tmp_path: Path, machine: str, firmware: str) -> None:
    options = ["-machine", machine, "-m", "256", "-device", "virtio-scsi-pci"]
    options += ["-drive", f"file={disk},format=raw,if=none,id=disk,snapshot=on"]
    options += ["-device", "scsi-hd,drive=disk"]
    if firmware == "uefi":
        shutil.copy(FIRMWARE / "OVMF_VARS_4M.fd", tmp_path / "vars.fd")
        code = FIRMWARE / "OVMF_CODE_4M.fd"
        options += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}"]
        options += ["-drive", f"if=pflash,unit=1,format=raw,file={tmp_path / 'vars.fd'}"]
    with open_qemu(options) as guest:
        guest.sync()
        assert ("yes" in guest.run("[ ! -d /sys/firmware/efi ] || echo yes")) == (
            firmware == "uefi"
        )
