"""Whole messages on a connected socket."""

from __future__ import annotations

from typing import final

import trio

from netlab.errors import NBDError


@final
class Wire:
    """Sends and receives exact numbers of bytes; never half a message.

    Args:
        connection: Connected to the server; whoever made it closes it.
    """

    def __init__(self, connection: trio.socket.SocketType) -> None:
        self._connection = connection
        self._unsent = bytearray()
        self._sending = trio.Lock()

    async def send(self, message: bytes) -> None:
        """Send a message after those before it.

        Cancelled, what is left of it goes out before the next message does.

        Raises:
            NBDError: The server has closed the connection.
        """
        self._unsent += message
        async with self._sending:
            try:
                while self._unsent:
                    sent = await self._connection.send(self._unsent)
                    del self._unsent[:sent]
            except OSError as error:
                raise _closed(error) from error

    async def receive(self, size: int) -> bytes:
        """Return the next bytes, exactly as many.

        Raises:
            NBDError: The connection ended first.
        """
        data = bytearray(size)
        await self.receive_into(memoryview(data))
        return bytes(data)

    async def receive_into(self, target: memoryview) -> None:
        """Fill a buffer with the next bytes.

        Raises:
            NBDError: The connection ended first.
        """
        filled = 0
        while filled < len(target):
            try:
                received = await self._connection.recv_into(target[filled:])
            except OSError as error:
                raise _closed(error) from error
            if received == 0:
                raise NBDError("the server closed the connection")
            filled += received


def _closed(error: OSError) -> NBDError:
    return NBDError(f"the connection broke: {error.strerror or error}")
