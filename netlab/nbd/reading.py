"""Going through a disk from its beginning to its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import final

from netlab.nbd.assembly import ReadReply, StatusReply
from netlab.nbd.exchange import Call, Exchange
from netlab.nbd.negotiation import Export
from netlab.nbd.protocol import Command, Extent, iterate_status

STATUS_LENGTH = 1024 * 1024 * 1024
"""Bytes that one block status is asked about; a disk in clusters of 64 KiB has 2^14 there."""


@final
class Extents:
    """What a disk holds, asked for as it is looked at.

    An iterator and no generator: it may be left at any time, and holds nothing.
    """

    def __init__(self, exchange: Exchange, export: Export) -> None:
        self._exchange = exchange
        self._context = export.context
        self._size = export.size
        self._known: Iterator[Extent] = iter(())
        self._position = 0

    def __aiter__(self) -> Extents:
        return self

    async def __anext__(self) -> Extent:
        """Return the next extent.

        Raises:
            NBDError: The server failed to tell, or the connection ended.
        """
        extent = next(self._known, None)
        if extent is None:
            if self._position == self._size:
                raise StopAsyncIteration
            self._known = await self._look_at(self._position)
            extent = next(self._known)
        self._position = extent.offset + extent.length
        return extent

    async def _look_at(self, position: int) -> Iterator[Extent]:
        if self._context is None:
            return iter((Extent(position, self._size - position, "data"),))
        length = min(self._size - position, STATUS_LENGTH)
        reply = StatusReply(position, length, self._context)
        await self._exchange.wait(await self._exchange.submit(Command.BLOCK_STATUS, reply))
        return iterate_status(reply.status, offset=position, length=length)


@final
class Pieces:
    """The data of a disk as offsets and bytes; the next pieces are read while one is looked at.

    Args:
        exchange: With the server.
        extents: All of the disk.
        size: Bytes of the largest piece.
        ahead: How many are asked for at once.
    """

    def __init__(self, exchange: Exchange, extents: Extents, *, size: int, ahead: int) -> None:
        self._exchange = exchange
        self._size = size
        self._ahead = ahead
        self._extents = extents
        self._parts: Iterator[tuple[int, int]] = iter(())
        self._calls: deque[tuple[Call, ReadReply]] = deque()

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> tuple[int, bytes]:
        """Return the next piece.

        Raises:
            NBDError: The server failed to read it, or the connection ended.
        """
        while len(self._calls) < self._ahead and (part := await self._next_part()):
            offset, length = part
            reply = ReadReply(offset, memoryview(bytearray(length)))
            self._calls.append((await self._exchange.submit(Command.READ, reply), reply))
        if not self._calls:
            raise StopAsyncIteration
        call, reply = self._calls.popleft()
        await self._exchange.wait(call)
        return reply.offset, bytes(reply.data)

    async def _next_part(self) -> tuple[int, int] | None:
        while (part := next(self._parts, None)) is None:
            extent = await anext(self._extents, None)
            if extent is None:
                return None
            if extent.kind == "data":
                self._parts = cut(extent.offset, extent.offset + extent.length, self._size)
        return part


def cut(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield offsets and lengths of parts of an extent that end at multiples of a size."""
    while start < stop:
        end = min(start // size * size + size, stop)
        yield start, end - start
        start = end
