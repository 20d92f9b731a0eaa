"""The control API of a lab process: HTTP and WebSocket over a Unix socket in a 0700 folder.

=============================  =====================================================================
``GET /status``                the lab and its nodes
``GET /ready``                 waits until every node is ready; an error when one failed
``GET /events``                every event so far and to come, one JSON object a line
``POST /link``                 ``{"endpoints": [a, b], "up": false}``, or ``"segment"``: its cables
``GET /counters``              the counters of every tap
``WS /frames?interface=``      what passes a tap or bridge: nanoseconds (8 bytes, big-endian), frame
``WS /cut?nodes=``             holds the disks of nodes (a JSON list of names) as they are until it
                               is closed, or something is sent: then it is closed when they are
                               let go; the first message says where they can be read
``POST /down``                 takes the lab down; answers before it is
``GET /nodes/N``               the node; ``/nodes/N/ready`` waits until it is ready
``POST /nodes/N/exec``         runs a program: ``{"argv", "stdin" (base64), "environment"}``; with
                               ``"tell": true`` one JSON object a line, output as it comes
``WS /nodes/N/stream``         first ``{"argv", "terminal": [rows, columns, kind] or null}``; then
                               bytes both ways, ``eof`` and ``[rows, columns]`` as text
``GET PUT /nodes/N/file``      ``?path=``, ``&mode=w`` or ``a``: a file's content
``POST /nodes/N/power``        ``{"action"}``: start, shutdown, crash, reboot, pause, resume
``POST /nodes/N/cable``        ``{"interface", "up"}``: pulls or plugs one cable
``POST /nodes/N/qmp``          ``{"execute", "arguments"}``: QEMU's monitor
``GET /nodes/N/diagnosis``     what is wrong when it does not answer
``GET /nodes/N/console``       the console's output from now on, raw
``WS /nodes/N/console``        the console, both ways, in binary messages
``GET /nodes/N/console/tail``  its last lines; ``POST …/text`` waits for a pattern
=============================  =====================================================================

Errors are ``{"error": {"class", "message", "hint", "evidence"}}`` with a status of 4xx for the
caller's mistakes and 500 for the lab's.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from typing import cast

import trio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from netlab.errors import InputError, NetlabError, UsageError
from netlab.lab.describe import describe, describe_beginning
from netlab.lab.frames import pack_frame
from netlab.lab.node_api import node_routes
from netlab.lab.records import to_record
from netlab.lab.requests import (
    GONE,
    PiecesResponse,
    Write,
    read_object,
    serve_socket,
    while_connected,
)
from netlab.lab.service import Service
from netlab.plan.segments import find_segment, find_segment_named
from netlab.scopes import open_background


def make_application(service: Service) -> Starlette:
    """Return the ASGI application over a lab that starts, and then lives."""
    routes = [
        Route("/status", partial(_status, service)),
        Route("/ready", partial(_ready, service)),
        Route("/events", partial(_events, service)),
        *node_routes(service),
        Route("/link", partial(_link, service), methods=["POST"]),
        Route("/counters", partial(_counters, service)),
        WebSocketRoute("/frames", partial(_frames, service)),
        WebSocketRoute("/cut", partial(_cut, service)),
        Route("/down", partial(_down, service), methods=["POST"]),
    ]
    handlers = {NetlabError: _refuse, OSError: _refuse, ClientDisconnect: _forget}
    return Starlette(routes=routes, exception_handlers=handlers)


async def _refuse(_request: Request, error: Exception) -> Response:
    status = 400 if isinstance(error, InputError) else 500
    return JSONResponse({"error": to_record(error)}, status)


async def _forget(_request: Request, _error: Exception) -> Response:
    await trio.lowlevel.checkpoint()
    return Response(status_code=GONE)


async def _status(service: Service, _request: Request) -> Response:
    return JSONResponse(describe(service.lab) if service.is_made else describe_beginning(service))


async def _ready(service: Service, request: Request) -> Response:
    lab = await service.wait_lab()

    async def wait() -> Response:
        await lab.wait_ready()
        return JSONResponse(describe(lab))

    return await while_connected(request, wait)


async def _events(service: Service, _request: Request) -> Response:
    async def produce(write: Write) -> None:
        async with service.events.open_follow() as events:
            async for event in events:
                await write(event.to_json().encode() + b"\n")

    return PiecesResponse(produce, "application/x-ndjson")


async def _link(service: Service, request: Request) -> Response:
    lab = service.lab
    match await read_object(request):
        case {"segment": str(name), "up": bool(up)}:
            await lab.set_link(find_segment_named(lab.plan, name), up=up)
            return JSONResponse({})
        case {"endpoints": [str(first), str(second)], "up": bool(up)}:
            await lab.set_link(find_segment(lab.plan, first, second), up=up)
            return JSONResponse({})
        case _:
            raise UsageError('link: expected {"endpoints": [a, b], "up": true or false}')


async def _counters(service: Service, _request: Request) -> Response:
    counters = await service.lab.counters()
    return JSONResponse({tap: asdict(values) for tap, values in counters.items()})


async def _frames(service: Service, websocket: WebSocket) -> None:
    await serve_socket(websocket, partial(_send_frames, service, websocket))


async def _send_frames(service: Service, websocket: WebSocket) -> None:
    """Send frames as they pass, each behind its time; any message asks for the end."""
    interface = websocket.query_params.get("interface", "")
    async with service.lab.open_frames(interface) as frames:
        await websocket.send_text("{}")
        async with open_background() as tasks:

            async def watch() -> None:
                await websocket.receive()
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            while True:
                await websocket.send_bytes(pack_frame(await frames.receive()))
        for frame in await frames.drain():
            await websocket.send_bytes(pack_frame(frame))


async def _cut(service: Service, websocket: WebSocket) -> None:
    """Hold disks; any message asks for the end, which is there when the socket is closed."""

    async def hold() -> None:
        async with open_background() as tasks:

            async def watch() -> None:
                await websocket.receive()
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            async with service.lab.open_cut(_read_names(websocket)) as cut:
                await websocket.send_json(asdict(cut))
                await trio.sleep_forever()

    await serve_socket(websocket, hold)


def _read_names(websocket: WebSocket) -> list[str]:
    try:
        names = json.loads(websocket.query_params["nodes"])
    except (KeyError, ValueError):
        names = None
    if not isinstance(names, list) or not names:
        raise UsageError('cut: expected ?nodes=["name", ...]')
    return [str(name) for name in cast("list[object]", names)]


async def _down(service: Service, _request: Request) -> Response:
    async def go_down() -> None:
        service.going_down.set()

    # After the answer is on its way: the server ends with the lab.
    return JSONResponse({}, 202, background=BackgroundTask(go_down))
