"""The part of the control API that runs programs in guests."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from netlab.errors import NetlabError, UsageError
from netlab.lab.node import Node
from netlab.lab.records import to_record
from netlab.lab.requests import (
    PiecesResponse,
    Write,
    read_node,
    read_object,
    serve_socket,
    while_connected,
)
from netlab.lab.service import Service
from netlab.machine.agent import Result
from netlab.machine.output import Output
from netlab.machine.streams import ProgramStream, Terminal
from netlab.scopes import open_background


def program_routes(service: Service) -> list[BaseRoute]:
    """Return the routes of programs."""
    return [
        Route("/nodes/{name}/exec", partial(_execute, service), methods=["POST"]),
        WebSocketRoute("/nodes/{name}/stream", partial(_stream, service)),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    node: Node
    argv: Sequence[str]
    stdin: bytes
    environment: Mapping[str, str]

    async def run(self, output: Output | None = None) -> dict[str, object]:
        return _result(
            await self.node.execute(
                self.argv, stdin=self.stdin, environment=self.environment, output=output
            )
        )

    async def answer(self) -> Response:
        return JSONResponse(await self.run())

    async def tell(self, write: Write) -> None:
        """Write what it prints as it comes, and in the end how it ended."""
        # Unbounded: the guest's program is slower than who reads on the same host.
        send, receive = trio.open_memory_channel[dict[str, object]](float("inf"))

        def take(stream: str, data: bytes) -> None:
            send.send_nowait({"stream": stream, "data": base64.b64encode(data).decode()})

        async def run() -> None:
            with send:
                try:
                    send.send_nowait(await self.run(take))
                except NetlabError as error:
                    send.send_nowait({"error": to_record(error)})

        async with open_background() as tasks:
            tasks.start_soon(run)
            async for piece in receive:
                await write(json.dumps(piece).encode() + b"\n")


async def _execute(service: Service, request: Request) -> Response:
    body = await read_object(request)
    program = _read_program(service.lab[read_node(request)], body)
    if body.get("tell"):
        return PiecesResponse(program.tell, "application/x-ndjson")
    return await while_connected(request, program.answer)


def _read_program(node: Node, body: Mapping[str, Any]) -> _Program:
    try:
        environment = {str(key): str(value) for key, value in body.get("environment", {}).items()}
        return _Program(
            node=node,
            argv=[str(word) for word in body["argv"]],
            stdin=base64.b64decode(body.get("stdin", ""), validate=True),
            environment=environment,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"exec: {error!r} in the request") from error


def _result(result: Result) -> dict[str, object]:
    return {
        "status": result.status,
        "incomplete": result.error,
        "stdout": base64.b64encode(result.stdout).decode(),
        "stderr": base64.b64encode(result.stderr).decode(),
    }


async def _stream(service: Service, websocket: WebSocket) -> None:
    await serve_socket(websocket, partial(_carry, service, websocket))


async def _carry(service: Service, websocket: WebSocket) -> None:
    """Be between a client and a program: bytes both ways, and what is told in JSON."""
    node = service.lab[str(websocket.path_params["name"])]
    try:
        asked: dict[str, Any] = await websocket.receive_json()
        size = asked.get("terminal")
        terminal = None if size is None else Terminal(*size)
        argv = [str(word) for word in asked["argv"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"stream: {error!r} in the request") from error
    async with node.open_stream(argv, terminal=terminal) as stream, open_background() as tasks:

        async def pass_in() -> None:
            with suppress(WebSocketDisconnect):
                while True:
                    await _pass_message(await websocket.receive(), stream)
            tasks.cancel_scope.cancel()

        tasks.start_soon(pass_in)
        await websocket.send_text("{}")
        while data := await stream.receive():
            await websocket.send_bytes(data)
        await websocket.send_json({"status": stream.status})


async def _pass_message(message: Mapping[str, Any], stream: ProgramStream) -> None:
    match message:
        case {"bytes": bytes(data)}:
            await stream.send_all(data)
        case {"text": "eof"}:
            await stream.send_eof()
        case {"text": str(text)}:
            rows, columns = json.loads(text)
            await stream.resize(Terminal(int(rows), int(columns)))
        case _:
            raise WebSocketDisconnect
