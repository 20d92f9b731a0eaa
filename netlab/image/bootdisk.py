"""A disk that starts by itself, from BIOS and from UEFI, made in a file and without root.

::

    MiB 0   the first sector, the partition table
    MiB 1   partition 1, "bios": the loader's core
    MiB 2   partition 2, "boot", FAT: kernel, initial RAM disk, configuration, programs for UEFI
    then    partition 3, "root", if there is one

Partition types: UEFI Specification, 5.3.3; UAPI.2 Discoverable Partitions. Where the loader is told
its sectors: boot.S and diskboot.S of GRUB.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import trio

from netlab.errors import ImageError
from netlab.image.loader import Loader
from netlab.process import run

SECTOR = 512
MIB = 1 << 20

CORE_START, BOOT_START = 1 * MIB, 2 * MIB
"""Bytes at which the loader's core and the boot partition begin."""

_BIOS_TYPE = "21686148-6449-6E6F-744E-656564454649"
_BOOT_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
_ROOT_TYPE = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"

_CODE_SIZE = 440
"""Bytes of the first sector that are the loader's; the partition table follows."""

_CORE_SECTOR_IN_BOOT, _NEXT_SECTOR_IN_CORE = 0x5C, SECTOR - 12

_FAT32_SMALLEST = 34 * MIB
"""A file system with fewer clusters is no FAT32, which UEFI wants on a disk."""

_MARGIN = 4 * MIB

_EFI_CONFIGURATION = "configfile /grub/grub.cfg\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskLayout:
    """Where the parts of a disk are, in bytes.

    Attributes:
        boot_size: Of the boot partition.
        root_size: Of the root partition; 0 when there is none.
    """

    boot_size: int
    root_size: int = 0

    @property
    def root_start(self) -> int:
        """Where the root partition begins."""
        return BOOT_START + self.boot_size

    @property
    def size(self) -> int:
        """Of the whole disk: the last MiB has the second partition table."""
        return self.root_start + self.root_size + MIB


def plan_disk(files: int, *, root_size: int = 0) -> DiskLayout:
    """Return the layout of a disk.

    Args:
        files: Bytes of the files in its boot partition, the loader's among them.
        root_size: Bytes of its root partition; 0 for none.
    """
    boot_size = max(_FAT32_SMALLEST, files + files // 16 + _MARGIN)
    return DiskLayout(boot_size=-(-boot_size // MIB) * MIB, root_size=root_size)


def write_configuration(*, kernel: str, initrd: str, append: str, root: str | None = None) -> str:
    """Return the loader's configuration.

    Args:
        kernel: The kernel's path.
        initrd: The initial RAM disk's.
        append: The kernel's command line.
        root: UUID of the file system that has them; the boot partition when None.
    """
    search = "" if root is None else f"search --no-floppy --fs-uuid --set=root {root}\n"
    return (
        "if serial --unit=0 --speed=115200; then\n"
        "    terminal_input serial console\n"
        "    terminal_output serial console\n"
        "fi\n"
        "set timeout=0\n"
        f"{search}"
        "menuentry netlab {\n"
        f"    linux {kernel} {append}\n"
        f"    initrd {initrd}\n"
        "}\n"
    )


async def write_disk(
    disk: Path,
    loader: Loader,
    *,
    identity: uuid.UUID,
    configuration: str,
    files: Mapping[str, Path] | None = None,
    root_size: int = 0,
) -> DiskLayout:
    """Write a disk with a boot loader, sparse; its root partition is left empty.

    Args:
        disk: The file to be made.
        loader: What boots.
        identity: All identifiers of the disk follow from it.
        configuration: The loader's, see :func:`write_configuration`.
        files: More files for the boot partition, by their names in its root folder.
        root_size: Bytes of the root partition; 0 for none.

    Raises:
        ImageError: It could not be made.
        MissingProgramError: sfdisk or mtools are not installed.
        OSError: The disk cannot be written.
    """
    files = {
        "EFI/BOOT/BOOTX64.EFI": loader.shim,
        "EFI/BOOT/grubx64.efi": loader.grub,
        **(files or {}),
    }
    texts = {"grub/grub.cfg": configuration, "EFI/debian/grub.cfg": _EFI_CONFIGURATION}
    size = sum(path.stat().st_size for path in files.values())
    layout = plan_disk(size, root_size=root_size)
    with disk.open("xb") as file:
        file.truncate(layout.size)
    await run(("sfdisk", "--quiet", str(disk)), stdin=_table(layout, identity).encode())
    await trio.to_thread.run_sync(_write_core, disk, loader)
    await _write_boot(disk, layout, identity, files, texts)
    return layout


def _table(layout: DiskLayout, identity: uuid.UUID) -> str:
    parts = [
        ("bios", CORE_START, BOOT_START - CORE_START, _BIOS_TYPE),
        ("boot", BOOT_START, layout.boot_size, _BOOT_TYPE),
    ]
    if layout.root_size:
        parts.append(("root", layout.root_start, layout.root_size, _ROOT_TYPE))
    lines = ["label: gpt", f"label-id: {identity}"]
    lines += [
        f"start={start // SECTOR}, size={size // SECTOR}, type={kind}, name={name},"
        f" uuid={uuid.uuid5(identity, name)}"
        for name, start, size, kind in parts
    ]
    return "\n".join(lines) + "\n"


def _write_core(disk: Path, loader: Loader) -> None:
    boot = bytearray(loader.boot.read_bytes())
    core = bytearray(loader.core.read_bytes())
    if len(core) > BOOT_START - CORE_START:
        raise ImageError(f"the boot loader's core has {len(core)} bytes: it does not fit")
    first = CORE_START // SECTOR
    struct.pack_into("<Q", boot, _CORE_SECTOR_IN_BOOT, first)
    struct.pack_into("<Q", core, _NEXT_SECTOR_IN_CORE, first + 1)
    with disk.open("r+b") as file:
        file.write(boot[:_CODE_SIZE])
        file.seek(CORE_START)
        file.write(core)


async def _write_boot(
    disk: Path,
    layout: DiskLayout,
    identity: uuid.UUID,
    files: Mapping[str, Path],
    texts: Mapping[str, str],
) -> None:
    partition = ("-i", f"{disk}@@{BOOT_START}")
    serial = identity.hex[:8]
    sectors = str(layout.boot_size // SECTOR)
    # mtools would ask, and wait, when something is there already; and stamp today's time.
    quiet = {"MTOOLS_SKIP_CHECK": "1", "SOURCE_DATE_EPOCH": "0"}
    await run(
        ("mformat", *partition, "-F", "-T", sectors, "-v", "BOOT", "-N", serial, "::"),
        environment=quiet,
    )
    folders = sorted({
        "/".join(parts[:depth])
        for parts in (name.split("/") for name in (*files, *texts))
        for depth in range(1, len(parts))
    })
    await run(("mmd", *partition, *(f"::{folder}" for folder in folders)), environment=quiet)
    for name, path in files.items():
        await run(("mcopy", *partition, str(path), f"::{name}"), environment=quiet)
    for name, content in texts.items():
        words = ("mcopy", *partition, "-", f"::{name}")
        await run(words, stdin=content.encode(), environment=quiet)
