"""What the control API's routes have in common: bodies, callers that go away, answers in pieces."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast, final

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from netlab.errors import NetlabError, UsageError, leaves
from netlab.lab.records import to_record
from netlab.scopes import open_background

GONE = 499
"""What is answered to a caller that has closed the connection, as nginx has it."""

Write = Callable[[bytes], Awaitable[None]]


async def read_object(request: Request) -> dict[str, Any]:
    """Return the JSON object in a request's body.

    Raises:
        UsageError: There is none.
    """
    try:
        body: object = await request.json()
    except ValueError as error:
        raise UsageError(f"the request is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise UsageError("the request is not a JSON object")
    return cast("dict[str, Any]", body)


def read_node(request: Request) -> str:
    """Return the name of the node that a request is about."""
    return str(request.path_params["name"])


async def while_connected(request: Request, work: Callable[[], Awaitable[Response]]) -> Response:
    """Do what takes time for as long as the caller waits for it; its body has been read.

    When the caller has gone, the work is cancelled, and the answer reaches nobody.
    """
    async with open_background() as tasks:
        tasks.start_soon(_watch, request.receive, tasks.cancel_scope)
        return await work()
    return Response(status_code=GONE)


async def serve_socket(websocket: WebSocket, work: Callable[[], Awaitable[None]]) -> None:
    """Take a WebSocket, do what it is for, and close it; an error of the lab's is its last message.

    Who has gone is not told anything.
    """
    await websocket.accept()
    with suppress(WebSocketDisconnect, RuntimeError):
        try:
            await work()
        except (NetlabError, OSError, WebSocketDisconnect, BaseExceptionGroup) as caught:
            failures = leaves(caught)
            if any(isinstance(failure, WebSocketDisconnect) for failure in failures):
                return
            known = (each for each in failures if isinstance(each, NetlabError | OSError))
            error = next(known, None)
            if error is None:
                raise
            await websocket.send_json({"error": to_record(error)})
        await websocket.close()


@final
class PiecesResponse(Response):
    """An answer whose body is made piece by piece, for as long as the caller reads it.

    Args:
        produce: Makes it: is given what writes a piece. Until the first piece, which may be empty,
            what it raises is the answer; later, the answer is cut off.
        media_type: Of the body.
    """

    def __init__(self, produce: Callable[[Write], Awaitable[None]], media_type: str) -> None:
        super().__init__(media_type=media_type)
        self._produce = produce
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it (the ASGI specification, HTTP)."""
        del scope
        started = trio.Event()

        async def write(data: bytes) -> None:
            if not started.is_set():
                started.set()
                headers = self.raw_headers
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": data, "more_body": True})

        async with open_background() as tasks:
            tasks.start_soon(_watch, receive, tasks.cancel_scope)
            await self._produce(write)
            await write(b"")
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _watch(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
