"""What disks are read from."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import trio

from netlab.errors import StorageError, UsageError
from netlab.vma.blocking import explain

_SHORTER = "it became shorter while it was read"

_RANGES = 1024
"""Ranges that are looked for in one turn of a thread."""


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a disk: bytes from its beginning, and how many."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.length


Span = tuple[int, memoryview]
"""A place on a disk, in bytes from its beginning, and the buffer for what is there."""


class DiskSource(Protocol):
    """Something that a disk can be read from, in any order and more than once.

    What it holds must not change meanwhile.
    """

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def data_ranges(self) -> AsyncGenerator[Range]:
        """Yield where data may be, in ascending order and without overlap; the rest is zeros.

        A source that does not know yields one range, all of it.
        """
        ...

    async def read(self, *spans: Span) -> None:
        """Fill buffers with what is at their places; none reaches behind the end.

        Raises:
            NetlabError: It cannot be read.
        """
        ...


@runtime_checkable
class ThreadSource(DiskSource, Protocol):
    """A source that a thread reads by itself, without a turn of Trio's for each part."""

    def read_in_thread(self, *spans: Span) -> None:
        """Fill buffers as :meth:`DiskSource.read` does, in the thread that calls.

        Raises:
            NetlabError: It cannot be read.
        """
        ...


class FileSource:
    """A raw image or a block device, whose holes are not read.

    Attributes:
        size: Bytes.
        path: The image or the device.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self.size = os.lseek(descriptor, 0, os.SEEK_END)

    async def data_ranges(self) -> AsyncGenerator[Range]:
        """Yield where the file has data, as its file system says (lseek(2), SEEK_DATA)."""
        offset = 0
        while offset < self.size:
            ranges, offset = await trio.to_thread.run_sync(self._find_ranges, offset)
            for each in ranges:
                yield each

    async def read(self, *spans: Span) -> None:
        """Fill buffers with what is at their places.

        Raises:
            StorageError: It cannot be read, or is shorter than it was.
        """
        await trio.to_thread.run_sync(self.read_in_thread, *spans)

    def read_in_thread(self, *spans: Span) -> None:
        """Fill buffers with what is at their places, in the thread that calls.

        Raises:
            StorageError: It cannot be read, or is shorter than it was.
        """
        for offset, buffer in spans:
            self._read_span(offset, buffer)

    def _find_ranges(self, offset: int) -> tuple[list[Range], int]:
        """Return ranges from a place on, and where to go on."""
        ranges: list[Range] = []
        with explain(self.path):
            while offset < self.size and len(ranges) < _RANGES:
                found = self._find_range(offset)
                if found is None:
                    return ranges, self.size
                ranges.append(found)
                offset = found.end
        return ranges, offset

    def _find_range(self, offset: int) -> Range | None:
        try:
            start = os.lseek(self._descriptor, offset, os.SEEK_DATA)
            end = os.lseek(self._descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                if os.lseek(self._descriptor, 0, os.SEEK_END) < self.size:
                    raise StorageError(self.path, errno.EIO, _SHORTER) from error
                return None  # holes up to the end
            if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
                raise
            # A block device, or a file system that does not know of holes.
            start, end = offset, self.size
        end = min(end, self.size)
        return Range(start, end - start) if start < end else None

    def _read_span(self, offset: int, buffer: memoryview) -> None:
        while buffer:
            with explain(self.path):
                count = os.preadv(self._descriptor, [buffer], offset)
            if count == 0:
                raise StorageError(self.path, errno.EIO, _SHORTER)
            buffer = buffer[count:]
            offset += count


@asynccontextmanager
async def open_disk(path: str | Path) -> AsyncGenerator[FileSource]:
    """Open a raw image or a block device as the source of a disk.

    Raises:
        StorageError: It cannot be opened.
        UsageError: It is neither a file nor a block device.
    """
    name = os.fspath(path)
    with explain(name):
        # Without O_NONBLOCK a pipe would wait here for somebody who writes to it.
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise UsageError(f"{name}: a disk is a raw image or a block device")
        with explain(name):
            source = FileSource(name, descriptor)
        yield source
    finally:
        os.close(descriptor)
