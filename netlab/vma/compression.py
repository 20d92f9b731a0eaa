"""What stands between an archive and its file: by suffix, as Proxmox has it."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, cast

from netlab.errors import UsageError

_PATTERN = re.compile(r"(zstd|gzip)(?::([0-9]{1,9}))?")
_LEVELS = {"zstd": (3, 1, 19), "gzip": (6, 1, 9)}
_SUFFIXES = {".zst": "zstd", ".gz": "gzip"}
_CHUNK = 1 << 20
"""Bytes that zstd hands out at once. With less, its threads pile up more than we take, and it needs
twice the memory."""

_THREADS = 4
"""Of zstd at most."""

_JOB = 8 << 20
"""Bytes that a thread of zstd works on at most; without a bound it is up to 32 MiB."""

_MEMORY = 120 << 20
"""Bytes of its threads: an archive is written in less than 200 MiB whatever the host has."""


@dataclass(frozen=True, slots=True)
class Compression:
    """How an archive is compressed.

    Attributes:
        kind: ``zstd`` or ``gzip``.
        level: 1 to 19 of zstd, 1 to 9 of gzip. Levels of zstd above would need more than 200 MiB.
    """

    kind: str
    level: int


def parse_compression(text: str) -> Compression | None:
    """Return what ``zstd``, ``zstd:3``, ``gzip:9`` or ``none`` means.

    Raises:
        UsageError: It means nothing.
    """
    if text == "none":
        return None
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise UsageError(f"compression {text!r}: expected zstd, zstd:LEVEL, gzip:LEVEL or none")
    kind = match[1]
    default, lowest, highest = _LEVELS[kind]
    level = int(match[2]) if match[2] else default
    if not lowest <= level <= highest:
        raise UsageError(f"compression {text!r}: {kind} has levels {lowest} to {highest}")
    return Compression(kind, level)


def compression_of(path: str) -> Compression | None:
    """Return the compression that a file's name asks for.

    Raises:
        UsageError: It asks for one that is only read.
    """
    for suffix, kind in _SUFFIXES.items():
        if path.endswith(suffix):
            return Compression(kind, _LEVELS[kind][0])
    if path.endswith((".lzo", ".bz2")):
        raise UsageError(f"{path}: such archives are read, not written", hint="use .zst or .gz")
    return None


def choose_compression(path: str, text: str | None) -> Compression | None:
    """Return how a new archive is compressed: as its name says, or as asked where that is silent.

    Who reads it goes by the name alone, Proxmox too (``archive_info`` in PVE/Storage.pm).

    Raises:
        UsageError: Both say something, and not the same; or what either says is not written.
    """
    named = compression_of(path)
    if text is None:
        return named
    asked = parse_compression(text)
    names, asks = (each.kind if each else "none" for each in (named, asked))
    if names != asks and path.endswith((".vma", *_SUFFIXES)):
        raise UsageError(
            f"{path}: by its name its compression is {names}, and {asks} is asked for",
            hint="who reads it goes by the name: .vma, .vma.zst, .vma.gz",
        )
    return asked


class Compressor(Protocol):
    """Takes bytes and gives others; a step of writing."""

    def compress(self, data: bytes | memoryview) -> Iterable[bytes]:
        """Return what is ready when these bytes have been taken in."""
        ...

    def finish(self) -> Iterable[bytes]:
        """Return the rest."""
        ...


def make_compressor(compression: Compression) -> Compressor:
    """Return a compressor; the same bytes give the same bytes on every host."""
    if compression.kind == "gzip":
        return _Gzip(compression.level)
    # Imported here: a plain archive does not need it.
    from zstandard import ZstdCompressionParameters, ZstdCompressor

    # Its types say nothing of the options.
    make = cast("Callable[..., ZstdCompressionParameters]", ZstdCompressionParameters.from_level)  # pyright: ignore[reportUnknownMemberType]
    level = make(compression.level)
    # Four windows are a job by itself (ZSTDMT_computeTargetJobLog). A thread has one, another waits
    # for it, and what it makes needs as much room.
    job = min(4 << level.window_log, _JOB)
    room = _MEMORY // (level.estimated_compression_context_size() + 3 * job)
    # No thread of its own would be another code path, with other bytes; one and several are alike.
    threads = max(1, min(len(os.sched_getaffinity(0)), _THREADS, room))
    parameters = make(compression.level, threads=threads, job_size=job, write_checksum=True)
    return ZstdCompressor(compression_params=parameters).chunker(chunk_size=_CHUNK)


class _Gzip:
    def __init__(self, level: int) -> None:
        self._packer = zlib.compressobj(level, zlib.DEFLATED, 16 + zlib.MAX_WBITS)

    def compress(self, data: bytes | memoryview) -> Iterable[bytes]:
        return (self._packer.compress(data),)

    def finish(self) -> Iterable[bytes]:
        return (self._packer.flush(),)
