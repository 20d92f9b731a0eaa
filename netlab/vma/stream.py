"""An archive's bytes: from a file, a pipe or a program, decompressed, in bounded memory."""

from __future__ import annotations

import io
import os
import select
import stat
import tempfile
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

import trio

from netlab.errors import ArchiveError, UsageError, describe_status
from netlab.process import open_process
from netlab.vma.blocking import Blocking, explain, open_blocking, run_woken, widen
from netlab.vma.sink import STANDARD

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_Result = TypeVar("_Result")

_CHUNK = 1 << 20
_MAX_WINDOW = 1 << 27
"""Bytes that zstd may look back, as ``zstd -d`` has it: more is refused, not allocated."""

_SKIPPED = b"\x50\x2a\x4d\x18" + (64).to_bytes(4, "little") + bytes([0xFF]) * 64
"""A frame that is passed over; what is in it is no block, should it be taken for one."""


class Readable(Protocol):
    """Bytes in order."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Read into a buffer; return how many bytes, 0 at the end."""
        ...


class Raw(io.RawIOBase):
    """A descriptor's bytes; read in a thread.

    Attributes:
        position: Bytes that have been read.
        seekable_size: Bytes of the file, or None when it can be read once and in order only.
    """

    def __init__(self, name: str, descriptor: int, blocking: Blocking) -> None:
        super().__init__()
        self.position = 0
        self._name = name
        self._descriptor = descriptor
        self._blocking = blocking
        mode = os.fstat(descriptor).st_mode
        seekable = stat.S_ISREG(mode) or stat.S_ISBLK(mode)
        self.seekable_size = os.lseek(descriptor, 0, os.SEEK_END) if seekable else None

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
            return os.preadv(self._descriptor, [buffer], offset)


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
        self.position = 0
        # A file is never waited for: no bell has to be rung.
        self.run: Run = blocking.run if raw.seekable_size is None else run_woken
        self.random_size = None if unpack else raw.seekable_size
        self._raw = raw
        self._unpack = unpack
        self._readable: Readable = unpack(raw) if unpack else raw

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
        self._raw.position = self.position = 0
        self._readable = self._unpack(self._raw) if self._unpack else self._raw

    def read_into(self, buffer: memoryview) -> int:
        """Fill a buffer; return how many bytes, fewer only at the end.

        Raises:
            ArchiveError: The compressed data are damaged.
            StorageError: It cannot be read.
        """
        filled = 0
        with self._explain():
            while filled < len(buffer):
                count = self._readable.readinto(buffer[filled:])
                if not count:
                    break
                filled += count
        self.position += filled
        return filled

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
        if self.random_size is not None:
            size = min(size, max(0, self.random_size - self.position))
            self._raw.position += size
            self.position += size
            return size
        skipped = 0
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
            async with _open_lzop(name, descriptor, blocking) as raw:
                yield Stream(name, raw, blocking, None)
            return
        yield Stream(name, Raw(name, descriptor, blocking), blocking, _unpacker(source))


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


def _unpacker(source: str) -> Callable[[Raw], Readable] | None:
    unpackers = {".zst": _Zstd, ".gz": _open_gzip, ".bz2": _open_bzip2}
    return next((each for suffix, each in unpackers.items() if source.endswith(suffix)), None)


class _Closed(io.RawIOBase):
    """Bytes of zstd with a frame behind them that says nothing.

    The decompressor does not tell an end within a frame from one behind it. This frame it passes
    over where one can begin, and within another it is an error: a block of more than 128 KiB, or
    a checksum of something else (RFC 8878, 3.1).
    """

    def __init__(self, raw: Raw) -> None:
        super().__init__()
        self._raw = raw
        self._rest = _SKIPPED

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read what there is, and then the frame."""
        count = self._raw.readinto(buffer)
        if count:
            return count
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._rest))
        view[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


class _Zstd:
    def __init__(self, raw: Raw) -> None:
        # Imported here: a plain archive does not need it.
        from zstandard import ZstdDecompressor, ZstdError

        self._error = ZstdError
        unpacker = ZstdDecompressor(max_window_size=_MAX_WINDOW)
        self._reader: Readable = unpacker.stream_reader(
            io.BufferedReader(_Closed(raw), _CHUNK), read_size=_CHUNK, read_across_frames=True
        )

    def readinto(self, buffer: memoryview, /) -> int | None:
        try:
            return self._reader.readinto(buffer)
        except self._error as error:
            raise ValueError(str(error)) from error


def _open_gzip(raw: Raw) -> Readable:
    import gzip

    return gzip.GzipFile(fileobj=io.BufferedReader(raw, _CHUNK), mode="rb")


def _open_bzip2(raw: Raw) -> Readable:
    import bz2

    return bz2.BZ2File(io.BufferedReader(raw, _CHUNK))


class _Program(Raw):
    """What a program prints; its end is only good when the program says so."""

    def __init__(
        self, name: str, descriptor: int, blocking: Blocking, check: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(name, descriptor, blocking)
        self._check = check

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        count = super().readinto(buffer)
        if count == 0:
            trio.from_thread.run(self._check)
        return count


@asynccontextmanager
async def _open_lzop(name: str, descriptor: int, blocking: Blocking) -> AsyncGenerator[Raw]:
    """Read through lzop: no library of its format is kept."""
    output, end = os.pipe2(os.O_CLOEXEC)
    with (
        os.fdopen(output, "rb", buffering=0),
        os.fdopen(end, "wb", buffering=0) as theirs,
        tempfile.TemporaryFile() as errors,
    ):
        async with open_process(
            ("lzop", "-dc"), stdin=descriptor, stdout=end, stderr=errors.fileno()
        ) as process:
            # The end of its output is seen when nobody else can write there.
            theirs.close()
            check = partial(_check_program, process, errors)
            yield _Program(name, output, blocking, check)


async def _check_program(process: trio.Process, errors: BinaryIO) -> None:
    status = await process.wait()
    if status != 0:
        errors.seek(0)
        said = errors.read(1000).decode(errors="replace").strip()
        raise ArchiveError(f"lzop cannot decompress it: {said or describe_status(status)}")
