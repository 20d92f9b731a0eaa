"""From the greeting of an NBD server to an export (proto.md, "Handshake phase").

:func:`negotiate` is a generator of steps: it yields bytes that are to be sent, or the number of
bytes that it wants to be given next, and returns what was agreed on. Whoever runs it does the I/O.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct
from typing import TypeVar

from netlab.errors import NBDError
from netlab.nbd.protocol import STRING_LIMIT

Result = TypeVar("Result")
Steps = Generator[bytes | int, bytes, Result]

GREETING_MAGIC = b"NBDMAGIC"
OPTION_MAGIC = b"IHAVEOPT"
OPTION_REPLY_MAGIC = 0x3E889045565A9
ALLOCATION = b"base:allocation"

PAYLOAD_LIMIT = STRING_LIMIT + 64
"""Bytes of the longest payload of an option's reply: a string and a few numbers."""

REPLY_LIMIT = 64
"""Replies to one option; a server that sends more would keep us for ever."""

SIZE_LIMIT = 2**63 - 1
"""Bytes of the largest export: what an offset of Linux can say."""

_FIXED_NEWSTYLE = 1
_NO_ZEROES = 2
_PADDING = 124
_ERROR_BIT = 1 << 31

_GREETING = Struct(">8s8sH")
_OPTION = Struct(">8sII")
_OPTION_REPLY = Struct(">QIII")
_EXPORT = Struct(">QH")
_BLOCK_SIZES = Struct(">III")


class Option(IntEnum):
    """What a client negotiates ("Option types")."""

    EXPORT_NAME = 1
    GO = 7
    STRUCTURED_REPLY = 8
    SET_META_CONTEXT = 10


class Reply(IntEnum):
    """What a server answers ("Option reply types")."""

    ACK = 1
    INFO = 3
    META_CONTEXT = 4
    UNSUPPORTED = _ERROR_BIT + 1
    POLICY = _ERROR_BIT + 2
    INVALID = _ERROR_BIT + 3
    PLATFORM = _ERROR_BIT + 4
    TLS_REQUIRED = _ERROR_BIT + 5
    UNKNOWN = _ERROR_BIT + 6
    SHUTDOWN = _ERROR_BIT + 7
    BLOCK_SIZE_REQUIRED = _ERROR_BIT + 8
    TOO_BIG = _ERROR_BIT + 9


class Info(IntEnum):
    """What a server tells of an export ("NBD_INFO_*")."""

    EXPORT = 0
    BLOCK_SIZE = 3


_REFUSALS = {
    Reply.UNSUPPORTED: "it does not know the request",
    Reply.POLICY: "its configuration forbids it",
    Reply.INVALID: "it takes the request for invalid",
    Reply.PLATFORM: "its system cannot do it",
    Reply.TLS_REQUIRED: "it wants TLS",
    Reply.UNKNOWN: "it has no export of that name",
    Reply.SHUTDOWN: "it is shutting down",
    Reply.BLOCK_SIZE_REQUIRED: "it wants block sizes to be negotiated",
    Reply.TOO_BIG: "it takes the request for too big",
}


@dataclass(frozen=True, slots=True)
class BlockSize:
    """Which requests an export takes, in bytes ("Block size constraints").

    The defaults are those of a server that says nothing.

    Attributes:
        minimum: What offsets and lengths are multiples of.
        preferred: Below which requests are slow.
        maximum: The longest request.
    """

    minimum: int = 512
    preferred: int = 4096
    maximum: int = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Export:
    """What was agreed on.

    Attributes:
        size: Bytes of the disk.
        block_size: Which requests it takes.
        structured: Whether replies are structured.
        context: The number of ``base:allocation``; None when the server does not offer it.
    """

    size: int
    block_size: BlockSize
    structured: bool
    context: int | None


@dataclass(slots=True)
class _Answer:
    """All replies to one option; `refusal` is that of the error among them, or None."""

    replies: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    refusal: int | None = None

    def of_kind(self, kind: Reply) -> list[bytes]:
        """Return the payloads of the replies of one kind."""
        return [payload for each, payload in self.replies if each == kind]


