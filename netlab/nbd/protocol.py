"""Messages of NBD's transmission phase as bytes and values (proto.md, "Transmission phase").

All numbers are big-endian. Structured replies come in chunks, of which the last has the flag DONE.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby
from struct import Struct
from typing import Literal

from netlab.errors import NBDError

REQUEST_MAGIC = 0x25609513
SIMPLE_REPLY_MAGIC = 0x67446698
STRUCTURED_REPLY_MAGIC = 0x668E33EF

STRING_LIMIT = 4096
"""Bytes of the longest string ("Terminology and conventions")."""

STATUS_LIMIT = 4 + 8 * 2**20
"""Bytes of the longest block status believed: 2^20 extents, as nbdkit sends; QEMU sends 2^17."""

SIMPLE_HEAD_SIZE = 16
CHUNK_HEAD_SIZE = 20

_REQUEST = Struct(">IHHQQI")
_SIMPLE_HEAD = Struct(">IIQ")
_CHUNK_HEAD = Struct(">IHHQI")
_OFFSET = Struct(">Q")
_HOLE = Struct(">QI")
_ERROR = Struct(">IH")
_CONTEXT = Struct(">I")
_DESCRIPTOR = Struct(">II")

_DONE = 1
_ERROR_BIT = 1 << 15
_STATE_ZERO = 1 << 1

_ERRORS = {
    1: "operation not permitted (EPERM)",
    5: "input/output error (EIO)",
    12: "out of memory (ENOMEM)",
    22: "invalid argument (EINVAL)",
    28: "no space left (ENOSPC)",
    75: "too large for one reply (EOVERFLOW)",
    95: "not supported (ENOTSUP)",
    108: "the server is shutting down (ESHUTDOWN)",
}
"""The numbers that proto.md gives to errors, on every system ("Error values")."""


class Command(IntEnum):
    """What a client asks for ("Request types")."""

    READ = 0
    DISCONNECT = 2
    BLOCK_STATUS = 7


class Chunk(IntEnum):
    """What a chunk of a structured reply holds ("Structured reply types")."""

    NONE = 0
    OFFSET_DATA = 1
    OFFSET_HOLE = 2
    BLOCK_STATUS = 5
    ERROR = _ERROR_BIT + 1
    ERROR_OFFSET = _ERROR_BIT + 2


@dataclass(frozen=True, slots=True)
class SimpleHead:
    """The head of a simple reply; the data follow when it answers a read and there is no error.

    Attributes:
        cookie: That of the request.
        errno: 0 when there is no error.
    """

    cookie: int
    errno: int


@dataclass(frozen=True, slots=True)
class ChunkHead:
    """The head of a chunk.

    Attributes:
        cookie: That of the request.
        kind: A :class:`Chunk`, or what a server made up.
        length: Bytes of payload that follow.
        done: Whether no other chunk of this reply follows.
    """

    cookie: int
    kind: int
    length: int
    done: bool

    @property
    def is_error(self) -> bool:
        """Whether the kind is one of errors, known or not: bit 15 says so."""
        return bool(self.kind & _ERROR_BIT)


Kind = Literal["data", "zero"]


@dataclass(frozen=True, slots=True)
class Extent:
    """A part of a disk.

    Attributes:
        offset: Its first byte.
        length: Its bytes, at least 1.
        kind: ``zero`` when all of it is known to read as zeros, else ``data``.
    """

    offset: int
    length: int
    kind: Kind


def describe_errno(number: int) -> str:
    """Say an error of the protocol in words."""
    return _ERRORS.get(number, f"error {number}")


def build_request(command: Command, *, cookie: int, offset: int = 0, length: int = 0) -> bytes:
    """Return a request without flags and payload ("Request message")."""
    return _REQUEST.pack(REQUEST_MAGIC, 0, command, cookie, offset, length)


def measure_head(start: bytes, *, structured: bool) -> int:
    """Return the bytes of a reply's head.

    Args:
        start: Its first :data:`SIMPLE_HEAD_SIZE` bytes.
        structured: Whether structured replies have been negotiated.

    Raises:
        NBDError: It is not the head of a reply, or of one that has not been negotiated.
    """
    magic = int.from_bytes(start[:4], "big")
    if magic == SIMPLE_REPLY_MAGIC:
        return SIMPLE_HEAD_SIZE
    if magic == STRUCTURED_REPLY_MAGIC and structured:
        return CHUNK_HEAD_SIZE
    raise NBDError(f"the server sent what is not a reply: it begins with {magic:#010x}")


def parse_head(head: bytes) -> SimpleHead | ChunkHead:
    """Return what a head of the size that :func:`measure_head` said means."""
    if len(head) == SIMPLE_HEAD_SIZE:
        _, errno, cookie = _SIMPLE_HEAD.unpack(head)
        return SimpleHead(cookie, errno)
    _, flags, kind, cookie, length = _CHUNK_HEAD.unpack(head)
    return ChunkHead(cookie, kind, length, bool(flags & _DONE))


def check_payload(head: ChunkHead) -> None:
    """Refuse a chunk whose length its kind does not allow, before it is read.

    Raises:
        NBDError: The server lies about it, or sends a kind of chunk that nobody asked for.
    """
    exact = {Chunk.NONE: 0, Chunk.OFFSET_HOLE: _HOLE.size}
    if head.is_error:
        smallest, largest = _ERROR.size, _ERROR.size + STRING_LIMIT + _OFFSET.size
    elif head.kind in exact:
        smallest = largest = exact[Chunk(head.kind)]
    elif head.kind == Chunk.OFFSET_DATA:
        smallest, largest = _OFFSET.size + 1, 2**32 - 1
    elif head.kind == Chunk.BLOCK_STATUS:
        smallest, largest = _CONTEXT.size + _DESCRIPTOR.size, STATUS_LIMIT
    else:
        raise NBDError(f"the server sent a chunk of the unknown type {head.kind}")
    if not smallest <= head.length <= largest:
        raise NBDError(
            f"the server sent a chunk of type {head.kind} with {head.length} bytes of payload"
        )


def parse_offset(payload: bytes) -> int:
    """Return the offset that the data of a chunk begin with."""
    return int.from_bytes(payload[: _OFFSET.size], "big")


def parse_hole(payload: bytes) -> tuple[int, int]:
    """Return the offset and the length of a hole."""
    offset, length = _HOLE.unpack(payload)
    return offset, length


def parse_error(payload: bytes) -> tuple[int, str]:
    """Return an error's number and the server's words, which may be none.

    Raises:
        NBDError: The words are longer than the chunk, or the number says that there is no error.
    """
    errno, length = _ERROR.unpack_from(payload)
    words = payload[_ERROR.size : _ERROR.size + length]
    if errno == 0 or len(words) != length:
        raise NBDError("the server sent an error chunk that is none")
    return errno, words.decode(errors="replace")


def check_status(payload: bytes, *, context: int) -> None:
    """Refuse a block status that cannot be one; its payload has at least one extent.

    Args:
        payload: That of the chunk.
        context: The number that the server gave to ``base:allocation``.

    Raises:
        NBDError: It answers another question, or holds empty extents.
    """
    (number,) = _CONTEXT.unpack_from(payload)
    if number != context or (len(payload) - _CONTEXT.size) % _DESCRIPTOR.size:
        raise NBDError("the server sent a block status that was not asked for")
    if not all(size for size, _ in _iterate_descriptors(payload)):
        raise NBDError("the server sent an empty extent")


def iterate_status(payload: bytes, *, offset: int, length: int) -> Generator[Extent]:
    """Yield what a block status says of ``base:allocation``, neighbours of one kind as one.

    Only the bit ZERO says that a part reads as zeros: a HOLE is a matter of space alone
    ("Metadata context: base:allocation"). What reaches beyond what was asked about is cut off.

    Args:
        payload: That of a chunk that :func:`check_status` let pass.
        offset: The first byte that was asked about.
        length: How many were.
    """
    position, end = offset, offset + length
    pairs = _iterate_descriptors(payload)
    for zero, group in groupby(pairs, lambda pair: bool(pair[1] & _STATE_ZERO)):
        stop = min(position + sum(size for size, _ in group), end)
        if stop == position:
            return
        yield Extent(position, stop - position, "zero" if zero else "data")
        position = stop


def _iterate_descriptors(payload: bytes) -> Iterator[tuple[int, int]]:
    # One at a time: as objects, a million extents would take a hundred times their bytes.
    return _DESCRIPTOR.iter_unpack(memoryview(payload)[_CONTEXT.size :])
