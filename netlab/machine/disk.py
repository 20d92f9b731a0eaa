"""The files of a machine's own: a disk over an image that nobody writes to, UEFI variables."""

from __future__ import annotations

import shutil
import struct
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import trio

from netlab.errors import MachineError
from netlab.machine.boot import Boot, Layer, OwnFile, Seed
from netlab.machine.firmware import open_store
from netlab.machine.kept import kept_name, open_kept
from netlab.plan.model import CdromPlan, DiskFormat, DiskPlan
from netlab.process import run

# Magic, version, offset of the backing file's name, (its length, cluster bits), size in bytes,
# (…), incompatible features: big-endian.
_HEADER = struct.Struct(">4sIQ8xQ40xQ")
_EXTERNAL_DATA = 1 << 2
_SEED_SECTORS = 2048
"""Sectors of a seed beside its files: a mebibyte for FAT and for what rounding takes."""

_PARTITIONS = 446
_FIRST_DESCRIPTOR = 16 * 2048


def has_files(boot: Boot) -> bool:
    """Say whether the files of a machine's own are there, all that it needs."""
    files = (
        *(disk.file for disk in boot.disks),
        *(file.path for file in boot.credentials),
        *(() if boot.firmware is None else (boot.firmware.store,)),
        *(() if boot.seed is None else (boot.seed.path,)),
        *(() if boot.tpm is None else (boot.tpm,)),
    )
    return all(Path(file).exists() for file in files)


@asynccontextmanager
async def open_files(boot: Boot, kept: Path) -> AsyncGenerator[None]:
    """Give a machine the files of its own, for the block's length.

    Disks that are empty or layers over others, a store of UEFI variables, what a TPM keeps,
    credentials, a seed for cloud-init. What the machine writes stays while it stops and starts; in
    the end nothing is left but disks that are kept.

    Args:
        boot: What it boots from.
        kept: The folder of the machine's disks that outlive it; links lead to them.

    Raises:
        InputError: A disk that is kept is in use, or was made from something else.
        MachineError: There is such a file already, or what it is made from is gone.
        MissingProgramError: qemu-img is not installed.
        ProgramError: qemu-img failed.
    """
    async with AsyncExitStack() as stack:
        if boot.firmware is not None:
            stack.enter_context(open_store(boot.firmware))
        if boot.tpm is not None:
            stack.enter_context(_open_folder(Path(boot.tpm)))
        for file in boot.credentials:
            stack.enter_context(_open_own(file))
        if boot.seed is not None:
            await _make_seed(boot.seed)
            stack.callback(Path(boot.seed.path).unlink, missing_ok=True)
        for disk in boot.disks:
            layer, path = disk.layer, Path(disk.file)
            if layer is None:
                continue
            if layer.serial is None:
                await _make(layer, path)
            else:
                target = kept / kept_name(layer.serial)
                await stack.enter_async_context(open_kept(target, layer, _make))
                await trio.Path(path).symlink_to(target)
            stack.callback(path.unlink, missing_ok=True)
        yield


@contextmanager
def _open_own(file: OwnFile) -> Generator[None]:
    path = _claim(Path(file.path))
    try:
        path.write_bytes(file.content)
        yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _open_folder(path: Path) -> Generator[None]:
    path.mkdir(mode=0o700)
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)


