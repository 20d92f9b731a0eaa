"""A machine for tests of images: QEMU with a serial console and the agent's port, nothing more."""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from netlab.image.store import Image

LIMIT = 180.0
"""Seconds for whatever a guest is asked: generous, because the host may be busy."""


@dataclass(slots=True, kw_only=True)
class Guest:
    """A running machine."""

    process: subprocess.Popen[bytes]
    agent: socket.socket
    console: socket.socket
    output: bytes = b""
    _replies: bytes = field(default=b"", init=False)
    _number: int = field(default=0, init=False)

    def sync(self) -> None:
        """Wait for the agent; what it said before is dropped."""
        # Asked again and again: an agent that ends takes with it what it has not read.
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            self._number += 1
            self.send("guest-sync-delimited", id=self._number)
            try:
                while True:
                    line = self._read_until(b"\n", limit=2).rpartition(b"\xff")[2]
                    if json.loads(line).get("return") == self._number:
                        return
            except TimeoutError:
                continue
        raise AssertionError(f"no agent has answered in {LIMIT} s")

    def send(self, command: str, **arguments: object) -> None:
        line = json.dumps({"execute": command, "arguments": arguments})
        self.agent.sendall(b"\xff" * command.endswith("delimited") + line.encode() + b"\n")

    def call(self, command: str, **arguments: object) -> Any:
        self.send(command, **arguments)
        reply = json.loads(self._read_until(b"\n"))
        assert "return" in reply, reply
        return reply["return"]

    def run(self, script: str) -> str:
        """Run a script in the guest's shell; it has to succeed. Return what it prints."""
        status, text = self.attempt(script)
        assert status == 0, f"{script}\n{text}"
        return text

    def attempt(self, script: str) -> tuple[int, str]:
        """Run a script in the guest's shell; return its status and what it prints."""
        arguments = {"path": "/bin/sh", "arg": ["-c", f"exec 2>&1\n{script}"]}
        # The agent opens pipes and has no message for the end: a poll is its protocol.
        pid = self.call("guest-exec", **arguments, **{"capture-output": True})["pid"]
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            state = self.call("guest-exec-status", pid=pid)
            if state["exited"]:
                text = base64.b64decode(state.get("out-data", "")).decode(errors="replace")
                return state.get("exitcode", -1), text
        raise AssertionError(f"{script} has not ended after {LIMIT} s")

    def wait_console(self, pattern: str) -> str:
        """Wait until the console has shown something."""
        self.console.settimeout(LIMIT)
        while not (found := re.search(pattern, self.output.decode(errors="replace"))):
            data = self.console.recv(65536)
            assert data, f"the console ended without {pattern!r}:\n{self.output.decode()}"
            self.output += data
        return found[0]

    def _read_until(self, end: bytes, *, limit: float = LIMIT) -> bytes:
        self.agent.settimeout(limit)
        while end not in self._replies:
            data = self.agent.recv(65536)
            assert data, "the agent's connection has ended"
            self._replies += data
        line, _, self._replies = self._replies.partition(end)
        return line


def open_guest(
    image: Image, *, memory: int = 128, devices: Sequence[str] = ()
) -> AbstractContextManager[Guest]:
    """Boot an image's kernel; it is ended when the block is left."""
    words = ["-machine", "q35", "-m", str(memory)]
    words += ["-object", "rng-random,id=random,filename=/dev/urandom"]
    words += ["-device", "virtio-rng-pci,rng=random"]
    words += ["-nic", "user,model=virtio-net-pci,restrict=on"]
    words += [word for device in devices for word in ("-device", device)]
    if image.disk is not None:
        drive = f"if=virtio,format=qcow2,snapshot=on,file={image.disk}"
        words += ["-drive", drive]
    words += ["-kernel", str(image.kernel), "-initrd", str(image.initrd)]
    return open_qemu([*words, "-append", image.append])


@contextmanager
def open_qemu(options: Sequence[str]) -> Generator[Guest]:
    """Start a machine with a console, an agent's port and these options; it ends with the block."""
    (agent, agent_end), (console, console_end) = socket.socketpair(), socket.socketpair()
    with agent, agent_end, console, console_end:
        words = (
            "qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot "
            "-accel tcg -cpu max "
            f"-chardev socket,id=agent,fd={agent_end.fileno()} -device virtio-serial "
            "-device virtserialport,chardev=agent,name=org.qemu.guest_agent.0 "
            f"-chardev socket,id=console,fd={console_end.fileno()} -serial chardev:console"
        ).split()
        process = subprocess.Popen(
            [*words, *options],
            stdin=subprocess.DEVNULL,
            pass_fds=[agent_end.fileno(), console_end.fileno()],
        )
        try:
            agent_end.close()
            console_end.close()
            yield Guest(process=process, agent=agent, console=console)
        finally:
            process.kill()
            process.wait()
