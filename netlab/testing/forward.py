"""A port of the guest on the host's loopback."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import trio

from netlab.errors import ControlError, InputError, MachineError
from netlab.lab.access import NodeAccess
from netlab.machine.streams import READ_SIZE, ProgramStream
from netlab.scopes import open_background

LOOPBACK = "127.0.0.1"

_LAST_PORT = 65535

_CONNECT = 'exec nc "$1" "$2" 2>/dev/null'


@asynccontextmanager
async def open_forward(
    node: NodeAccess, guest_port: int, host_port: int, address: str
) -> AsyncGenerator[int]:
    """Listen on the host's loopback while the block runs; yield the port.

    Each connection is carried to the guest by a ``nc`` that runs there, so a guest needs one, and
    no network of the host's.

    Args:
        node: Whose guest.
        guest_port: The TCP port in the guest.
        host_port: The TCP port on the host, or 0 for any that is free.
        address: The guest's address that the port is at.

    Raises:
        InputError: The port on the host is taken, or is none.
    """
    for port, least in ((guest_port, 1), (host_port, 0)):
        if not least <= port <= _LAST_PORT:
            raise InputError(f"{port} is no TCP port: they go from 1 to {_LAST_PORT}")
    try:
        listeners = await trio.open_tcp_listeners(host_port, host=LOOPBACK)
    except OSError as error:
        raise InputError(f"port {host_port} on the host cannot be had: {error}") from error

    argv = ("/bin/sh", "-c", _CONNECT, "sh", address, str(guest_port))

    async def serve(connection: trio.SocketStream) -> None:
        with suppress(MachineError, ControlError, trio.BrokenResourceError):
            async with node.open_stream(argv) as stream:
                await _carry(connection, stream)

    async with open_background() as tasks:
        tasks.start_soon(trio.serve_listeners, serve, listeners)
        _, port, *_ = listeners[0].socket.getsockname()
        yield port


async def _carry(connection: trio.SocketStream, stream: ProgramStream) -> None:
    async def send() -> None:
        with suppress(trio.BrokenResourceError):
            while data := await connection.receive_some(READ_SIZE):
                await stream.send_all(bytes(data))
        await stream.send_eof()

    async with open_background() as tasks:
        tasks.start_soon(send)
        while data := await stream.receive():
            await connection.send_all(data)
        await connection.send_eof()
