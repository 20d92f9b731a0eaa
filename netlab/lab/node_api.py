"""The part of the control API that is about one node; :mod:`netlab.lab.api` lists the whole."""

from __future__ import annotations

from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from netlab.errors import NetlabError, UsageError
from netlab.lab.describe import describe_node
from netlab.lab.node import Node
from netlab.lab.program_api import program_routes
from netlab.lab.requests import PiecesResponse, Write, read_node, read_object, while_connected
from netlab.lab.service import Service
from netlab.scopes import open_background

REFUSED, ENDED, DROPPED = 4000, 4001, 4002
"""Close codes of a console's WebSocket (RFC 6455, 7.4.2: 4000 to 4999 are the application's)."""


def node_routes(service: Service) -> list[BaseRoute]:
    """Return the routes of nodes."""
    console = "/nodes/{name}/console"
    return [
        Route("/nodes/{name}", partial(_describe, service)),
        Route("/nodes/{name}/ready", partial(_ready, service)),
        *program_routes(service),
        Route("/nodes/{name}/file", partial(_read_file, service), methods=["GET"]),
        Route("/nodes/{name}/file", partial(_write_file, service), methods=["PUT"]),
        Route("/nodes/{name}/power", partial(_power, service), methods=["POST"]),
        Route("/nodes/{name}/cable", partial(_cable, service), methods=["POST"]),
        Route("/nodes/{name}/qmp", partial(_qmp, service), methods=["POST"]),
        Route("/nodes/{name}/diagnosis", partial(_diagnose, service)),
        Route(console, partial(_watch_console, service)),
        WebSocketRoute(console, partial(_attach_console, service)),
        Route(f"{console}/tail", partial(_console_tail, service)),
        Route(f"{console}/text", partial(_console_text, service), methods=["POST"]),
    ]


def _node(service: Service, request: Request) -> Node:
    return service.lab[read_node(request)]


async def _describe(service: Service, request: Request) -> Response:
    return JSONResponse(describe_node(service.lab, read_node(request)))


async def _ready(service: Service, request: Request) -> Response:
    name = read_node(request)
    lab = await service.wait_lab()

    async def wait() -> Response:
        await lab[name].wait_ready()
        return JSONResponse(describe_node(lab, name))

    return await while_connected(request, wait)


async def _read_file(service: Service, request: Request) -> Response:
    node, path = _node(service, request), _path(request)

    async def produce(write: Write) -> None:
        async with node.open_file(path, "r") as file:
            await write(b"")
            async for chunk in file:
                await write(chunk)

    return PiecesResponse(produce, "application/octet-stream")


async def _write_file(service: Service, request: Request) -> Response:
    mode = request.query_params.get("mode", "w")
    if mode not in {"w", "a"}:
        raise UsageError(f"file: mode {mode!r} is neither w nor a")
    async with _node(service, request).open_file(
        _path(request), "a" if mode == "a" else "w"
    ) as file:
        async for chunk in request.stream():
            await file.write(chunk)
    return JSONResponse({})


def _path(request: Request) -> str:
    try:
        return request.query_params["path"]
    except KeyError:
        raise UsageError("file: ?path= is missing") from None


async def _power(service: Service, request: Request) -> Response:
    node = _node(service, request)
    actions = {
        "start": node.start,
        "shutdown": node.shutdown,
        "crash": node.crash,
        "reboot": node.reboot,
        "pause": node.pause,
        "resume": node.resume,
    }
    asked = (await read_object(request)).get("action")
    action = actions.get(str(asked))
    if action is None:
        raise UsageError(f"power: {asked!r} is none of {', '.join(actions)}")

    async def act() -> Response:
        await action()
        return JSONResponse(describe_node(service.lab, node.plan.name))

    return await while_connected(request, act)


async def _cable(service: Service, request: Request) -> Response:
    match await read_object(request):
        case {"interface": str(interface), "up": bool(up)}:
            await _node(service, request).set_link(interface, up=up)
            return JSONResponse({})
        case _:
            raise UsageError('cable: expected {"interface": name, "up": true or false}')


async def _qmp(service: Service, request: Request) -> Response:
    node = _node(service, request)
    body: dict[str, Any] = await read_object(request)
    match body:
        case {"execute": str(command), "arguments": dict()}:
            arguments: dict[str, Any] = body["arguments"]
        case _:
            raise UsageError('qmp: expected {"execute": command, "arguments": {...}}')

    async def run() -> Response:
        return JSONResponse({"return": await node.qmp(command, **arguments)})

    return await while_connected(request, run)


async def _diagnose(service: Service, request: Request) -> Response:
    return JSONResponse({"diagnosis": await _node(service, request).diagnose()})


async def _console_tail(service: Service, request: Request) -> Response:
    lines = request.query_params.get("lines", "20")
    if not lines.isdecimal():
        raise UsageError(f"console: lines={lines!r} is no number")
    tail = await _node(service, request).console_tail(int(lines))
    return JSONResponse({"lines": tail})


async def _console_text(service: Service, request: Request) -> Response:
    node = _node(service, request)
    match await read_object(request):
        case {"pattern": str(pattern), "since": int(since)}:
            pass
        case _:
            raise UsageError('console: expected {"pattern": expression, "since": position}')

    async def wait() -> Response:
        text, position = await node.wait_console_text(pattern, since=since)
        return JSONResponse({"text": text, "position": position})

    return await while_connected(request, wait)


async def _watch_console(service: Service, request: Request) -> Response:
    console = _node(service, request).machine.console

    async def produce(write: Write) -> None:
        async with console.attach() as attachment:
            await write(b"")
            async for chunk in attachment:
                await write(chunk)

    return PiecesResponse(produce, "application/octet-stream")


async def _attach_console(service: Service, websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        machine = service.lab[str(websocket.path_params["name"])].machine
    except NetlabError as error:
        await websocket.close(REFUSED, reason=str(error)[:120])
        return
    async with machine.console.attach() as attachment, open_background() as tasks:

        async def type_in() -> None:
            try:
                while True:
                    await attachment.send(await websocket.receive_bytes())
            except WebSocketDisconnect:
                tasks.cancel_scope.cancel()

        tasks.start_soon(type_in)
        async for chunk in attachment:
            await websocket.send_bytes(chunk)
        if attachment.dropped:
            await websocket.close(DROPPED, reason="this reader did not keep up with the console")
        else:
            await websocket.close(ENDED, reason="the machine has ended")
