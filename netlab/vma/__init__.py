"""Proxmox backup archives (VMA): a library on its own, with no knowledge of labs.

The road of an archive, in the order of the modules::

    format/         the format without I/O: every rule of it
    blocking.py     work that waits, in threads that a cancellation wakes
    source.py       what disks are read from: sparse files, block devices, anything that can say
                    where its data are
    progress.py     how far it is
    sink.py         where an archive is written: a file that appears when it is whole, a pipe
    compression.py  what stands between: by suffix
    writer.py       create_archive
    raw.py          a descriptor's bytes
    unpacking.py    decompressed by suffix; frames.py has where those of zstd end
    stream.py       an archive's bytes from a file, a pipe or a program, and a search in them
    reader.py       open_archive: what is in it
    batches.py      extents in order, as many at once as a buffer takes
    extraction.py   onto sparse files in a folder that appears when it is whole
    index.py, disk.py   one disk at any place, without extracting
    verification.py everything that is wrong

::

    async with open_archive("vzdump-qemu-100-2026_01_01-00_00_00.vma.zst") as archive:
        print(archive.configs["qemu-server.conf"].decode())
        await archive.extract(Path("disks"))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlab.vma.compression import Compression
    from netlab.vma.disk import ArchivedDisk
    from netlab.vma.format.header import Config, Device, Header
    from netlab.vma.format.problems import Problem
    from netlab.vma.reader import Archive, open_archive
    from netlab.vma.source import DiskSource, FileSource, Range, ThreadSource, open_disk
    from netlab.vma.verification import verify_archive
    from netlab.vma.writer import Contents, create_archive

__all__ = [
    "Archive",
    "ArchivedDisk",
    "Compression",
    "Config",
    "Contents",
    "Device",
    "DiskSource",
    "FileSource",
    "Header",
    "Problem",
    "Range",
    "ThreadSource",
    "create_archive",
    "open_archive",
    "open_disk",
    "verify_archive",
]

# Imported on demand: the format can be used without Trio.
_HOMES = {
    "Archive": "reader",
    "ArchivedDisk": "disk",
    "Compression": "compression",
    "Config": "format.header",
    "Contents": "writer",
    "Device": "format.header",
    "DiskSource": "source",
    "FileSource": "source",
    "Header": "format.header",
    "Problem": "format.problems",
    "Range": "source",
    "ThreadSource": "source",
    "create_archive": "writer",
    "open_archive": "reader",
    "open_disk": "source",
    "verify_archive": "verification",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"netlab.vma.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
