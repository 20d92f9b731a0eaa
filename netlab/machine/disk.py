"""Overlays: a machine's own disk over an image that nobody writes to."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

from netlab.errors import MachineError
from netlab.machine.argv import Boot
from netlab.process import run

DISK = "disk0.qcow2"
"""Name of a machine's disk in its folder."""


def has_disk(boot: Boot) -> bool:
    """Say whether a machine's own disks are there, all that it needs."""
    return all(Path(disk).exists() for disk in boot.disks)


@asynccontextmanager
async def open_disk(boot: Boot) -> AsyncGenerator[None]:
    """Give a machine that boots from a disk a layer of its own over it, for the block's length.

    What the machine writes stays while it stops and starts; in the end nothing is left.

    Raises:
        MachineError: There is such a layer already, or the image is gone.
        MissingProgramError: qemu-img is not installed.
        ProgramError: qemu-img failed.
    """
    if boot.base is None or not boot.disks:
        yield
        return
    overlay = await create_overlay(Path(boot.base), Path(boot.disks[0]), base_format="qcow2")
    with ExitStack() as stack:
        stack.callback(overlay.unlink, missing_ok=True)
        yield


async def create_overlay(
    base: Path, overlay: Path, *, base_format: Literal["raw", "qcow2"], size: int | None = None
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
    base, overlay = _claim(base, overlay)
    backing = ("-b", str(base), "-F", base_format)
    extent = () if size is None else (str(size),)
    try:
        await run(("qemu-img", "create", "-q", "-f", "qcow2", *backing, str(overlay), *extent))
    except BaseException:
        overlay.unlink(missing_ok=True)
        raise
    return overlay


def _claim(base: Path, overlay: Path) -> tuple[Path, Path]:
    base, overlay = base.absolute(), overlay.absolute()
    if not base.is_file():
        raise MachineError(f"{base}: there is no such image")
    try:
        # qemu-img would write over an existing disk without a word.
        overlay.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise MachineError(f"{overlay}: this disk exists already") from None
    return base, overlay
