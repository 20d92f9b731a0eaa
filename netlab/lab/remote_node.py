"""A node of a lab that lives in another process."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, final
from urllib.parse import quote

import trio

from netlab.errors import ControlError
from netlab.lab.access import State
from netlab.lab.connection import Connection, Socket, read_lines
from netlab.lab.events import Event
from netlab.lab.records import from_record
from netlab.machine.agent import Result
from netlab.machine.output import Output
from netlab.machine.streams import Terminal
from netlab.plan.model import NodePlan

DIAGNOSIS = 0.5
"""Seconds that a lab process gets to say what is wrong with one of its machines."""


@final
class RemoteNode:
    """A node; its verbs are those of :class:`netlab.lab.node.Node`, and raise the same.

    Beside that, every one raises ControlError when the lab process does not answer.

    Attributes:
        plan: What it is.
        state: How far it is, as far as it has been told.
        pid: QEMU's process id, or None when it does not run.
        console_start: The console's position when this process came to the lab.
    """

    def __init__(self, plan: NodePlan, connection: Connection, about: Mapping[str, Any]) -> None:
        self.plan = plan
        self.state: State = "queued"
        self.pid: int | None = None
        self.console_start = int(about.get("console", 0))
        self._connection = connection
        self._path = f"/nodes/{quote(plan.name, safe='')}"
        self._reason = ""
        self._since = 0.0
        self._take(about)

    def take_event(self, event: Event) -> None:
        """Know what the lab tells of it, if that is news."""
        if event.time > self._since and event.state is not None:
            self._since = event.time
            self.state = _STATES[event.state]
            self._reason = "" if event.state == "ready" else event.message

    def reason(self) -> str:
        """Say what it is waiting for, or how it ended; empty when it is ready."""
        return self._reason

    async def wait_ready(self) -> None:
        """Wait until it is ready."""
        self._take(await self._connection.get(f"{self._path}/ready"))

    async def start(self) -> None:
        """Let it boot if it is stopped or failed."""
        await self._power("start")
        self.console_start = 0

    async def shutdown(self) -> None:
        """Power off and wait until it has ended."""
        await self._power("shutdown")

    async def crash(self) -> None:
        """Cut its power."""
        await self._power("crash")

    async def reboot(self) -> None:
        """Ask the guest to boot again, and wait until it does."""
        await self._power("reboot")

    async def pause(self) -> None:
        """Stop the guest's CPUs."""
        await self._power("pause")

    async def resume(self) -> None:
        """Let the guest's CPUs go on."""
        await self._power("resume")

    async def set_link(self, interface: str, *, up: bool) -> None:
        """Plug or pull an interface's cable."""
        await self._connection.post(f"{self._path}/cable", {"interface": interface, "up": up})

    async def execute(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        output: Output | None = None,
    ) -> Result:
        """Run a program in the guest."""
        body = {
            "argv": list(argv),
            "stdin": base64.b64encode(stdin).decode(),
            "environment": dict(environment or {}),
            "tell": output is not None,
        }
        path = f"{self._path}/exec"
        if output is None:
            return _result(await self._connection.post(path, body))
        last: Mapping[str, Any] = {}
        # Read to its end: what httpx iterates with must not be left half-way.
        async with self._connection.open_pieces("POST", path, body=body) as response:
            async for last in read_lines(response):
                if "stream" in last:
                    output(str(last["stream"]), base64.b64decode(last["data"]))
        if "error" in last:
            raise from_record(last["error"])
        if "status" not in last:
            raise ControlError(f"{self.plan.name}: the lab did not say how a program ended")
        return _result(last)

    @asynccontextmanager
    async def open_file(
        self, path: str, mode: Literal["r", "w", "a"]
    ) -> AsyncGenerator[RemoteFile]:
        """Open a file in the guest, to read it once or to write it."""
        file = RemoteFile(self._connection, f"{self._path}/file", path)
        if mode == "w":
            await file.truncate()
        yield file

    @asynccontextmanager
    async def open_stream(
        self, argv: Sequence[str], *, terminal: Terminal | None = None
    ) -> AsyncGenerator[RemoteStream]:
        """Run a program in the guest and speak with it."""
        async with self._connection.open_socket(f"{self._path}/stream") as socket:
            size = terminal and [terminal.rows, terminal.columns, terminal.kind]
            await socket.send_text(json.dumps({"argv": list(argv), "terminal": size}))
            # The first message says that it runs.
            await socket.receive()
            yield RemoteStream(socket)

    async def qmp(self, command: str, /, **arguments: object) -> object:
        """Run a command of QEMU's monitor."""
        body = {"execute": command, "arguments": arguments}
        return (await self._connection.post(f"{self._path}/qmp", body))["return"]

    async def wait_console_text(self, pattern: str, *, since: int) -> tuple[str, int]:
        """Wait until the console prints what matches; return it and the position behind."""
        body = {"pattern": pattern, "since": since}
        answer = await self._connection.post(f"{self._path}/console/text", body)
        return str(answer["text"]), int(answer["position"])

    async def console_tail(self, lines: int = 20) -> tuple[str, ...]:
        """Return the console's last lines; empty when it does not run."""
        answer = await self._connection.get(f"{self._path}/console/tail", lines=str(lines))
        return tuple(answer["lines"])

    async def diagnose(self) -> str:
        """Say what is wrong with it when it does not answer in time; empty if nothing is known."""
        with trio.move_on_after(DIAGNOSIS):
            try:
                return str((await self._connection.get(f"{self._path}/diagnosis"))["diagnosis"])
            except ControlError as error:
                return error.message
        return "the lab process does not answer"

    async def _power(self, action: str) -> None:
        self._take(await self._connection.post(f"{self._path}/power", {"action": action}))

    def _take(self, about: Mapping[str, Any]) -> None:
        self.pid = about["pid"]
        if about["since"] >= self._since:
            self._since = float(about["since"])
            self.state = _STATES[about["state"]]
            self._reason = str(about["reason"])


