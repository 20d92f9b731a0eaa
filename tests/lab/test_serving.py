"""The server of the control API, where Hypercorn's own would end the lab."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import trio
from hypercorn.events import Closed, RawData
from hypercorn.trio import run

from netlab.lab.serving import ConnectionServer, use_own_server


async def test_an_answer_to_a_connection_that_is_being_closed_ends_no_lab() -> None:
    handled: list[object] = []

    async def handle(event: object) -> None:
        await trio.lowlevel.checkpoint()
        handled.append(event)

    async def refuse(_data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BusyResourceError("another task is currently sending data")

    stream = SimpleNamespace(send_all=refuse)
    server = ConnectionServer(*cast("Any", (None, None, None, None, stream)))
    server.protocol = cast("Any", SimpleNamespace(handle=handle))
    await server.protocol_send(RawData(b"last word"))
    assert [type(event) for event in handled] == [Closed]


def test_hypercorn_serves_connections_so() -> None:
    use_own_server()
    assert cast("Any", run).TCPServer is ConnectionServer
