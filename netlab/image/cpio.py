"""The cpio archive of an initial RAM disk: format "newc", the same bytes for the same entries.

Source: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel. Owner is always
root, times are always 0, inode numbers follow the order of the paths.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

from netlab.errors import ImageError

MAX_FILE = (1 << 32) - 1
"""Bytes; the format writes a size in eight hexadecimal digits."""

MAX_PATH = 4095
"""Bytes; the kernel's PATH_MAX without the closing zero. A longer name makes it stop unpacking."""

_END = "TRAILER!!!"
"""The name of the entry that ends an archive; a file of that name would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file, folder, symbolic link or device.

    Attributes:
        path: Relative to the root, without ``.`` and ``..`` parts; ``.`` alone is the root.
        mode: Type and permission bits.
        data: A file's content or a symbolic link's target.
        device: Major and minor number of a device.
    """

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def write(entries: Iterable[Entry]) -> bytes:
    """Return the archive.

    Folders come before what is in them, because paths are sorted by their parts.

    Args:
        entries: In any order; every folder must be there.

    Raises:
        ImageError: Two entries have the same path, a path is none, its folder is missing, or
            something is too large for the format.
    """
    ordered = sorted(entries, key=lambda entry: _parts(entry.path))
    folders: set[tuple[str, ...]] = {()}
    seen: set[tuple[str, ...]] = set()
    archive = bytearray()
    for number, entry in enumerate(ordered, start=1):
        parts = _parts(entry.path)
        if parts in seen:
            raise ImageError(f"two entries for /{entry.path} in one image")
        if parts and parts[:-1] not in folders:
            raise ImageError(f"/{entry.path} has no folder to be in")
        seen.add(parts)
        if stat.S_ISDIR(entry.mode):
            folders.add(parts)
        _append(archive, entry, number)
    _append(archive, Entry(path=_END, mode=0), 0)
    return bytes(archive)


def _parts(path: str) -> tuple[str, ...]:
    if path == ".":
        return ()
    parts = tuple(path.split("/"))
    if path == _END or "\0" in path or any(part in {"", ".", ".."} for part in parts):
        raise ImageError(f"not a path of an image: {path!r}")
    return parts


def _append(archive: bytearray, entry: Entry, number: int) -> None:
    name = entry.path.encode(errors="surrogateescape")
    if len(entry.data) > MAX_FILE or len(name) > MAX_PATH:
        raise ImageError(f"/{entry.path[:80]} is too large for an initial RAM disk")
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (
        number, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name) + 1, 0,
    )  # fmt: skip
    archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name + b"\0"
    archive += bytes(-len(archive) % 4)
    archive += entry.data
    archive += bytes(-len(archive) % 4)
