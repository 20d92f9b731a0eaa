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
import time
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
from netlab.lab.service import Service
from netlab.plan.codec import digest
from netlab.plan.model import NodePlan

REFUSED, ENDED, DROPPED = 4000, 4001, 4002
"""Close codes of a console's WebSocket (RFC 6455, 7.4.2: 4000 to 4999 are the application's)."""


def make_application(service: Service) -> Starlette:
    """Return the ASGI application over a lab that starts, and then lives."""
    routes = [
        Route("/status", partial(_status, service)),
        Route("/ready", partial(_ready, service)),
        Route("/events", partial(_events, service)),
        Route("/nodes/{name}/exec", partial(_execute, service), methods=["POST"]),
        Route("/nodes/{name}/console", partial(_watch_console, service)),
        WebSocketRoute("/nodes/{name}/console", partial(_attach_console, service)),
        Route("/link", partial(_link, service), methods=["POST"]),
        Route("/down", partial(_down, service), methods=["POST"]),
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


def _describe_beginning(service: Service) -> dict[str, object]:
    """Describe a lab whose links and machines are not there yet, in the same form."""
    began = next((event.time for event in service.events), time.time())
    nodes = [
        _describe_plan(node)
        | {
            "state": "queued",
            "reason": service.progress(),
            "since": began,
            "accel": node.accel,
            "pid": None,
        }
        for node in service.plan.nodes
    ]
    return {
        "lab": service.plan.lab,
        "topology": service.plan.topology,
        "state": "starting",
        "pid": os.getpid(),
        "accel": "auto",
        "accel_reason": "not chosen yet",
        "digest": digest(service.plan),
        "nodes": nodes,
    }


def _describe_node(lab: Lab, name: str) -> dict[str, object]:
    node = lab.nodes[name]
    return _describe_plan(node.plan) | {
        "state": node.state,
        "reason": node.reason(),
        "since": node.since,
        "accel": lab.accels[name].accel,
        "pid": node.pid,
    }


def _describe_plan(node: NodePlan) -> dict[str, object]:
    interfaces = [
        {
            "name": interface.name,
            "segment": interface.segment,
            "tap": interface.tap,
            "mac": interface.mac,
            "addresses": list(interface.addresses),
        }
        for interface in node.interfaces
    ]
    return {
        "name": node.name,
        "id": node.id,
        "image": node.image,
        "loopback": list(node.loopback),
        "interfaces": interfaces,
    }


async def _status(service: Service, _request: Request) -> Response:
    return JSONResponse(describe(service.lab) if service.is_made else _describe_beginning(service))


async def _ready(service: Service, _request: Request) -> Response:
    lab = await service.wait_lab()
    await lab.wait_ready()
    return JSONResponse(describe(lab))


async def _events(service: Service, _request: Request) -> Response:
    async def lines() -> AsyncGenerator[str]:
        async with service.events.open_follow() as events:
            async for event in events:
                yield event.to_json() + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


async def _execute(service: Service, request: Request) -> Response:
    body = await _read_object(request)
    try:
        argv = [str(word) for word in body["argv"]]
        stdin = base64.b64decode(body.get("stdin", ""), validate=True)
        environment = {str(key): str(value) for key, value in body.get("environment", {}).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"exec: {error!r} in the request") from error
    node = service.lab[request.path_params["name"]]
    result = await node.execute(argv, stdin=stdin, environment=environment)
    return JSONResponse({
        "status": result.status,
        "stdout": base64.b64encode(result.stdout).decode(),
        "stderr": base64.b64encode(result.stderr).decode(),
    })


async def _watch_console(service: Service, request: Request) -> Response:
    machine = service.lab[request.path_params["name"]].machine

    async def output() -> AsyncGenerator[bytes]:
        async with machine.console.attach() as attachment:
            async for chunk in attachment:
                yield chunk

    return StreamingResponse(output(), media_type="application/octet-stream")


async def _attach_console(service: Service, websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        machine = service.lab[websocket.path_params["name"]].machine
    except NetlabError as error:
        await websocket.close(REFUSED, reason=str(error)[:120])
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
        if attachment.dropped:
            await websocket.close(DROPPED, reason="this reader did not keep up with the console")
        else:
            await websocket.close(ENDED, reason="the machine has ended")
        nursery.cancel_scope.cancel()


async def _link(service: Service, request: Request) -> Response:
    body = await _read_object(request)
    match body:
        case {"endpoints": [str(first), str(second)], "up": bool(up)}:
            lab = service.lab
            await lab.set_link(lab.find_segment(first, second), up=up)
            return JSONResponse({})
        case _:
            raise UsageError('link: expected {"endpoints": [a, b], "up": true or false}')


async def _down(service: Service, _request: Request) -> Response:
    async def go_down() -> None:
        service.going_down.set()

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