async def _make_seed(seed: Seed) -> None:
    """Write the file system that cloud-init finds by its label, without being root."""
    path = _claim(Path(seed.path))
    try:
        extent = sum(len(content) for _, content in seed.files)
        sectors = str(_SEED_SECTORS + extent // 512)
        await run(("mformat", "-i", str(path), "-C", "-T", sectors, "-v", "CIDATA", "::"))
        for name, content in seed.files:
            await run(("mcopy", "-i", str(path), "-", f"::{name}"), stdin=content)
        with path.open("r+b") as file:
            # Beside the file system, mformat writes a partition that is the whole disk.
            file.seek(_PARTITIONS)
            file.write(bytes(64))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


async def create_overlay(
    base: Path, overlay: Path, *, base_format: DiskFormat, size: int | None = None
) -> Path:
    """Create a qcow2 file over a base; return its absolute path.

    The format of the base is said and never guessed: a guest that writes a qcow2 header into its
    raw disk would otherwise choose which of the host's files it reads next.

    Args:
        base: The image; only ever read.
        overlay: The file to be made; its folder is there, it is not.
        base_format: The format of the base.
        size: Bytes of the disk as the guest sees it; the base's when None.

    Raises:
        MachineError: The overlay exists already, or the base does not.
        MissingProgramError: qemu-img is not installed.
        ProgramError: qemu-img failed.
    """
    return await _create(overlay, ("-b", str(_find(base)), "-F", base_format), size)


async def _make(layer: Layer, path: Path) -> None:
    if layer.base is None:
        await _create(path, (), layer.size)
    else:
        await create_overlay(Path(layer.base), path, base_format=layer.format, size=layer.size)


async def _create(path: Path, options: Sequence[str], size: int | None) -> Path:
    path = _claim(path)
    extent = () if size is None else (str(size),)
    try:
        await run(("qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), *extent))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _find(base: Path) -> Path:
    base = base.absolute()
    if not base.is_file():
        raise MachineError(f"{base}: there is no such image")
    return base


def _claim(path: Path) -> Path:
    path = path.absolute()
    try:
        # qemu-img would write over an existing disk without a word.
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise MachineError(f"{path}: this file exists already") from None
    return path


def find_disk_mistakes(disks: Iterable[DiskPlan]) -> list[str]:
    """Return what is wrong with the files of the host that disks are made from, a line each.

    A qcow2 file that stands on another is refused: which of the host's files are opened is the
    topology's matter, and not that of what is on a disk (facts: QEMU's docs/interop/qcow2.txt).

    Args:
        disks: Their paths are absolute, or relative to where we are.
    """
    return [
        f"{disk.file}: {wrong}"
        for disk in disks
        if disk.file is not None
        if (wrong := _explain(partial(_look_at, Path(disk.file), disk)))
    ]


def _explain(look: Callable[[], str]) -> str:
    """Look at a file; one that cannot be looked at is a mistake, too."""
    try:
        return look()
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def _look_at(path: Path, disk: DiskPlan) -> str:
    if not path.is_file():
        return "there is no such file to make a disk from"
    extent = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(_HEADER.size).ljust(_HEADER.size, b"\0")
    if disk.format == "qcow2":
        magic, version, backing, extent, incompatible = _HEADER.unpack(header)
        if magic != b"QFI\xfb":
            return "this is not qcow2; is its format raw?"
        if backing or (version > 2 and incompatible & _EXTERNAL_DATA):
            return "it stands on another file; `qemu-img convert -O qcow2` makes one of both"
    if disk.size is not None and disk.size << 20 < extent:
        return f"it has {extent} bytes, more than the {disk.size} MiB that it is to grow to"
    return ""


def find_cdrom_mistakes(cdroms: Iterable[CdromPlan]) -> list[str]:
    """Return what is wrong with the images of CD-ROMs, a line each.

    An image has a descriptor of ISO 9660 or of UDF behind 32 KiB (ECMA-119, 9.1; ECMA-167, 2/8.3).

    Args:
        cdroms: Their paths are absolute, or relative to where we are.
    """
    return [
        f"{cdrom.file}: {wrong}"
        for cdrom in cdroms
        if (wrong := _explain(partial(_look_at_image, Path(cdrom.file))))
    ]


def _look_at_image(path: Path) -> str:
    if not path.is_file():
        return "there is no such image of a CD-ROM"
    with path.open("rb") as file:
        file.seek(_FIRST_DESCRIPTOR + 1)
        if file.read(5) not in {b"CD001", b"BEA01"}:
            return "this is no image of a CD-ROM: it has neither ISO 9660 nor UDF"
    return ""
