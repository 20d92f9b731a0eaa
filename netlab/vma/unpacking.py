"""What decompresses an archive, in bounded memory, and makes sure that nothing is left over."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Protocol

import trio

from netlab.errors import describe_status
from netlab.process import open_process
from netlab.vma.blocking import Blocking
from netlab.vma.frames import Frames
from netlab.vma.raw import Raw

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK = 1 << 20
_MAX_WINDOW = 1 << 27
"""Bytes that zstd may look back, as ``zstd -d`` has it: more is refused, not allocated."""

_EARLY = "the file ends too early"
_NO_WORDS = "Inappropriate ioctl for device"
"""What lzop says of a file that ends too early."""


class Readable(Protocol):
    """Bytes in order."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Read into a buffer; return how many bytes, 0 at the end."""
        ...


def choose_unpacker(source: str) -> Callable[[Raw], Readable] | None:
    """Return what decompresses a file of such a name; None of a plain one."""
    unpackers = {".zst": _Zstd, ".gz": _open_gzip, ".bz2": _Bzip2}
    return next((each for suffix, each in unpackers.items() if source.endswith(suffix)), None)


class _Framed(io.RawIOBase):
    """Frames of zstd, as far as there are any."""

    def __init__(self, raw: Raw, frames: Frames) -> None:
        super().__init__()
        self._raw = raw
        self._frames = frames

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read what there is of frames."""
        # Of much that becomes nothing, this is the place to hear of a cancellation.
        trio.from_thread.check_cancelled()
        count = self._raw.readinto(buffer)
        return self._frames.feed(memoryview(buffer).cast("B")[:count])


class _Zstd:
    def __init__(self, raw: Raw) -> None:
        # Imported here: a plain archive does not need it.
        from zstandard import ZstdDecompressor, ZstdError

        self._error = ZstdError
        self._frames = Frames()
        unpacker = ZstdDecompressor(max_window_size=_MAX_WINDOW)
        self._reader: Readable = unpacker.stream_reader(
            io.BufferedReader(_Framed(raw, self._frames), _CHUNK),
            read_size=_CHUNK,
            read_across_frames=True,
        )

    def readinto(self, buffer: memoryview, /) -> int | None:
        try:
            count = self._reader.readinto(buffer)
        except self._error as error:
            raise ValueError(str(error)) from error
        if not count and self._frames.mistake:
            # Only now: all that comes before has been handed out.
            raise ValueError(self._frames.mistake)
        return count


def _open_gzip(raw: Raw) -> Readable:
    import gzip

    return gzip.GzipFile(fileobj=io.BufferedReader(raw, _CHUNK), mode="rb")


class _Bzip2:
    """Streams of bzip2, one behind the other; ``bz2.BZ2File`` ignores what is none."""

    def __init__(self, raw: Raw) -> None:
        # Imported here: a plain archive does not need it.
        from bz2 import BZ2Decompressor

        self._open = BZ2Decompressor
        self._packed = io.BufferedReader(raw, _CHUNK)
        self._stream = BZ2Decompressor()
        self._is_new = True

    def readinto(self, buffer: memoryview, /) -> int:
        while buffer:
            packed = b""
            if self._stream.eof:
                packed = self._stream.unused_data
                self._stream, self._is_new = self._open(), True
            if not packed and self._stream.needs_input:
                packed = self._packed.read1(_CHUNK)
                if not packed and self._is_new:
                    return 0
                if not packed:
                    raise EOFError(_EARLY)
            self._is_new = False
            data = self._stream.decompress(packed, len(buffer))
            buffer[: len(data)] = data
            if data:
                return len(data)
        return 0


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
async def open_lzop(name: str, descriptor: int, blocking: Blocking) -> AsyncGenerator[Raw]:
    """Read through lzop: no library of its format is kept.

    Raises:
        MissingProgramError: It is not installed.
    """
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
    if status == 0:
        return
    errors.seek(0)
    said = " ".join(errors.read(1000).decode(errors="replace").split())
    if _NO_WORDS in said:
        # It says the last error of the kernel's, and there was none.
        said = f"lzop: {_EARLY}"
    raise ValueError(said or f"lzop {describe_status(status)}")
