"""What benchmarks compare with: the same QEMU, and the agent's protocol with nothing around it."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import trio

from netlab.image.store import Image
from netlab.machine.agent import FIRST_POLL, LONGEST_POLL
from netlab.machine.argv import argv, channels
from netlab.machine.boot import Boot
from netlab.plan.model import NodePlan
from netlab.sandbox.sandbox import Sandbox

SYNC = b'\xff{"execute":"guest-sync-delimited","arguments":{"id":1}}\n'
"""The answer to it begins with 0xff (QEMU guest agent protocol reference)."""

RETRY = 0.05
"""Seconds between two tries: what is sent before the guest has opened its port is lost."""


class BareAgent:
    """The guest agent's protocol: one request, one line."""

    def __init__(self, stream: trio.SocketStream) -> None:
        """Speak over this stream."""
        self._stream = stream

    async def wait_answer(self) -> None:
        """Ask until it answers for the first time."""
        answered = False
        while not answered:
            await self._stream.send_all(SYNC)
            with trio.move_on_after(RETRY):
                answered = b"\xff" in await self._stream.receive_some()

    async def wait_silent(self) -> None:
        """Throw away the answers to all the questions before."""
        with trio.move_on_after(4 * RETRY):
            while True:
                await self._stream.receive_some()

    async def call(self, command: str, **arguments: object) -> Any:
        """Send a command and return what it answers."""
        request = {"execute": command, "arguments": arguments}
        await self._stream.send_all(json.dumps(request).encode() + b"\n")
        answer = bytearray()
        while not answer.endswith(b"\n"):
            answer += await self._stream.receive_some()
        return json.loads(answer.lstrip(b"\xff"))["return"]

    async def execute(self, path: str, *arguments: str) -> bytes:
        """Run a program to its end, asking for it at netlab's pace; return what it printed."""
        asked = {"path": path, "arg": arguments, "capture-output": True}
        begin = trio.current_time()
        started = await self.call("guest-exec", **asked)
        while True:
            status = await self.call("guest-exec-status", pid=started["pid"])
            if status["exited"]:
                return base64.b64decode(status.get("out-data", ""))
            age = trio.current_time() - begin
            await trio.sleep(max(FIRST_POLL, min(age / 10, LONGEST_POLL)))

    async def write(self, path: str, content: bytes, chunk: int) -> None:
        """Write a file, so many bytes in a request."""
        handle = await self.call("guest-file-open", path=path, mode="w")
        for start in range(0, len(content), chunk):
            data = base64.b64encode(content[start : start + chunk]).decode()
            await self.call("guest-file-write", handle=handle, **{"buf-b64": data})
        await self.call("guest-file-close", handle=handle)

    async def read(self, path: str, chunk: int) -> bytes:
        """Read a file, so many bytes in a request."""
        handle = await self.call("guest-file-open", path=path, mode="r")
        content, ended = bytearray(), False
        while not ended:
            part = await self.call("guest-file-read", handle=handle, count=chunk)
            content += base64.b64decode(part["buf-b64"])
            ended = part["eof"]
        await self.call("guest-file-close", handle=handle)
        return bytes(content)


@asynccontextmanager
async def open_bare(node: NodePlan, image: Image, sandbox: Sandbox) -> AsyncGenerator[BareAgent]:
    """Start a node's QEMU in a sandbox, which also ends it, with nothing but its agent's socket."""
    boot = Boot(kernel=str(image.kernel), initrd=str(image.initrd), append=image.append)
    numbers = channels(node)
    taps = dict(zip(numbers.interfaces, (each.tap for each in node.interfaces), strict=True))
    with ExitStack() as held:
        pairs = {number: socket.socketpair() for number in (10, 11, 12)}
        for ours, theirs in pairs.values():
            held.callback(ours.close)
            held.callback(theirs.close)
        await sandbox.launch(
            argv(node, boot, accel="tcg", channels=numbers),
            descriptors={number: theirs.fileno() for number, (_, theirs) in pairs.items()},
            taps=taps,
        )
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(pairs[numbers.agent][0].dup()))
        async with stream:
            yield BareAgent(stream)
