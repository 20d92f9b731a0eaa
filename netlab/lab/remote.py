"""A lab that lives in another process, with all that one in this process offers.

::

    async with open_remote(lab_folders("ring")) as lab:
        await lab.nodes["r1"].execute(("ip", "route"))

Everything goes over the control API; what it raises is what the lab process raised.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, final

import trio

from netlab.errors import ControlError, NetlabError
from netlab.lab.client import open_client
from netlab.lab.connection import Connection, Socket, open_connection, read_lines
from netlab.lab.events import Event, EventLog
from netlab.lab.folders import LabFolders
from netlab.lab.frames import Frame, unpack_frame
from netlab.lab.plans import read_plan
from netlab.lab.remote_node import RemoteNode
from netlab.machine.cut import Cut, read_cut
from netlab.plan.model import Plan, SegmentPlan
from netlab.sandbox.sandbox import Counters
from netlab.scopes import open_background, open_tasks

LET_GO_LIMIT = 30.0
"""Seconds that a lab gets to let go of what it held, also when who asked for it was cancelled."""


@final
class RemoteLab:
    """A lab in another process; made by :func:`open_remote`.

    Attributes:
        plan: What it is.
        nodes: Its nodes by name.
        events: What happened so far, as far as it has been told.
        folder: Where its logs are.
    """

    def __init__(
        self, plan: Plan, connection: Connection, folder: Path, status: Mapping[str, Any]
    ) -> None:
        self.plan = plan
        self.events = EventLog()
        self.folder = folder
        described: Sequence[Mapping[str, Any]] = status["nodes"]
        self.nodes: Mapping[str, RemoteNode] = {
            node.name: RemoteNode(node, connection, about)
            for node, about in zip(plan.nodes, described, strict=True)
        }
        self._connection = connection

    async def wait_ready(self) -> None:
        """Wait until every node is ready; the deadline is the caller's.

        Raises:
            NetlabError: A node failed; the first one's reason.
        """
        async with open_tasks() as tasks:
            for node in self.nodes.values():
                tasks.start_soon(node.wait_ready)

    async def set_link(self, segment: SegmentPlan, *, up: bool) -> None:
        """Pull a segment's cables, or put them back: guests see their carrier change."""
        await self._connection.post("/link", {"segment": segment.name, "up": up})

    async def counters(self) -> Mapping[str, Counters]:
        """Return the counters of every tap, by name."""
        answer = await self._connection.get("/counters")
        return {tap: Counters(**values) for tap, values in answer.items()}

    @asynccontextmanager
    async def open_frames(self, interface: str) -> AsyncGenerator[RemoteFrames]:
        """Hear what passes a tap or a bridge while the block runs.

        Raises:
            UnknownNameError: There is none of that name.
        """
        async with self._connection.open_socket("/frames", interface=interface) as socket:
            # The first message says that it is heard from now on.
            await socket.receive()
            yield RemoteFrames(socket)

    @asynccontextmanager
    async def open_cut(self, names: Iterable[str]) -> AsyncGenerator[Cut]:
        """Hold the disks of nodes as they are now while the block runs.

        Raises:
            UnknownNameError: There is no such node.
            NotReadyError: One does not run.
            MachineError: A node's disks are held already.
        """
        released = trio.Event()
        async with open_tasks() as tasks:
            record: Mapping[str, Any] = await tasks.start(self._hold, list(names), released)
            try:
                yield read_cut(record)
            finally:
                released.set()

    async def _hold(
        self,
        names: Sequence[str],
        released: trio.Event,
        task_status: trio.TaskStatus[Mapping[str, Any]],
    ) -> None:
        """Have disks held, say what the lab answers, and have them let go when they are released.

        A task of its own: a socket is read by a task that is cancelled with whoever opened it, and
        then nobody hears that the disks are let go. Who asks again at once would be told that they
        are held.
        """
        with trio.CancelScope() as scope:
            async with self._connection.open_socket("/cut", nodes=json.dumps(names)) as socket:
                answer = await socket.receive()
                if not isinstance(answer, dict):
                    raise ControlError("the lab did not say what it holds")
                scope.shield = True
                task_status.started(answer)
                await released.wait()
                with trio.move_on_after(LET_GO_LIMIT), suppress(NetlabError):
                    await socket.send_text("end")
                    while await socket.receive() is not None:
                        pass

    async def follow_events(self) -> None:
        """Take in what happens until the lab ends."""
        async with self._connection.open_pieces("GET", "/events") as response:
            async for record in read_lines(response):
                event = Event(**record)
                self.events.add(event)
                if event.node is not None and event.state is not None:
                    self.nodes[event.node].take_event(event)


@final
class RemoteFrames:
    """Frames of a link in another process."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    async def receive(self) -> Frame:
        """Return the next frame that passes.

        Raises:
            ControlError: The lab ended.
        """
        data = await self._socket.receive()
        if not isinstance(data, bytes):
            raise ControlError("the lab sends no more frames")
        return unpack_frame(data)

    async def drain(self) -> list[Frame]:
        """Return the frames that have passed and were not received; the last call."""
        await self._socket.send_text("end")
        frames: list[Frame] = []
        while isinstance(data := await self._socket.receive(), bytes):
            frames.append(unpack_frame(data))
        return frames


@asynccontextmanager
async def open_remote(folders: LabFolders) -> AsyncGenerator[RemoteLab]:
    """Use a lab that is up; leaving the block leaves it as it is.

    Raises:
        UnknownNameError: No lab of that name is up.
        ControlError: It does not answer, or its plan cannot be read any more.
    """
    await trio.to_thread.run_sync(open_client, folders)
    async with open_connection(folders) as connection:
        plan = await trio.to_thread.run_sync(read_plan, folders)
        status = await connection.get("/status")
        lab = RemoteLab(plan, connection, folders.state, status)
        async with open_background() as tasks:
            tasks.start_soon(_follow, lab)
            yield lab


async def _follow(lab: RemoteLab) -> None:
    try:
        await lab.follow_events()
    except ControlError:
        # The lab has ended: who asks it for something is told so.
        return
