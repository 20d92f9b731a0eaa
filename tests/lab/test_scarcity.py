"""What the host lacks: told where it is met, and no end of what goes on without it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
import trio
from starlette.websockets import WebSocket

from netlab import resolve
from netlab.errors import StorageError
from netlab.lab.api import make_application
from netlab.lab.events import EventLog
from netlab.lab.lab import Lab
from netlab.lab.node import Circumstances, Node
from netlab.lab.requests import serve_socket
from netlab.lab.service import Service
from netlab.machine.boot import Boot
from netlab.machine.cut import open_cut
from netlab.machine.machine import Machine
from netlab.process import Launcher
from netlab.scopes import open_background
from netlab.topology.load import loads

PLAN = resolve(loads("name: one\nnodes: {r1: {id: 1}}\n"))
(NODE,) = PLAN.nodes


async def test_what_the_host_lacks_for_one_node_ends_that_node_alone(tmp_path: Path) -> None:
    async def launch(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    shared = Circumstances(
        launcher=cast("Launcher", SimpleNamespace(launch=launch)),
        hosts=(),
        slots=trio.CapacityLimiter(1),
        folder=tmp_path,
        kept=tmp_path,
    )
    node = Node(NODE, EventLog())
    async with open_background() as tasks:
        tasks.start_soon(node.run, Boot(kernel="k", initrd="i"), "tcg", shared)
        with trio.fail_after(20), pytest.raises(StorageError, match="r1: Too many open files"):
            await node.wait_ready()
        assert node.state == "failed"
        assert shared.slots.borrowed_tokens == 0


async def test_what_the_host_lacks_is_told_to_who_asked() -> None:
    async def lack(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    service = Service(PLAN, EventLog())
    service.begin(cast("Lab", SimpleNamespace(counters=lack)))
    transport = httpx.ASGITransport(make_application(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://netlab") as client:
        answer = await client.get("/counters")
    assert answer.status_code == 500
    assert "Too many open files" in answer.json()["error"]["message"]

    told: list[Any] = []

    async def take(*value: object) -> None:
        await trio.lowlevel.checkpoint()
        told.extend(value)

    websocket = cast("WebSocket", SimpleNamespace(accept=take, send_json=take, close=take))
    await serve_socket(websocket, lack)
    assert "Too many open files" in told[0]["error"]["message"]


async def test_disks_that_cannot_be_held_for_the_host_say_where(tmp_path: Path) -> None:
    async def execute(command: str, **_: object) -> object:
        await trio.lowlevel.checkpoint()
        disk = {"node-name": "disk0", "image": {"virtual-size": 1 << 20}}
        return [disk] if command == "query-named-block-nodes" else {}

    async def give_descriptor(*_: object) -> None:
        await trio.lowlevel.checkpoint()

    monitor = SimpleNamespace(execute=execute, give_descriptor=give_descriptor)
    machine = cast("Machine", SimpleNamespace(qmp=monitor, node=NODE))
    with pytest.raises(StorageError, match=r"/gone/cut-.*: No such file"):
        async with open_cut([machine], [tmp_path / "gone"]):
            raise AssertionError("unreachable")