def negotiate(name: str) -> Steps[Export]:
    """Ask for an export, with structured replies and block status where the server has them.

    Args:
        name: The export's name.

    Raises:
        NBDError: The server refuses it, or does not speak the protocol.
    """
    encoded = name.encode(errors="surrogateescape")
    if len(encoded) > STRING_LIMIT:
        raise NBDError(f"a name of {len(encoded)} bytes is longer than NBD's {STRING_LIMIT}")
    flags = _parse_greeting((yield _GREETING.size))
    # A client repeats what it understands, and is disconnected for what was not offered.
    yield (flags & (_FIXED_NEWSTYLE | _NO_ZEROES)).to_bytes(4, "big")
    answer = yield from _ask(Option.STRUCTURED_REPLY)
    structured = answer.refusal is None
    context = (yield from _ask_for_allocation(encoded)) if structured else None
    answer = yield from _ask(Option.GO, _build_go(encoded))
    if answer.refusal is None:
        size, block_size = _parse_infos(answer.of_kind(Reply.INFO))
    elif answer.refusal == Reply.UNSUPPORTED:
        padding = 0 if flags & _NO_ZEROES else _PADDING
        size, block_size = (yield from _ask_by_name(encoded, padding)), BlockSize()
    else:
        raise _refused(answer)
    if size > SIZE_LIMIT:
        raise NBDError(f"the server says that the disk has {size} bytes")
    return Export(size, block_size, structured, context)


def _parse_greeting(data: bytes) -> int:
    magic, option_magic, flags = _GREETING.unpack(data)
    if magic != GREETING_MAGIC:
        raise NBDError("what answers is not an NBD server")
    if option_magic != OPTION_MAGIC or not flags & _FIXED_NEWSTYLE:
        raise NBDError("the server is too old: it does not know the fixed newstyle negotiation")
    return flags


def _build_option(option: Option, data: bytes = b"") -> bytes:
    return _OPTION.pack(OPTION_MAGIC, option, len(data)) + data


def _ask(option: Option, data: bytes = b"") -> Steps[_Answer]:
    """Negotiate one option: replies come until one of them is ACK or an error."""
    yield _build_option(option, data)
    answer = _Answer()
    for _ in range(REPLY_LIMIT):
        magic, about, kind, length = _OPTION_REPLY.unpack((yield _OPTION_REPLY.size))
        if magic != OPTION_REPLY_MAGIC or about != option:
            raise NBDError("the server sent what is not a reply to the option negotiated")
        if length > PAYLOAD_LIMIT:
            raise NBDError(f"the server sent a reply of {length} bytes to an option")
        payload = (yield length) if length else b""
        if kind == Reply.ACK:
            return answer
        answer.replies.append((kind, payload))
        if kind & _ERROR_BIT:
            answer.refusal = kind
            return answer
    raise NBDError(f"the server sent more than {REPLY_LIMIT} replies to one option")


def _ask_for_allocation(name: bytes) -> Steps[int | None]:
    """Select the metadata context; return the number that stands for it, or None."""
    data = b"".join((_counted(name), (1).to_bytes(4, "big"), _counted(ALLOCATION)))
    answer = yield from _ask(Option.SET_META_CONTEXT, data)
    for payload in answer.of_kind(Reply.META_CONTEXT):
        if payload[4:] != ALLOCATION:
            raise NBDError("the server selected a metadata context that was not asked for")
        return int.from_bytes(payload[:4], "big")
    return None


def _ask_by_name(name: bytes, padding: int) -> Steps[int]:
    """Take an export as old servers offer it; they close the connection when they refuse it."""
    yield _build_option(Option.EXPORT_NAME, name)
    size, _flags = _EXPORT.unpack_from((yield _EXPORT.size + padding))
    return size


def _build_go(name: bytes) -> bytes:
    # Who asks for block sizes promises to keep them.
    return b"".join((_counted(name), (1).to_bytes(2, "big"), Info.BLOCK_SIZE.to_bytes(2, "big")))


def _counted(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _parse_infos(payloads: list[bytes]) -> tuple[int, BlockSize]:
    size: int | None = None
    block_size = BlockSize()
    for payload in payloads:
        kind, rest = int.from_bytes(payload[:2], "big"), payload[2:]
        if kind == Info.EXPORT and len(rest) == _EXPORT.size:
            size, _flags = _EXPORT.unpack(rest)
        elif kind == Info.BLOCK_SIZE and len(rest) == _BLOCK_SIZES.size:
            block_size = _check_sizes(*_BLOCK_SIZES.unpack(rest))
    if size is None:
        raise NBDError("the server did not say how large the disk is")
    return size, block_size


def _check_sizes(minimum: int, preferred: int, maximum: int) -> BlockSize:
    sane = (
        0 < minimum <= 2**16
        and minimum & (minimum - 1) == 0
        and preferred & (preferred - 1) == 0
        and minimum <= preferred <= maximum
    )
    if not sane:
        raise NBDError(
            f"the server says block sizes that cannot be: {minimum}, {preferred}, {maximum}"
        )
    return BlockSize(minimum, preferred, maximum // minimum * minimum)


def _refused(answer: _Answer) -> NBDError:
    refusal = answer.refusal or 0
    reason = _REFUSALS.get(Reply(refusal)) if refusal in set(Reply) else None
    words = answer.replies[-1][1].decode(errors="replace")
    return NBDError(
        f"the server refuses it: {reason or f'refusal {refusal:#x}'}", evidence=words or None
    )
