"""An NBD server of the tests' own, honest by default: what it sends is in the test's hands."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from struct import Struct, pack

import trio

from netlab.nbd.client import Disk, open_connection

REQUEST = Struct(">IHHQQI")
CONTEXT = 7
DONE = 1
ERROR, UNSUPPORTED = 0x80000000, 0x80000001


@dataclass(frozen=True)
class Request:
    command: int
    cookie: int
    offset: int
    length: int


def chunk(
    request: Request, kind: int, payload: bytes = b"", *, flags: int = DONE, length: int = -1
) -> bytes:
    size = len(payload) if length < 0 else length
    return pack(">IHHQI", 0x668E33EF, flags, kind, request.cookie, size) + payload


def data_chunk(request: Request, offset: int, data: bytes, *, flags: int = DONE) -> bytes:
    return chunk(request, 1, pack(">Q", offset) + data, flags=flags)


def hole_chunk(request: Request, offset: int, size: int, *, flags: int = DONE) -> bytes:
    return chunk(request, 2, pack(">QI", offset, size), flags=flags)


def error_chunk(request: Request, errno: int, words: bytes, *, flags: int = DONE) -> bytes:
    return chunk(request, 0x8001, pack(">IH", errno, len(words)) + words, flags=flags)


def status_chunk(request: Request, *extents: tuple[int, int], context: int = CONTEXT) -> bytes:
    payload = pack(">I", context) + b"".join(pack(">II", *extent) for extent in extents)
    return chunk(request, 5, payload)


def simple(request: Request, data: bytes = b"", *, errno: int = 0) -> bytes:
    return pack(">IIQ", 0x67446698, errno, request.cookie) + data


@dataclass
class Server:
    """The server's end of a connection.

    `refuses` are the options that it does not know; `size` is the disk's.
    """

    stream: trio.SocketStream
    size: int = 1 << 20
    refuses: tuple[int, ...] = ()
    block_size: tuple[int, int, int] = (1, 4096, 1 << 25)

    async def receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = await self.stream.receive_some(size - len(data))
            if not more:
                raise trio.EndOfChannel
            data += more
        return data

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def reply(self, option: int, kind: int, data: bytes = b"") -> None:
        await self.send(pack(">QIII", 0x3E889045565A9, option, kind, len(data)) + data)

    async def negotiate(self) -> None:
        await self.send(b"NBDMAGICIHAVEOPT\x00\x03")
        assert await self.receive(4) == b"\x00\x00\x00\x03"
        option = 0
        while option not in {1, 7}:
            option = await self.answer_option()

    async def answer_option(self) -> int:
        head = await self.receive(16)
        assert head[:8] == b"IHAVEOPT"
        option = int.from_bytes(head[8:12], "big")
        await self.receive(int.from_bytes(head[12:], "big"))
        if option in self.refuses:
            await self.reply(option, UNSUPPORTED)
            return 0
        if option == 1:
            await self.send(pack(">QH", self.size, 1))
            return option
        if option == 7:
            await self.reply(option, 3, pack(">HQH", 0, self.size, 1))
            await self.reply(option, 3, pack(">HIII", 3, *self.block_size))
        if option == 10:
            await self.reply(option, 4, pack(">I", CONTEXT) + b"base:allocation")
        await self.reply(option, 1)
        return option

    async def request(self) -> Request:
        magic, flags, command, cookie, offset, length = REQUEST.unpack(await self.receive(28))
        assert (magic, flags) == (0x25609513, 0)
        return Request(command, cookie, offset, length)

    async def requests(self) -> AsyncGenerator[Request]:
        """All until the client says that there are no others."""
        while (request := await self.request()).command != 2:
            yield request


@asynccontextmanager
async def open_disk(
    serve: Callable[[Server], Awaitable[None]],
    *,
    size: int = 1 << 20,
    refuses: tuple[int, ...] = (),
    block_size: tuple[int, int, int] = (1, 4096, 1 << 25),
    negotiates: bool = True,
) -> AsyncGenerator[Disk]:
    """A disk whose server is the given function; it must have ended before the block does."""
    ours, theirs = socket.socketpair()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    server = Server(stream, size, refuses, block_size)

    async def run() -> None:
        async with stream:
            if negotiates:
                await server.negotiate()
            await serve(server)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        with trio.socket.from_stdlib_socket(ours) as connection:
            async with open_connection(connection, "x", label="x of test") as disk:
                yield disk
