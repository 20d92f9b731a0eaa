"""What a lab offers to who uses it, whether it lives in this process or in another.

:class:`netlab.lab.lab.Lab` is the one, :class:`netlab.lab.remote.RemoteLab` the other; the
vocabulary of tests knows nothing but this.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal, Protocol

from netlab.lab.events import Event
from netlab.lab.frames import Frame
from netlab.machine.agent import Result
from netlab.machine.cut import Cut
from netlab.machine.output import Output
from netlab.machine.streams import ProgramStream, Terminal
from netlab.plan.model import NodePlan, Plan, SegmentPlan
from netlab.sandbox.sandbox import Counters

State = Literal["queued", "booting", "configuring", "ready", "failed", "stopped"]


class FileAccess(Protocol):
    """An open file in a guest. Iterate for what is in it."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def write(self, content: bytes) -> None:
        """Write at the end."""
        ...


class FrameAccess(Protocol):
    """What passes a link."""

    async def receive(self) -> Frame:
        """Return the next frame that passes."""
        ...

    async def drain(self) -> list[Frame]:
        """Return the frames that have passed and were not received; the last call."""
        ...


class NodeAccess(Protocol):
    """A node of a lab; :class:`netlab.lab.node.Node` says what each does and raises."""

    @property
    def plan(self) -> NodePlan:
        """What it is."""
        ...

    @property
    def state(self) -> State:
        """How far it is."""
        ...

    @property
    def pid(self) -> int | None:
        """QEMU's process id as the host sees it, or None when it does not run."""
        ...

    @property
    def console_start(self) -> int:
        """The console's position from which on its output is this user's matter."""
        ...

    def reason(self) -> str:
        """Say what it is waiting for, or how it ended."""
        ...

    async def wait_ready(self) -> None:
        """Wait until it is ready."""
        ...

    async def start(self) -> None:
        """Let it boot if it is stopped or failed."""
        ...

    async def shutdown(self) -> None:
        """Power off and wait until it has ended."""
        ...

    async def crash(self) -> None:
        """Cut its power."""
        ...

    async def reboot(self) -> None:
        """Ask the guest to boot again, and wait until it does."""
        ...

    async def pause(self) -> None:
        """Stop the guest's CPUs."""
        ...

    async def resume(self) -> None:
        """Let the guest's CPUs go on."""
        ...

    async def set_link(self, interface: str, *, up: bool) -> None:
        """Plug or pull an interface's cable."""
        ...

    async def execute(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        output: Output | None = None,
    ) -> Result:
        """Run a program in the guest."""
        ...

    def open_file(
        self, path: str, mode: Literal["r", "w", "a"]
    ) -> AbstractAsyncContextManager[FileAccess]:
        """Open a file in the guest."""
        ...

    def open_stream(
        self, argv: Sequence[str], *, terminal: Terminal | None = None
    ) -> AbstractAsyncContextManager[ProgramStream]:
        """Run a program in the guest and speak with it."""
        ...

    async def qmp(self, command: str, /, **arguments: object) -> object:
        """Run a command of QEMU's monitor."""
        ...

    async def wait_console_text(self, pattern: str, *, since: int) -> tuple[str, int]:
        """Wait until the console prints what matches; return it and the position behind."""
        ...

    async def console_tail(self, lines: int = 20) -> tuple[str, ...]:
        """Return the console's last lines; empty when it does not run."""
        ...

    async def diagnose(self) -> str:
        """Say what is wrong with it when it does not answer in time."""
        ...


class LabAccess(Protocol):
    """A lab; :class:`netlab.lab.lab.Lab` says what each does and raises."""

    @property
    def plan(self) -> Plan:
        """What it is."""
        ...

    @property
    def folder(self) -> Path:
        """Holds the logs of its machines, each node's in ``nodes/NAME``."""
        ...

    @property
    def nodes(self) -> Mapping[str, NodeAccess]:
        """Its nodes by name."""
        ...

    @property
    def events(self) -> Iterable[Event]:
        """What happened so far."""
        ...

    async def wait_ready(self) -> None:
        """Wait until every node is ready."""
        ...

    async def set_link(self, segment: SegmentPlan, *, up: bool) -> None:
        """Pull a segment's cables, or put them back."""
        ...

    async def counters(self) -> Mapping[str, Counters]:
        """Return the counters of every tap, by name."""
        ...

    def open_frames(self, interface: str) -> AbstractAsyncContextManager[FrameAccess]:
        """Hear what passes a tap or a bridge."""
        ...

    def open_cut(self, names: Iterable[str]) -> AbstractAsyncContextManager[Cut]:
        """Hold the disks of nodes as they are now."""
        ...
