"""A launcher without a sandbox, nodes, and the image that real machines boot."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from netlab.machine.boot import Boot
from netlab.plan.model import InterfacePlan, NodePlan
from netlab.process import ServedFolder

NODE = NodePlan(
    name="r1",
    id=1,
    id_given=True,
    image="micro",
    arch="x86_64",
    accel="auto",
    cpus=1,
    memory=128,
    display="none",
    wire="exact",
    uuid="6f6b3f0c-7f3b-4c53-9d6f-0a4f5e6d7c81",
    interfaces=(),
    loopback=(),
    routes=(),
    files=(),
    run=(),
)


@pytest.fixture
def make_node() -> Callable[..., NodePlan]:
    """Make a node that differs from a plain one in what is given."""

    def make(**changes: Any) -> NodePlan:
        return replace(NODE, **changes)

    return make


@pytest.fixture
def make_interface() -> Callable[..., InterfacePlan]:
    def make(index: int, name: str, **changes: Any) -> InterfacePlan:
        plain = InterfacePlan(
            name=name,
            segment="vlan1",
            tap=f"tap{index}",
            mac=f"52:54:00:00:00:{index:02x}",
            mtu=1500,
            addresses=(),
        )
        return replace(plain, **changes)

    return make


@dataclass
class LocalProcess:
    """A child of ours."""

    pid: int
    argv: tuple[str, ...]
    pidfd: int
    status: int | None = None

    async def wait(self) -> int:
        if self.status is None:
            await trio.lowlevel.wait_readable(self.pidfd)
            os.close(self.pidfd)
            status = reap(self.pid)
            self.status = os.waitstatus_to_exitcode(status)
        return self.status

    async def send_signal(self, number: int) -> None:
        await trio.lowlevel.checkpoint()
        if self.status is None:
            signal.pidfd_send_signal(self.pidfd, number)


@dataclass
class LocalLauncher:
    """Starts programs as children of ours; taps are made in a namespace of their own."""

    started: list[LocalProcess] = field(default_factory=list[LocalProcess])

    async def launch(
        self,
        argv: Sequence[str],
        *,
        descriptors: Mapping[int, int],
        taps: Mapping[int, str] | None = None,
        folder: ServedFolder | None = None,
    ) -> LocalProcess:
        assert folder is None, "there is no sandbox here"
        opened = open_taps(list((taps or {}).values()))
        wanted = {**descriptors, **dict(zip(taps or {}, opened, strict=True))}
        # Out of the way first: one's source may be another's target.
        high = {
            number: fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, 300)
            for number, source in wanted.items()
        }
        actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)]
        actions += [(os.POSIX_SPAWN_DUP2, source, number) for number, source in high.items()]
        try:
            pid = spawn(argv, actions)
        finally:
            for descriptor in (*high.values(), *opened):
                os.close(descriptor)
        process = LocalProcess(pid, tuple(argv), os.pidfd_open(pid))
        self.started.append(process)
        await trio.lowlevel.checkpoint()
        return process


def reap(pid: int) -> int:
    return os.waitpid(pid, 0)[1]


def spawn(argv: Sequence[str], actions: Sequence[tuple[Any, ...]]) -> int:
    """Start a program in a session of its own."""
    return os.posix_spawn(argv[0], tuple(argv), os.environ, file_actions=actions, setsid=True)


@pytest.fixture
def launcher() -> Iterator[LocalLauncher]:
    """A launcher; the test fails when it leaves a process behind."""
    local = LocalLauncher()
    yield local
    left = [process.pid for process in local.started if process.status is None]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


_OPEN_TAPS = """
import fcntl, json, os, socket, struct, sys
taps = []
for name in json.loads(sys.argv[2]):
    tap = os.open("/dev/net/tun", os.O_RDWR)
    # TUNSETIFF with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
    fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x5002))
    taps.append(tap)
sender = socket.socket(fileno=int(sys.argv[1]))
for tap in taps:
    socket.send_fds(sender, [b"x"], [tap])
"""


def open_taps(names: Sequence[str]) -> list[int]:
    """Open taps in a network namespace that lives as long as they do."""
    if not names:
        return []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        subprocess.run(
            [
                *("unshare", "--map-root-user", "--net", sys.executable, "-c", _OPEN_TAPS),
                *(str(theirs.fileno()), json.dumps(list(names))),
            ],
            pass_fds=[theirs.fileno()],
            check=True,
        )
        return [socket.recv_fds(ours, 1, 1)[1][0] for _ in names]


@pytest.fixture(scope="session")
def boot() -> Boot:
    """The micro image, built when it is not there."""
    from netlab.image.store import open_store

    async def build() -> Boot:
        image = await open_store().ensure("micro")
        return Boot(kernel=str(image.kernel), initrd=str(image.initrd), append=image.append)

    return trio.run(build)


@pytest.fixture
def check_golden() -> Callable[[str, str], None]:
    """Compare with a file of `golden`; a file that is not there is written, for review."""

    def check(name: str, text: str) -> None:
        path = Path(__file__).parent / "golden" / name
        if not path.exists():
            path.write_text(text)
            pytest.fail(f"{path.name} was not there and is written now: look at it")
        assert text == path.read_text(), f"delete {path.name} and run again if this is right"

    return check