_STATES: Mapping[str, State] = {
    "queued": "queued",
    "booting": "booting",
    "configuring": "configuring",
    "ready": "ready",
    "failed": "failed",
    "stopped": "stopped",
}


@final
class RemoteFile:
    """A file in the guest."""

    def __init__(self, connection: Connection, address: str, path: str) -> None:
        self._connection = connection
        self._address = address
        self._path = path

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield what is in it, from its beginning."""
        async with self._connection.open_pieces("GET", self._address, path=self._path) as response:
            async for chunk in response.aiter_bytes():
                yield chunk

    async def truncate(self) -> None:
        """Make it empty, or make it."""
        await self._connection.put(self._address, b"", path=self._path, mode="w")

    async def write(self, content: bytes) -> None:
        """Write at the end."""
        await self._connection.put(self._address, content, path=self._path, mode="a")


@final
class RemoteStream:
    """A program in the guest.

    Attributes:
        status: Its exit status, once :meth:`receive` has returned nothing.
    """

    def __init__(self, socket: Socket) -> None:
        self.status = -1
        self._socket = socket

    async def send_all(self, data: bytes) -> None:
        """Let it read this."""
        await self._socket.send_bytes(data)

    async def send_eof(self) -> None:
        """Let it read no more; what it prints still comes."""
        await self._socket.send_text("eof")

    async def receive(self) -> bytes:
        """Return what it printed next, at least a byte; nothing at its end."""
        message = await self._socket.receive()
        if isinstance(message, bytes):
            return message
        if message is not None:
            self.status = int(message["status"])
        return b""

    async def resize(self, terminal: Terminal) -> None:
        """Tell its terminal another size; nothing happens where there is none."""
        await self._socket.send_text(json.dumps([terminal.rows, terminal.columns]))


def _result(answer: Mapping[str, Any]) -> Result:
    return Result(
        status=int(answer["status"]),
        stdout=base64.b64decode(answer.get("stdout", "")),
        stderr=base64.b64decode(answer.get("stderr", "")),
        error=answer["incomplete"],
    )
