"""The control API of a lab process: HTTP and WebSocket over a Unix socket in a 0700 folder.

==========================  ========================================================================
``GET /status``             the lab and its nodes
``GET /ready``              waits until every node is ready; an error when one failed
``GET /events``             every event so far and to come, one JSON object a line
``POST /nodes/N/exec``      runs a program: ``{"argv", "stdin" (base64), "environment"}``
``GET /nodes/N/console``    the console's output from now on, raw
``WS /nodes/N/console``     the console, both ways, in binary messages
``POST /link``              ``{"endpoints": [a, b], "up": false}``: pulls or restores cables
``POST /down``              takes the lab down; answers before it is
==========================  ========================================================================

Errors are ``{"error": {"class", "message", "hint", "evidence"}}`` with a status of 4xx for the
caller's mistakes and 500 for the lab's.
"""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any, cast

import trio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from netlab.errors import InputError, NetlabError, UsageError
from netlab.lab.lab import Lab
from netlab.lab.records import to_record
from netlab.plan.codec import digest


def make_application(lab: Lab, going_down: trio.Event) -> Starlette:
    """Return the ASGI application over a live lab.

    Args:
        lab: What it serves.
        going_down: Set when a client asks for the end.
    """
    routes = [
        Route("/status", partial(_status, lab)),
        Route("/ready", partial(_ready, lab)),
        Route("/events", partial(_events, lab)),
        Route("/nodes/{name}/exec", partial(_execute, lab), methods=["POST"]),
        Route("/nodes/{name}/console", partial(_watch_console, lab)),
        WebSocketRoute("/nodes/{name}/console", partial(_attach_console, lab)),
        Route("/link", partial(_link, lab), methods=["POST"]),
        Route("/down", partial(_down, going_down), methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={NetlabError: _refuse})


async def _refuse(_request: Request, error: Exception) -> Response:
    status = 400 if isinstance(error, InputError) else 500
    return JSONResponse({"error": to_record(error)}, status)


def describe(lab: Lab) -> dict[str, object]:
    """Return the lab and its nodes as `netlab status` shows them."""
    nodes = [_describe_node(lab, name) for name in lab.nodes]
    choices = lab.accels.values()
    states = {node.state for node in lab.nodes.values()}
    if states & {"queued", "booting", "configuring"}:
        state = "starting"
    else:
        state = "ready" if states <= {"ready"} else "degraded"
    return {
        "lab": lab.plan.lab,
        "topology": lab.plan.topology,
        "state": state,
        "pid": os.getpid(),
        "accel": " and ".join(dict.fromkeys(choice.accel for choice in choices)),
        "accel_reason": "; ".join(dict.fromkeys(choice.reason for choice in choices)),
        "digest": digest(lab.plan),
        "nodes": nodes,
    }


def _describe_node(lab: Lab, name: str) -> dict[str, object]:
    node = lab.nodes[name]
    interfaces = [
        {
            "name": interface.name,
            "segment": interface.segment,
            "tap": interface.tap,
            "mac": interface.mac,
            "addresses": list(interface.addresses),
        }
        for interface in node.plan.interfaces
    ]
    return {
        "name": name,
        "id": node.plan.id,
        "state": node.state,
        "reason": node.reason(),
        "since": node.since,
        "image": node.plan.image,
        "accel": lab.accels[name].accel,
        "pid": node.pid,
        "loopback": list(node.plan.loopback),
        "interfaces": interfaces,
    }


async def _status(lab: Lab, _request: Request) -> Response:
    return JSONResponse(describe(lab))


async def _ready(lab: Lab, _request: Request) -> Response:
    await lab.wait_ready()
    return JSONResponse(describe(lab))


async def _events(lab: Lab, _request: Request) -> Response:
    async def lines() -> AsyncGenerator[str]:
        async with lab.events.open_follow() as events:
            async for event in events:
                yield event.to_json() + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


async def _execute(lab: Lab, request: Request) -> Response:
    body = await _read_object(request)
    try:
        argv = [str(word) for word in body["argv"]]
        stdin = base64.b64decode(body.get("stdin", ""), validate=True)
        environment = {str(key): str(value) for key, value in body.get("environment", {}).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"exec: {error!r} in the request") from error
    node = lab[request.path_params["name"]]
    result = await node.execute(argv, stdin=stdin, environment=environment)
    return JSONResponse({
        "status": result.status,
        "stdout": base64.b64encode(result.stdout).decode(),
        "stderr": base64.b64encode(result.stderr).decode(),
    })


async def _watch_console(lab: Lab, request: Request) -> Response:
    machine = lab[request.path_params["name"]].machine

    async def output() -> AsyncGenerator[bytes]:
        async with machine.console.attach() as attachment:
            async for chunk in attachment:
                yield chunk

    return StreamingResponse(output(), media_type="application/octet-stream")


async def _attach_console(lab: Lab, websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        machine = lab[websocket.path_params["name"]].machine
    except NetlabError as error:
        await websocket.close(4000, reason=str(error)[:120])
        return
    async with machine.console.attach() as attachment, trio.open_nursery() as nursery:

        async def type_in() -> None:
            try:
                while True:
                    await attachment.send(await websocket.receive_bytes())
            except WebSocketDisconnect:
                nursery.cancel_scope.cancel()

        nursery.start_soon(type_in)
        async for chunk in attachment:
            await websocket.send_bytes(chunk)
        await websocket.close(1000, reason="the console ended")
        nursery.cancel_scope.cancel()


async def _link(lab: Lab, request: Request) -> Response:
    body = await _read_object(request)
    match body:
        case {"endpoints": [str(first), str(second)], "up": bool(up)}:
            await lab.set_link(lab.find_segment(first, second), up=up)
            return JSONResponse({})
        case _:
            raise UsageError('link: expected {"endpoints": [a, b], "up": true or false}')


async def _down(going_down: trio.Event, _request: Request) -> Response:
    async def go_down() -> None:
        going_down.set()

    # After the answer is on its way: the server ends with the lab.
    return JSONResponse({}, 202, background=BackgroundTask(go_down))


async def _read_object(request: Request) -> dict[str, Any]:
    try:
        body: object = await request.json()
    except ValueError as error:
        raise UsageError(f"the request is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise UsageError("the request is not a JSON object")
    return cast("dict[str, Any]", body)
