"""What sandbox tests stand on: small plans, frames by hand, and the proof of no remains."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import trio

from netlab.plan.model import PortPlan, SegmentPlan, Wire
from netlab.sandbox.sandbox import Sandbox
from tests.conftest import list_mounts

ONE = bytes.fromhex("020000000001")
TWO = bytes.fromhex("020000000002")
BROADCAST = b"\xff" * 6
ETHERTYPE = b"\x88\xb6"
SOON = 5.0
"""Seconds in which something that must happen happens, even on a busy machine."""

HOLD_TAP = """
import socket
control = socket.socket(fileno=4)
socket.send_fds(control, [b"tap"], [3])
control.recv(1)
"""
"""A machine without a machine: it holds its tap, and lends it to the test."""


def python(code: str, *words: str) -> list[str]:
    """Return the command line of a small program."""
    return ["python3", "-IS", "-c", code, *words]


def segment(
    name: str, ports: int | Sequence[str] = 2, *, mtu: int = 1500, wire: Wire = "exact"
) -> SegmentPlan:
    """A segment whose taps are called NAME.0, NAME.1 and so on, unless their names are given."""
    taps = [f"{name}.{port}" for port in range(ports)] if isinstance(ports, int) else ports
    return SegmentPlan(
        name=name,
        bridge=f"br-{name}",
        altname=f"netlab.test.{name}",
        vlan=None,
        mtu=mtu,
        ports=tuple(PortPlan(tap=tap, altname=f"netlab.test.{tap}", wire=wire) for tap in taps),
    )


def frame(payload: bytes = b"hello", to: bytes = BROADCAST, source: bytes = ONE) -> bytes:
    return (to + source + ETHERTYPE + payload).ljust(60, b"\0")


@asynccontextmanager
async def plug(sandbox: Sandbox, tap: str) -> AsyncGenerator[int]:
    """Be the machine on a tap: a program in the sandbox holds it, we read and write it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        machine = await sandbox.launch(
            python(HOLD_TAP), descriptors={4: theirs.fileno()}, taps={3: tap}
        )
        await trio.lowlevel.wait_readable(ours)
        _, (descriptor,), _, _ = socket.recv_fds(ours, 3, 1)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
            ours.close()
            with trio.CancelScope(shield=True), suppress(Exception):
                await machine.wait()


async def hear(descriptor: int, *, within: float = SOON) -> bytes:
    """Return the next frame on a tap."""
    with trio.fail_after(within):
        await trio.lowlevel.wait_readable(descriptor)
        return os.read(descriptor, 70000)


def is_silent(descriptor: int, seconds: float = 0.0) -> bool:
    """Say whether nothing waits there, nor comes in that time."""
    return not select.select([descriptor], [], [], seconds)[0]


SPACES = ("pid", "mnt", "net")


class Namespace:
    """A sandbox's namespaces, watched from outside."""

    def __init__(self, pid: int) -> None:
        # PID 1, and unshare, which waits for it.
        self._held = [os.pidfd_open(pid), os.pidfd_open(parent(pid))]
        spaces = [Path(f"/proc/{pid}/ns/{kind}") for kind in SPACES]
        # Held open, for the kernel gives the number of a namespace that is gone to the next one:
        # that of a sandbox of another test, at the same time.
        self._spaces = [os.open(space, os.O_RDONLY) for space in spaces]
        self._names = {space.readlink() for space in spaces}

    def processes(self) -> list[str]:
        """Return the processes in any of its namespaces: unshare, PID 1 and what that started."""
        found: list[str] = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with suppress(OSError):
                    if self._names & {(folder / "ns" / kind).readlink() for kind in SPACES}:
                        found.append((folder / "cmdline").read_text())
        return found

    async def wait_gone(self) -> None:
        """Wait until its first process, and so all, is gone."""
        with trio.fail_after(SOON):
            for held in self._held:
                await trio.lowlevel.wait_readable(held)
        assert self.processes() == []

    def close(self) -> None:
        for held in (*self._held, *self._spaces):
            os.close(held)


@contextmanager
def watch(pid: int) -> Generator[Namespace]:
    namespace = Namespace(pid)
    try:
        yield namespace
    finally:
        namespace.close()


def parent(pid: int) -> int:
    """Return the parent of a process: PID 1's is unshare."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


async def abandon(sandbox: Sandbox, call: Callable[[], Awaitable[object]]) -> None:
    """Call something in a sandbox that is busy, and give it up before the answer is there."""
    os.kill(sandbox.pid, signal.SIGSTOP)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    os.kill(sandbox.pid, signal.SIGCONT)


def children(pid: int) -> set[int]:
    """Return the children of a process, whichever of its threads started them."""
    found: set[int] = set()
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found |= {int(word) for word in (task / "children").read_text().split()}
    return found


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No interface, mount, child or descriptor may be left by a test."""

    def state() -> tuple[object, ...]:
        return (
            sorted(socket.if_nameindex()),
            list(list_mounts()),
            children(os.getpid()),
            count_descriptors(),
        )

    before = state()
    yield
    assert state() == before


@contextmanager
def cable() -> Generator[tuple[int, int]]:
    """Two ends that carry frames like a pair of taps on a bridge of their own."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in ends:
        end.setblocking(False)
    with ends[0], ends[1]:
        yield ends[0].fileno(), ends[1].fileno()
