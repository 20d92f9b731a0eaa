"""A guest agent at the other end of a stream, as far as the tests of its client need one."""

import base64
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio
import trio.testing

from netlab.machine.agent import CHUNK, Agent, open_agent

Handler = Callable[[dict[str, Any]], object]


@dataclass
class FakeAgent:
    """An agent that is as strict about its stream as the real one.

    It reads bytes, forgets everything before a 0xFF, complains about it, and answers in order.
    """

    stream: Any
    with_ids: bool = True
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    handles: dict[int, list[Any]] = field(default_factory=dict[int, list[Any]])
    polls: int = 1
    status: dict[str, object] = field(default_factory=lambda: {"exitcode": 0})
    seen: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    held: trio.Event | None = None
    frozen: bool = False

    async def run(self) -> None:
        buffer = b""
        while data := await self.stream.receive_some(65536):
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                await self._take(line)

    async def _take(self, line: bytes) -> None:
        if b"\xff" in line:
            line = line.rpartition(b"\xff")[2]
            await self.send({"error": {"class": "GenericError", "desc": "stray 0xFF"}})
        if not line.strip():
            return
        try:
            request = json.loads(line)
        except ValueError:
            await self.send({"error": {"class": "GenericError", "desc": "JSON parse error"}})
            return
        self.seen.append(request)
        if self.held is not None:
            await self.held.wait()
        await self._answer(request)

    async def _answer(self, request: dict[str, Any]) -> None:
        arguments = request.get("arguments", {})
        if request["execute"] == "guest-sync-delimited":
            await self.stream.send_all(b"\xff")
            await self.send({"return": arguments["id"]})
            return
        handler: Handler = getattr(self, request["execute"].replace("-", "_"))
        if self.frozen and request["execute"] != "guest-fsfreeze-thaw":
            handler = self.refuse
        try:
            answer: dict[str, object] = {"return": handler(arguments)}
        except OSError as error:
            answer = {"error": {"class": "GenericError", "desc": str(error)}}
        if self.with_ids and "id" in request:
            answer["id"] = request["id"]
        await self.send(answer)

    async def send(self, message: object) -> None:
        await self.stream.send_all(json.dumps(message).encode() + b"\n")

    def refuse(self, _arguments: dict[str, Any]) -> object:
        raise OSError("Command has been disabled: the agent is in frozen state")

    def guest_fsfreeze_freeze(self, _arguments: dict[str, Any]) -> object:
        self.frozen = True
        return 1

    def guest_fsfreeze_thaw(self, _arguments: dict[str, Any]) -> object:
        self.frozen = False
        return 1

    def guest_info(self, _arguments: dict[str, Any]) -> object:
        commands = [{"name": "guest-exec", "enabled": True}, {"name": "guest-x", "enabled": False}]
        return {"version": "7.2.22", "supported_commands": commands}

    def guest_exec(self, arguments: dict[str, Any]) -> object:
        if arguments["path"] == "/nowhere":
            raise OSError("Failed to execute child process")
        return {"pid": 100}

    def guest_exec_status(self, _arguments: dict[str, Any]) -> object:
        self.polls -= 1
        return {"exited": False} if self.polls > 0 else {"exited": True, **self.status}

    def guest_file_open(self, arguments: dict[str, Any]) -> object:
        path = arguments["path"]
        if arguments["mode"] == "w":
            self.files[path] = b""
        elif path not in self.files:
            raise OSError(f"failed to open file '{path}': No such file or directory")
        handle = 1000 + len(self.seen)
        self.handles[handle] = [path, 0]
        return handle

    def guest_file_write(self, arguments: dict[str, Any]) -> object:
        path, _ = self.handles[arguments["handle"]]
        data = base64.b64decode(arguments["buf-b64"])[: CHUNK - 7]
        self.files[path] += data
        return {"count": len(data), "eof": False}

    def guest_file_read(self, arguments: dict[str, Any]) -> object:
        handle = self.handles[arguments["handle"]]
        path, offset = handle
        data = self.files[path][offset : offset + arguments["count"]]
        handle[1] += len(data)
        eof = handle[1] >= len(self.files[path])
        return {"count": len(data), "buf-b64": base64.b64encode(data).decode(), "eof": eof}

    def guest_file_close(self, arguments: dict[str, Any]) -> object:
        del self.handles[arguments["handle"]]
        return {}

    def commands(self) -> list[str]:
        return [request["execute"] for request in self.seen]


@asynccontextmanager
async def connected(**options: Any) -> AsyncGenerator[tuple[Agent, FakeAgent]]:
    ours, theirs = trio.testing.memory_stream_pair()
    fake = FakeAgent(theirs, **options)
    async with trio.open_nursery() as nursery, open_agent(ours) as agent:
        nursery.start_soon(fake.run)
        yield agent, fake
        nursery.cancel_scope.cancel()
