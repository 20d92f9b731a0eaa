"""Flat copies of disks: what Proxmox takes as an upload has no file behind it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import quote

import trio

from netlab import process
from netlab.proxmox.target import Source

_CHUNK = 4 << 20


@asynccontextmanager
async def open_flat(source: Source, target: Path) -> AsyncGenerator[str]:
    """Make a flat copy of a disk, for the block's length; yield its SHA-256 in hexadecimal.

    Args:
        source: The disk, which does not change meanwhile.
        target: The copy: qcow2, or raw if that is what it is called.

    Raises:
        ProgramError: The disk cannot be read, or the copy not be written.
    """
    kind = "raw" if target.suffix == ".raw" else "qcow2"
    with _removed(target):
        words = ["qemu-img", "convert", "-f", source.format, "-O", kind, _origin(source)]
        await process.run([*words, _absolute(target)])
        yield await trio.to_thread.run_sync(_digest, target)


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
