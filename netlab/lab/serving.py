"""Hypercorn's server of connections, and what of it would end a lab."""

from __future__ import annotations

from typing import Any, cast

import trio
from hypercorn.events import Closed, Event
from hypercorn.trio import run
from hypercorn.trio.tcp_server import TCPServer


class ConnectionServer(TCPServer):
    """Serves one connection; one that is just being closed is no reason to end all others.

    Hypercorn 0.18 closes a connection in two steps, and between them a client's last word may be
    answered: Trio refuses that, and the error went up through the server to the lab.
    """

    async def protocol_send(self, event: Event) -> None:
        """Send what an answer is made of, as long as there is a connection."""
        try:
            await super().protocol_send(event)
        except trio.BusyResourceError:
            await self.protocol.handle(Closed())


def use_own_server() -> None:
    """Let Hypercorn serve connections so: it has no setting for it."""
    cast("Any", run).TCPServer = ConnectionServer
