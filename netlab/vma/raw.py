"""A descriptor's bytes, before anything is decompressed."""

from __future__ import annotations

import errno
import io
import os
import select
import stat
from typing import TYPE_CHECKING

from netlab.vma.blocking import Blocking, explain

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Raw(io.RawIOBase):
    """A descriptor's bytes; read in a thread.

    Places are counted from a file's own: standard input may be one of which something was read.

    Attributes:
        position: Bytes that have been read.
        seekable_size: Bytes of the file, or None when it can be read once and in order only.
    """

    def __init__(self, name: str, descriptor: int, blocking: Blocking) -> None:
        super().__init__()
        self.position = 0
        self.seekable_size: int | None = None
        self._name = name
        self._descriptor = descriptor
        self._blocking = blocking
        mode = os.fstat(descriptor).st_mode
        self._start = 0
        if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
            self._start = os.lseek(descriptor, 0, os.SEEK_CUR)
            self.seekable_size = max(0, os.lseek(descriptor, 0, os.SEEK_END) - self._start)

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def close(self) -> None:
        """Do nothing: what reads us may close us, and the descriptor is not ours."""

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read what there is, and wait for it on a pipe."""
        if self.seekable_size is not None:
            count = self.read_at(self.position, buffer)
        else:
            with explain(self._name):
                self._blocking.wait(self._descriptor, select.POLLIN)
                count = os.readv(self._descriptor, [buffer])
        self.position += count
        return count

    def read_at(self, offset: int, buffer: WriteableBuffer) -> int:
        """Read from a place of a file."""
        with explain(self._name):
            return os.preadv(self._descriptor, [buffer], self._start + offset)

    def find_data(self, offset: int) -> int:
        """Return where a file has data next, at a place or behind it (lseek(2), SEEK_DATA)."""
        try:
            return os.lseek(self._descriptor, self._start + offset, os.SEEK_DATA) - self._start
        except OSError as error:
            if error.errno == errno.ENXIO and self.seekable_size is not None:
                return max(offset, self.seekable_size)  # holes up to the end
            # A block device, or a file system that does not know of holes.
            return offset
