"""A client that reads one export of an NBD server, on Trio.

::

    async with open_export(path, "disk0") as disk:
        async for offset, data in disk.read_all():
            ...
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar, final

import trio

from netlab.errors import NBDError
from netlab.nbd.assembly import ReadReply
from netlab.nbd.exchange import Exchange
from netlab.nbd.negotiation import BlockSize, Export, Steps, negotiate
from netlab.nbd.protocol import Command
from netlab.nbd.reading import Extents, Pieces, cut
from netlab.nbd.wire import Wire
from netlab.scopes import open_background

MEMORY = 32 * 1024 * 1024
"""Bytes that :meth:`Disk.read_all` holds, unless it is told otherwise."""

PIECE = 1024 * 1024
"""Bytes of the longest read; longer ones are sent as several."""

DISCONNECT_GRACE = 1.0
"""Seconds for a server to take the last message."""

Result = TypeVar("Result")


@final
class Disk:
    """One export; made by :func:`open_export`. Any number of tasks may read at once.

    Attributes:
        size: Bytes of the disk.
        block_size: Which requests the server takes; callers need not keep to it.
    """

    def __init__(self, exchange: Exchange, export: Export) -> None:
        self.size = export.size
        self.block_size: BlockSize = export.block_size
        self._exchange = exchange
        self._export = export

    async def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of a part of the disk.

        Raises:
            NBDError: The server failed to read it, or the connection ended.
            ValueError: The part is not one of the disk.
        """
        if not 0 <= length <= self.size:
            raise ValueError(f"{length} bytes of a disk of {self.size}")
        data = bytearray(length)
        await self.read_into(offset, memoryview(data))
        return bytes(data)

    async def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes of a part of the disk.

        Cancelled, what has been asked for still comes, and goes into the buffer.

        Raises:
            NBDError: The server failed to read it, or the connection ended.
            ValueError: The part is not one of the disk.
        """
        end = offset + len(buffer)
        if offset < 0 or end > self.size:
            raise ValueError(f"{len(buffer)} bytes at {offset} of a disk of {self.size}")
        block = self.block_size.minimum
        start, stop = offset // block * block, min(-(-end // block) * block, self.size)
        whole = (start, stop) == (offset, end)
        target = buffer if whole else memoryview(bytearray(stop - start))
        replies = [
            ReadReply(place, target[place - start :][:length])
            for place, length in cut(start, stop, self._fit(PIECE))
        ]
        for call in [await self._exchange.submit(Command.READ, reply) for reply in replies]:
            await self._exchange.wait(call)
        if not whole:
            buffer[:] = target[offset - start :][: len(buffer)]

    def extents(self) -> Extents:
        """Return what the disk holds, from its beginning to its end, for ``async for``.

        Neighbours may be of one kind. A server that cannot tell holds data everywhere.
        """
        return Extents(self._exchange, self._export)

    def read_all(self, *, memory: int = MEMORY) -> Pieces:
        """Return all that does not read as zeros, in order, for ``async for``.

        Args:
            memory: How many bytes may be held at once, read ahead or being looked at; four of the
                server's smallest blocks at least.
        """
        size = self._fit(min(PIECE, memory // 4))
        # One is the last reply, and one what the caller made of it.
        ahead = max(1, memory // size - 2)
        return Pieces(self._exchange, self.extents(), size=size, ahead=ahead)

    def _fit(self, size: int) -> int:
        """Return the length of a request that the server takes."""
        block = self.block_size
        return max(min(size, block.maximum) // block.minimum, 1) * block.minimum


@asynccontextmanager
async def open_export(
    path: Path, name: str = "", *, label: str | None = None
) -> AsyncGenerator[Disk]:
    """Connect to an NBD server and read one of its exports, until the block is left.

    Args:
        path: The Unix socket that it listens on.
        name: The export; the empty one is the server's default.
        label: What errors call it; its name and the socket when None.

    Raises:
        NBDError: Nobody listens there, or the server refuses it.
    """
    label = label or f"{name!r} of {path}"
    with trio.socket.socket(trio.socket.AF_UNIX) as connection:
        try:
            await connection.connect(str(path))
        except OSError as error:
            message = f"nobody answers: {error.strerror or error}"
            raise NBDError(message, export=label) from error
        async with open_connection(connection, name, label=label) as disk:
            yield disk


@asynccontextmanager
async def open_connection(
    connection: trio.socket.SocketType, name: str, *, label: str
) -> AsyncGenerator[Disk]:
    """Read an export over a connected socket, which is of no more use afterwards.

    Args:
        connection: Connected to the server, which has not been negotiated with; stays the caller's.
        name: The export.
        label: What errors call it.

    Raises:
        NBDError: The server refuses it, or does not speak the protocol.
    """
    wire = Wire(connection)
    try:
        export = await _run(negotiate(name), wire)
    except NBDError as error:
        raise NBDError(error.reason, export=label, evidence=error.evidence) from error
    exchange = Exchange(wire, structured=export.structured, name=label)
    async with open_background() as nursery:
        nursery.start_soon(exchange.run_reader)
        try:
            yield Disk(exchange, export)
        finally:
            with trio.move_on_after(DISCONNECT_GRACE, shield=True):
                await exchange.disconnect()


async def _run(steps: Steps[Result], wire: Wire) -> Result:
    """Do the I/O of a generator of steps; return what it returns."""
    received = b""
    try:
        step = next(steps)
        while True:
            if isinstance(step, bytes):
                await wire.send(step)
                received = b""
            else:
                received = await wire.receive(step)
            step = steps.send(received)
    except StopIteration as stop:
        return stop.value
