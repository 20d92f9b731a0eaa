"""An archive's bytes: from a file, a pipe or a program, decompressed, in bounded memory."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol, TypeVar

import trio

from netlab.errors import ArchiveError, UsageError
from netlab.vma.blocking import Blocking, explain, open_blocking, run_woken, widen
from netlab.vma.raw import Raw
from netlab.vma.sink import STANDARD
from netlab.vma.unpacking import Readable, choose_unpacker, open_lzop

_Result = TypeVar("_Result")

_CHUNK = 1 << 20


class Run(Protocol):
    """Runs a function in a thread."""

    async def __call__(
        self, function: Callable[[], _Result], /, *wakes: Callable[[], None]
    ) -> _Result:
        """Return what it returns; waking it as :func:`netlab.vma.blocking.run_woken` does."""
        ...


class Stream:
    """An archive's bytes in order. Its functions are called in a thread, by :meth:`run`.

    Attributes:
        name: What the archive is called in messages.
        position: Bytes that have been read, after decompression.
        run: Runs a function in a thread.
        random_size: Bytes of a file whose parts can be read in any order; None of what is
            compressed or a pipe.
    """

    def __init__(
        self, name: str, raw: Raw, blocking: Blocking, unpack: Callable[[Raw], Readable] | None
    ) -> None:
        self.name = name
        self.position: int = 0
        # A file is never waited for: no bell has to be rung.
        self.run: Run = blocking.run if raw.seekable_size is None else run_woken
        self.random_size = None if unpack else raw.seekable_size
        self._raw = raw
        self._unpack = unpack
        self._readable: Readable = unpack(raw) if unpack else raw
        # What a search has read, and how much of it is behind us.
        self._window = bytearray()
        self._passed: int = 0

    def rewind(self) -> None:
        """Go back to the beginning.

        Raises:
            UsageError: It is a pipe, and can be read only once.
        """
        if self.position == 0:
            return
        if self._raw.seekable_size is None:
            raise UsageError(
                f"{self.name} can be read only once", hint="write it to a file to read it again"
            )
        self._window, self._passed = bytearray(), 0
        self._raw.position = self.position = 0
        self._readable = self._unpack(self._raw) if self._unpack else self._raw

    def read_into(self, buffer: memoryview) -> int:
        """Fill a buffer; return how many bytes, fewer only at the end.

        Raises:
            ArchiveError: The compressed data are damaged.
            StorageError: It cannot be read.
        """
        filled = self._pass(len(buffer))
        buffer[:filled] = self._window[self._passed - filled : self._passed]
        filled += self._fill(buffer[filled:])
        self.position += filled
        return filled

    def _pass(self, size: int) -> int:
        """Go on by so many bytes of what a search has read; return how many there were."""
        count = min(size, len(self._window) - self._passed)
        self._passed += count
        return count

    def _fill(self, buffer: memoryview) -> int:
        filled = 0
        with self._explain():
            while filled < len(buffer):
                count = self._readable.readinto(buffer[filled:])
                if not count:
                    break
                filled += count
        return filled

    def find(self, pattern: bytes, step: int) -> bool:
        """Go on by whole steps to where a pattern is; return whether it is there before the end.

        It can be cancelled, and what is no data of a sparse file is not read.

        Args:
            pattern: Bytes; a step is not shorter.
            step: How many bytes there are between places where it may be.

        Raises:
            ArchiveError: The compressed data are damaged.
            StorageError: It cannot be read.
        """
        while True:
            trio.from_thread.check_cancelled()
            found = _find_step(self._window, self._passed, pattern, step)
            self.position += found - self._passed
            self._passed = found
            if self._window.startswith(pattern, found):
                return True
            if not self._read_on(step):
                return False

    def _read_on(self, step: int) -> bool:
        """Let the window begin here, with more than is in it; return whether there is a step."""
        rest = self._window[self._passed :]
        if self.random_size is not None:
            start = self._raw.position - len(rest)
            hole = (self._raw.find_data(start) - start) // step * step
            self._raw.position, rest = start + hole, rest[:0]
            self.position += hole
        window = rest + bytes(_CHUNK)
        count = self._fill(memoryview(window)[len(rest) :])
        del window[len(rest) + count :]
        self._window, self._passed = window, 0
        if len(self._window) >= step:
            return True
        self.position += self._pass(step)
        return False

    def read(self, size: int) -> bytes:
        """Return so many bytes, fewer only at the end; raises as :meth:`read_into` does."""
        pieces: list[bytes] = []
        while size:
            # In pieces: what was promised may not be there.
            piece = bytearray(min(size, _CHUNK))
            count = self.read_into(memoryview(piece))
            pieces.append(bytes(piece[:count]))
            size -= count
            if count < len(piece):
                break
        return b"".join(pieces)

    def skip(self, size: int, scratch: memoryview) -> int:
        """Pass over so many bytes; return how many there were, fewer only at the end.

        Args:
            size: How many.
            scratch: Is overwritten.

        Raises:
            ArchiveError: The compressed data are damaged.
            StorageError: It cannot be read.
        """
        skipped = self._pass(size)
        self.position += skipped
        if self.random_size is not None:
            rest = min(size - skipped, max(0, self.random_size - self.position))
            self._raw.position += rest
            self.position += rest
            return skipped + rest
        while skipped < size:
            part = scratch[: min(size - skipped, len(scratch))]
            count = self.read_into(part)
            skipped += count
            if count < len(part):
                break
        return skipped

    def read_at(self, offset: int, buffer: memoryview) -> int:
        """Fill a buffer from a place of a file; return how many bytes, fewer only at the end."""
        filled = 0
        while filled < len(buffer):
            count = self._raw.read_at(offset + filled, buffer[filled:])
            if not count:
                break
            filled += count
        return filled

    @contextmanager
    def _explain(self) -> Generator[None]:
        try:
            yield
        except (EOFError, OSError, ValueError, zlib.error) as error:
            message = f"byte {self.position}: the compressed data are damaged: {error}"
            raise ArchiveError(message, offset=self.position) from error


@asynccontextmanager
async def open_stream(source: str) -> AsyncGenerator[Stream]:
    """Open an archive for reading: a file, a pipe, or ``-`` for standard input.

    What is compressed is told by the name's suffix: ``.zst``, ``.gz``, ``.bz2``, ``.lzo``.

    Raises:
        StorageError: It cannot be opened.
        MissingProgramError: It is compressed by lzop, which is not installed.
    """
    name = "standard input" if source == STANDARD else source
    async with open_blocking() as blocking, _open_source(source, name) as descriptor:
        if source.endswith(".lzo"):
            async with open_lzop(name, descriptor, blocking) as raw:
                yield Stream(name, raw, blocking, None)
            return
        yield Stream(name, Raw(name, descriptor, blocking), blocking, choose_unpacker(source))


@asynccontextmanager
async def _open_source(source: str, name: str) -> AsyncGenerator[int]:
    with explain(name):
        if source == STANDARD:
            descriptor = os.dup(0)
        else:
            # A pipe that nobody writes to yet is waited for.
            descriptor = await trio.to_thread.run_sync(
                os.open, source, os.O_RDONLY | os.O_CLOEXEC, abandon_on_cancel=True
            )
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode) or os.isatty(descriptor):
            raise UsageError(f"{name}: an archive is a file or a pipe")
        if stat.S_ISFIFO(mode):
            widen(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _find_step(window: bytes | bytearray, start: int, pattern: bytes, step: int) -> int:
    """Return the first whole step from a start on where a pattern is, or else the last step."""
    # The first byte of each step: so little of much data need be looked at.
    heads = window[start::step]
    index = -1
    while (index := heads.find(pattern[:1], index + 1)) >= 0:
        if window.startswith(pattern, start + index * step):
            return start + index * step
    return start + (len(window) - start) // step * step
