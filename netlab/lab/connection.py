"""The control API's client on Trio: requests and WebSockets whose errors are the lab's own."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast, final

import httpx
from httpx_ws import AsyncWebSocketSession, HTTPXWSException, WebSocketDisconnect, aconnect_ws
from wsproto.events import BytesMessage, Event, TextMessage
from wsproto.utilities import LocalProtocolError

from netlab.errors import ControlError, NotReadyError
from netlab.lab.folders import LabFolders
from netlab.lab.records import from_record
from netlab.scopes import open_tasks

CLOSED_WITH_REASON = range(4000, 5000)
"""Codes with which the lab closes a WebSocket and says why (RFC 6455, 7.4.2: the application's)."""

MESSAGE_LIMIT = 1024 * 1024
"""Bytes of a WebSocket's message; the largest is a frame of 64 KiB."""


@final
class Connection:
    """Talks to one lab process; made by :func:`open_connection`."""

    def __init__(self, client: httpx.AsyncClient, lab: str) -> None:
        self._client = client
        self._lab = lab

    async def get(self, path: str, /, **parameters: str) -> dict[str, Any]:
        """Ask for something.

        Raises:
            ControlError: The lab does not answer.
            NetlabError: What the lab answered.
        """
        return await self._call("GET", path, params=parameters)

    async def post(self, path: str, /, body: Mapping[str, object]) -> dict[str, Any]:
        """Have something done.

        Raises:
            ControlError: The lab does not answer.
            NetlabError: What the lab answered.
        """
        return await self._call("POST", path, json=body)

    async def put(self, path: str, /, content: bytes, **parameters: str) -> None:
        """Send bytes.

        Raises:
            ControlError: The lab does not answer.
            NetlabError: What the lab answered.
        """
        await self._call("PUT", path, content=content, params=parameters)

    @asynccontextmanager
    async def open_pieces(
        self, method: str, path: str, /, *, body: object = None, **parameters: str
    ) -> AsyncGenerator[httpx.Response]:
        """Open an answer that comes piece by piece.

        Raises:
            ControlError: The lab does not answer, or ends meanwhile.
            NetlabError: What the lab answered.
        """
        request = self._request(method, path, params=parameters, json=body)
        try:
            response = await self._client.send(request, stream=True)
            try:
                if response.is_error:
                    await response.aread()
                    _raise(response)
                yield response
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise self._gone(error) from error

    @asynccontextmanager
    async def open_socket(self, path: str, /, **parameters: str) -> AsyncGenerator[Socket]:
        """Open a WebSocket.

        Raises:
            ControlError: The lab does not answer.
        """
        session = aconnect_ws(
            str(httpx.URL(f"http://netlab{path}", params=parameters)),
            self._client,
            keepalive_ping_interval_seconds=None,
            max_message_size_bytes=MESSAGE_LIMIT,
        )
        try:
            # The session has a nursery of its own, which puts what fails into a group.
            async with open_tasks(), session as opened:
                yield Socket(opened, self._lab)
        except httpx.TransportError as error:
            raise self._gone(error) from error

    async def _call(self, method: str, path: str, /, **arguments: Any) -> dict[str, Any]:
        try:
            response = await self._client.send(self._request(method, path, **arguments))
        except httpx.TransportError as error:
            raise self._gone(error) from error
        if response.is_error:
            _raise(response)
        return cast("dict[str, Any]", response.json())

    def _request(self, method: str, path: str, /, **arguments: Any) -> httpx.Request:
        request = self._client.build_request(method, path, **arguments)
        request.stream = _Body(request.content)
        return request

    def _gone(self, error: httpx.TransportError) -> ControlError:
        return ControlError(
            f"lab {self._lab} does not answer: {error or type(error).__name__}",
            hint="`netlab status` says what became of it",
        )


@final
class _Body(httpx.AsyncByteStream):
    """A request's bytes. httpx's own are a generator, left unfinished when a lab goes away."""

    def __init__(self, content: bytes) -> None:
        self._rest = [content]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._rest:
            raise StopAsyncIteration
        return self._rest.pop()


@final
class Socket:
    """A WebSocket to a lab process: bytes, and JSON as text."""

    def __init__(self, session: AsyncWebSocketSession, lab: str) -> None:
        self._session = session
        self._lab = lab

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message.

        Raises:
            ControlError: The lab has closed it.
        """
        await self._send(BytesMessage(data=data))

    async def send_text(self, text: str) -> None:
        """Send a text.

        Raises:
            ControlError: The lab has closed it.
        """
        await self._send(TextMessage(data=text))

    async def receive(self) -> bytes | dict[str, Any] | None:
        """Return the next bytes, or the next JSON object; None when the lab has closed it in order.

        Raises:
            ControlError: The lab has ended.
            NotReadyError: The lab has closed it for a reason of its own, which is the message.
            NetlabError: What the lab told as its last.
        """
        try:
            message: Event = await self._session.receive()
        except WebSocketDisconnect as ended:
            if ended.code == 1000:
                return None
            if ended.code in CLOSED_WITH_REASON:
                raise NotReadyError(ended.reason or "the lab ended") from None
            raise self._gone() from None
        except HTTPXWSException:
            raise self._gone() from None
        if isinstance(message, BytesMessage):
            return bytes(message.data)
        assert isinstance(message, TextMessage)
        record = cast("dict[str, Any]", json.loads(message.data))
        if "error" in record:
            raise from_record(record["error"])
        return record

    async def _send(self, message: Event) -> None:
        try:
            await self._session.send(message)
        except (HTTPXWSException, WebSocketDisconnect, LocalProtocolError):
            # The last, of wsproto: the other side has closed, and the answer to that is sent.
            raise self._gone() from None

    def _gone(self) -> ControlError:
        return ControlError(f"lab {self._lab} ended, or closed the connection")


@asynccontextmanager
async def open_connection(folders: LabFolders) -> AsyncGenerator[Connection]:
    """Talk to a lab process while the block runs."""
    transport = httpx.AsyncHTTPTransport(
        uds=str(folders.control), limits=httpx.Limits(max_connections=None)
    )
    # Deadlines are the caller's.
    async with httpx.AsyncClient(
        transport=transport, base_url="http://netlab", timeout=None
    ) as client:
        yield Connection(client, folders.lab)


async def read_lines(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """Iterate over the JSON objects of an answer, one a line."""
    async for line in response.aiter_lines():
        yield cast("dict[str, Any]", json.loads(line))


def _raise(response: httpx.Response) -> None:
    try:
        record = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        text = response.text[:500]
        raise ControlError(f"the lab answered {response.status_code}: {text}") from None
    raise from_record(cast("dict[str, object]", record))
