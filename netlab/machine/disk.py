"""The files of a machine's own: a disk over an image that nobody writes to, UEFI variables."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

from netlab.errors import MachineError
from netlab.machine.boot import Boot
from netlab.machine.firmware import open_store
from netlab.process import run


def has_files(boot: Boot) -> bool:
    """Say whether the files of a machine's own are there, all that it needs."""
    stores = () if boot.firmware is None else (boot.firmware.store,)
    return all(Path(file).exists() for file in (*boot.disks, *stores))


@asynccontextmanager
async def open_files(boot: Boot) -> AsyncGenerator[None]:
    """Give a machine the files of its own, for the block's length.

    A layer over the disk that it boots from, and a store of UEFI variables. What the machine writes
    stays while it stops and starts; in the end nothing is left.

    Raises:
        MachineError: There is such a file already, or what it is made from is gone.
        MissingProgramError: qemu-img is not installed.
        ProgramError: qemu-img failed.
    """
    with ExitStack() as stack:
        if boot.firmware is not None:
            stack.enter_context(open_store(boot.firmware))
        if boot.base is not None and boot.disks:
            overlay = await create_overlay(
                Path(boot.base), Path(boot.disks[0]), base_format="qcow2"
            )
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
