"""A WebSocket to a lab process that goes away."""

from __future__ import annotations

from typing import cast

import pytest
from httpx_ws import AsyncWebSocketSession
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event

from netlab.errors import ControlError
from netlab.lab.connection import Socket


class Closing:
    """A session whose lab has closed, and which has not been read since."""

    def __init__(self) -> None:
        self.connection = Connection(ConnectionType.CLIENT)
        self.connection.send(CloseConnection(code=1000))

    async def send(self, event: Event) -> None:
        self.connection.send(event)


async def test_who_writes_to_a_lab_that_has_gone_is_told_so() -> None:
    socket = Socket(cast("AsyncWebSocketSession", Closing()), "ring")
    for write in (socket.send_text("end"), socket.send_bytes(b"data")):
        with pytest.raises(ControlError, match="lab ring ended, or closed the connection"):
            await write
