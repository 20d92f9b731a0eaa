"""Flat copies of disks: what Proxmox takes as an upload has no file behind it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import quote

import trio

from netlab import process
from netlab.proxmox.target import Source
from netlab.scopes import open_background

_CHUNK = 4 << 20
_PERCENT = re.compile(rb"\(([0-9.]+)/100%\)")


@asynccontextmanager
async def open_flat(
    source: Source, target: Path, *, tell: Callable[[int], None]
) -> AsyncGenerator[str]:
    """Make a flat copy of a disk, for the block's length; yield its SHA-256 in hexadecimal.

    Args:
        source: The disk, which does not change meanwhile.
        target: The copy: qcow2, or raw if that is what it is called.
        tell: Told how many bytes of the disk are copied.

    Raises:
        ProgramError: The disk cannot be read, or the copy not be written.
    """
    kind = "raw" if target.suffix == ".raw" else "qcow2"
    with _removed(target):
        words = ["qemu-img", "convert", "-p", "-f", source.format, "-O", kind, _origin(source)]
        await _convert([*words, _absolute(target)], lambda part: tell(int(part * source.size)))
        yield await trio.to_thread.run_sync(_digest, target)


async def _convert(words: Sequence[str], tell: Callable[[float], None]) -> None:
    """Run a program that says how far it is, and tell that as a part of the whole."""
    reading, writing = os.pipe()
    async with trio.lowlevel.FdStream(reading) as said, open_background() as nursery:
        nursery.start_soon(_follow, said, tell)
        try:
            await process.run(words, stdout=writing)
        finally:
            os.close(writing)


async def _follow(said: trio.lowlevel.FdStream, tell: Callable[[float], None]) -> None:
    """Read what ``qemu-img -p`` prints, such as ``    (12.50/100%)`` and a carriage return."""
    async for chunk in said:
        # Cut in two by a read, a figure is told by the next one.
        if found := _PERCENT.findall(chunk):
            tell(float(found[-1]) / 100)


@contextmanager
def _removed(path: Path) -> Generator[None]:
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _absolute(path: Path) -> str:
    """Return a path that qemu-img takes for one, and not for a protocol or an option."""
    return str(path.absolute())


def _origin(source: Source) -> str:
    path = _absolute(source.path)
    if source.export:
        return f"nbd+unix:///{quote(source.export)}?socket={quote(path)}"
    return path


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            trio.from_thread.check_cancelled()
            digest.update(chunk)
    return digest.hexdigest()
