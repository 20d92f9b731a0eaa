"""The pieces of one reply, put together and held against what was asked; no I/O.

A reply to a read may come in pieces, in any order, data and holes; what counts as an answer is
every byte exactly once (proto.md, "Structured reply types").
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect
from typing import final

from netlab.errors import NBDError
from netlab.nbd.protocol import (
    Chunk,
    ChunkHead,
    check_status,
    parse_error,
    parse_hole,
)

CHUNK_LIMIT = 4096
"""Chunks of one reply; 1 MiB in single sectors is 2048 pieces."""


class Reply(ABC):
    """What comes back for one request.

    Attributes:
        offset: The first byte that was asked for.
        length: How many were.
        errno: The first error that the server told of, or 0.
        words: What it said about it, or empty.
    """

    def __init__(self, offset: int, length: int) -> None:
        self.offset = offset
        self.length = length
        self.errno = 0
        self.words = ""
        self._chunks = 0

    def claim(self, offset: int, length: int) -> memoryview:
        """Return where these bytes of the disk go.

        Raises:
            NBDError: They were not asked for, or came already.
        """
        raise NBDError(f"the server sent {length} bytes at {offset} that nobody wants to read")

    def take(self, head: ChunkHead, payload: bytes) -> None:
        """Take a chunk that is no data.

        Raises:
            NBDError: It is no answer to the request.
        """
        self.count()
        if head.is_error:
            self.fail(*parse_error(payload))
        elif head.kind != Chunk.NONE or not head.done:
            raise NBDError(f"the server sent a chunk of type {head.kind} that was not asked for")

    def fail(self, errno: int, words: str = "") -> None:
        """Note an error; the first one counts."""
        if not self.errno:
            self.errno, self.words = errno, words

    def count(self) -> None:
        """Count a chunk.

        Raises:
            NBDError: There are more than an honest server sends.
        """
        self._chunks += 1
        if self._chunks > CHUNK_LIMIT:
            raise NBDError(f"the server sent a reply in more than {CHUNK_LIMIT} chunks")

    def finish(self) -> None:
        """Take the end of the reply.

        Raises:
            NBDError: Something is missing, and no error was said.
        """
        if not self.errno and not self.is_complete():
            raise NBDError("the server ended a reply before all of it was there")

    @abstractmethod
    def is_complete(self) -> bool:
        """Say whether all that was asked for is there."""


@final
class ReadReply(Reply):
    """The bytes of a part of a disk.

    Attributes:
        data: The buffer that is as long as the part; whole when the reply is complete.
    """

    def __init__(self, offset: int, data: memoryview) -> None:
        super().__init__(offset, len(data))
        self.data = data
        self._claimed: list[tuple[int, int]] = []
        self._missing = len(data)

    def claim(self, offset: int, length: int) -> memoryview:
        """Return where these bytes of the disk go.

        Raises:
            NBDError: They were not asked for, or came already.
        """
        self.count()
        start, end = offset - self.offset, offset - self.offset + length
        if length < 1 or start < 0 or end > self.length:
            raise NBDError(
                f"the server sent {length} bytes at {offset}, "
                f"but was asked for {self.length} at {self.offset}"
            )
        place = bisect(self._claimed, (start, end))
        before = self._claimed[place - 1][1] if place else 0
        after = self._claimed[place][0] if place < len(self._claimed) else self.length
        if start < before or end > after:
            raise NBDError(f"the server sent {length} bytes at {offset}, some of them twice")
        self._claimed.insert(place, (start, end))
        self._missing -= length
        return self.data[start:end]

    def take(self, head: ChunkHead, payload: bytes) -> None:
        """Take a hole, which reads as zeros.

        Raises:
            NBDError: It is no answer to the request.
        """
        if head.kind == Chunk.OFFSET_HOLE:
            place = self.claim(*parse_hole(payload))
            place[:] = bytes(len(place))
        else:
            super().take(head, payload)

    def is_complete(self) -> bool:
        """Say whether all bytes are there."""
        return self._missing == 0


@final
class StatusReply(Reply):
    """What parts of a disk hold, in `status` when the reply is complete."""

    def __init__(self, offset: int, length: int, context: int) -> None:
        super().__init__(offset, length)
        self.status = b""
        self._context = context

    def take(self, head: ChunkHead, payload: bytes) -> None:
        """Take a block status, of which there is one.

        Raises:
            NBDError: It is no answer to the request.
        """
        if head.kind != Chunk.BLOCK_STATUS or self.status:
            super().take(head, payload)
            return
        self.count()
        check_status(payload, context=self._context)
        self.status = payload

    def is_complete(self) -> bool:
        """Say whether it is known what at least the beginning holds."""
        return bool(self.status)
