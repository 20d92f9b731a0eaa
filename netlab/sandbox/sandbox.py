"""A lab's namespaces, from the outside: open them, start programs in them, pull cables.

    async with open_sandbox(plan.segments) as sandbox:
        await sandbox.verify_wiring()
        machine = await sandbox.launch(argv, descriptors={3: qmp}, taps={4: "r1.eth1"})

However the scope ends, and however this process ends, everything in the sandbox ends with it.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import NoReturn

import trio

from netlab.errors import (
    LaunchError,
    MissingFeatureError,
    NetlabError,
    SandboxError,
    describe_status,
)
from netlab.plan.model import SegmentPlan
from netlab.process import Process, ServedFolder, open_process
from netlab.sandbox.connection import Connection, Ending
from netlab.sandbox.host import check_host, explain_refusal, init_command
from netlab.sandbox.layout import lay_out
from netlab.sandbox.messages import DESCRIPTOR_LIMIT, Segment

END_PATIENCE = 5.0
"""Seconds that PID 1 may take to end once its socket is closed; then it is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What went through a port since it was made, as the host sees it.

    `rx` is what the machine sent, `tx` what it was sent; `bytes` count whole frames. Frames that a
    machine does not take in time are in `tx_dropped`.
    """

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_errors: int
    tx_errors: int
    rx_dropped: int
    tx_dropped: int


class SandboxProcess:
    """A program that runs in a sandbox (see :class:`netlab.process.Process`)."""

    def __init__(
        self, connection: Connection, ending: Ending, argv: tuple[str, ...], pid: int, child: int
    ) -> None:
        self.argv = argv
        self.pid = pid
        self._connection = connection
        self._ending = ending
        self._child = child

    async def wait(self) -> int:
        """Wait until it ends; return its exit status, minus the signal's number if killed.

        Raises:
            SandboxError: The sandbox ended first.
        """
        await self._ending.event.wait()
        if self._ending.status is None:
            raise self._connection.error()
        return self._ending.status

    async def send_signal(self, number: int) -> None:
        """Send it a signal; nothing happens when it has ended already.

        Raises:
            SandboxError: The sandbox is gone.
        """
        await self._connection.request("signal", {"child": self._child, "number": number})


class Sandbox:
    """A lab's live namespaces; :func:`open_sandbox` makes them.

    Every method raises SandboxError, at once, when the sandbox's PID 1 is gone.

    Attributes:
        pid: The process id of its PID 1 as the host sees it.
    """

    def __init__(self, connection: Connection, pid: int) -> None:
        self.pid = pid
        self._connection = connection

    async def launch(
        self,
        argv: Sequence[str],
        *,
        descriptors: Mapping[int, int],
        taps: Mapping[int, str] | None = None,
        folder: ServedFolder | None = None,
    ) -> Process:
        """Start a program in the sandbox (see :class:`netlab.process.Launcher`).

        It runs in a process group of its own and in the sandbox's session, without privileges over
        the lab's links. A tap belongs to one program at a time; frames that waited on it are thrown
        away.

        Raises:
            LaunchError: It could not be started; the evidence is the command line.
            UnknownNameError: There is no such tap.
        """
        taps = taps or {}
        _check_launch(argv, descriptors, taps)
        fields = {
            "argv": list(argv),
            "targets": list(descriptors),
            "taps": dict(taps),
            "folder": folder and asdict(folder),
        }
        answer = await self._connection.request("launch", fields, list(descriptors.values()))
        assert answer.ending is not None
        child: int = answer.message.body["child"]
        return SandboxProcess(
            self._connection, answer.ending, tuple(argv), answer.message.pid, child
        )

    async def verify_wiring(self) -> None:
        """Send frames through every segment, from port to port, before machines are there.

        Raises:
            WiringError: A segment does not carry frames; its ports are named.
            SandboxError: Machines are on taps already.
        """
        await self._connection.request("verify")

    async def set_port(self, tap: str, *, up: bool) -> None:
        """Take the host's side of a tap down, or bring it up: frames pass it no more, or again.

        The guest does not see it: to it the carrier is QEMU's, and QMP's ``set_link`` drops that.

        Raises:
            UnknownNameError: There is no such tap.
        """
        await self._connection.request("port", {"tap": tap, "up": up})

    async def counters(self) -> Mapping[str, Counters]:
        """Return the counters of every tap, by name."""
        answer = await self._connection.request("counters")
        values: dict[str, list[int]] = answer.message.body["counters"]
        names = Counters.__slots__
        return {
            tap: Counters(**dict(zip(names, numbers, strict=True)))
            for tap, numbers in values.items()
        }

    async def open_capture(self, interface: str) -> int:
        """Return the descriptor of a packet socket (AF_PACKET) on a tap or a bridge.

        On a tap it hears both directions, on a bridge all that is bridged. The caller closes it.

        Raises:
            UnknownNameError: There is no such tap or bridge.
        """
        answer = await self._connection.request("capture", {"interface": interface})
        return answer.message.descriptors[0]

    async def wait_exit(self) -> NoReturn:
        """Wait until the sandbox is gone, and say why.

        Raises:
            SandboxError: Always, in the end.
        """
        await self._connection.lost.wait()
        raise self._connection.error()


def check_segments(segments: Sequence[SegmentPlan]) -> tuple[Segment, ...]:
    """See whether this host can make these links, and return how; nothing is made.

    Raises:
        InputError: A plan's name or number is not possible.
        HostError: The host lacks something.
    """
    layout = lay_out(segments)
    check_host(sum(len(segment.ports) for segment in layout))
    return layout


@asynccontextmanager
async def open_sandbox(
    segments: Sequence[SegmentPlan], *, log: int | None = None
) -> AsyncGenerator[Sandbox]:
    """Make the namespaces of a lab and all its links, for the length of a block.

    When the block is left, for whatever reason, everything in them is ended and gone.

    Args:
        segments: The links to make.
        log: Gets what PID 1 has to say, which is nothing unless it fails.

    Raises:
        InputError: A plan's name or number is not possible.
        HostError: The host lacks something; nothing was started.
        SandboxError: The links could not be made, or PID 1 ended while the block ran.
    """
    layout = check_segments(segments)
    with ExitStack() as stack:
        # Written by PID 1, read by us when it fails; a memory file never fills up nor blocks.
        output = os.memfd_create("netlab-sandbox", os.MFD_CLOEXEC)
        stack.callback(os.close, output)
        if log is not None:
            stack.callback(_copy_output, output, log)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.enter_context(theirs)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        control = stack.enter_context(trio.socket.from_stdlib_socket(ours))
        command = init_command(theirs.fileno())
        async with (
            open_process(command, pass_fds=[theirs.fileno()], stderr=output) as process,
            _end_all(control, process) as first,
        ):
            theirs.close()
            async with _open_session(Connection(control), process, output) as connection:
                pid = await _build(connection, layout, first)
                yield Sandbox(connection, pid)


class _First:
    """The sandbox's first process, held by a descriptor: its number may be reused, this not."""

    def __init__(self) -> None:
        self.descriptor: int | None = None

    def hold(self, pid: int) -> None:
        # Gone already: then there is nothing to hold, and the connection's end says so.
        with suppress(ProcessLookupError):
            self.descriptor = os.pidfd_open(pid)


@asynccontextmanager
async def _end_all(
    control: trio.socket.SocketType, process: trio.Process
) -> AsyncGenerator[_First]:
    """Close the socket when the block is left; wait until PID 1, and so all else, is gone."""
    first = _First()
    try:
        yield first
    finally:
        control.close()
        with trio.CancelScope(shield=True):
            with trio.move_on_after(END_PATIENCE):
                await process.wait()
            if process.returncode is None:
                process.kill()
            if first.descriptor is not None:
                with trio.move_on_after(END_PATIENCE):
                    # Readable once PID 1 and, before it, every process of its namespace has ended.
                    await trio.lowlevel.wait_readable(first.descriptor)
                os.close(first.descriptor)


@asynccontextmanager
async def _open_session(
    connection: Connection, process: trio.Process, output: int
) -> AsyncGenerator[Connection]:
    """Serve a connection for the length of a block; PID 1's death cancels it and is raised."""
    failure: BaseException | None = None
    # A cancelled block still ends its programs, and needs PID 1's answers for that.
    serving = trio.CancelScope(shield=True)
    try:
        async with trio.open_nursery() as nursery:
            watch = partial(_watch, connection, process, output, nursery.cancel_scope)
            nursery.start_soon(watch, serving)
            try:
                yield connection
            finally:
                serving.cancel()
    except BaseExceptionGroup as group:
        # The block need not know that there is a nursery around it.
        failure = _unwrap(group)
    finally:
        died = connection.lost.is_set()
        connection.lose(SandboxError("the sandbox has ended"))
    # Raised outside the handler, so that tracebacks and causes stay their own.
    if died and not isinstance(failure, (type(connection.error()), KeyboardInterrupt)):
        raise connection.error() from failure
    if failure is not None:
        raise failure


async def _watch(
    connection: Connection,
    process: trio.Process,
    output: int,
    block: trio.CancelScope,
    serving: trio.CancelScope,
) -> None:
    """Take what PID 1 sends while serving; when it dies, say how, and cancel the block."""
    with serving:
        await connection.pump()
        with trio.move_on_after(END_PATIENCE):
            # unshare waits for PID 1, and ends as it did.
            await process.wait()
        said = _read_output(output)
        connection.lose(_explain_end(process.returncode, said, started=connection.heard))
        block.cancel()


async def _build(connection: Connection, layout: Sequence[Segment], first: _First) -> int:
    answer = await connection.request("build", {"segments": layout})
    first.hold(answer.message.pid)
    return answer.message.pid


def _explain_end(status: int | None, output: str, *, started: bool) -> NetlabError:
    *said, last = output.split("\n")
    if last.startswith("unshare:") and "sig" in last:
        # unshare would die by the signal that its child died by, and for SIGKILL cannot: it
        # complains of sigprocmask or sigaction, depending on its version, and exits with 1.
        output, status = "\n".join(said), -signal.SIGKILL
    how = "ended" if status is None else describe_status(status)
    if started:
        return SandboxError(
            f"the sandbox's first process {how}, and everything in the sandbox with it",
            evidence=output or None,
        )
    if output.startswith("unshare:"):
        return MissingFeatureError(
            f"the kernel refuses the lab's namespaces: {output}", hint=explain_refusal()
        )
    return SandboxError(
        f"the sandbox's first process {how} before the sandbox was ready", evidence=output or None
    )


def _unwrap(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one failure in a nursery's group, cancellations aside, or else the group."""
    failures = [each for each in group.exceptions if not isinstance(each, trio.Cancelled)]
    return failures[0] if len(failures) == 1 else group


def _check_launch(
    argv: Sequence[str], descriptors: Mapping[int, int], taps: Mapping[int, str]
) -> None:
    reason = None
    if not argv or not all(argv[:1]):
        reason = "it has no name"
    elif any("\0" in word for word in argv):
        reason = "a word of its command line has a null byte"
    elif len(descriptors) > DESCRIPTOR_LIMIT:
        reason = f"it wants {len(descriptors)} descriptors; at most {DESCRIPTOR_LIMIT} can be given"
    elif twice := sorted(set(descriptors) & set(taps)):
        reason = f"its descriptor {twice[0]} is given twice"
    elif min((0, *descriptors, *taps)) < 0:
        reason = "descriptor numbers are not negative"
    elif closed := [number for number in descriptors.values() if not _is_open(number)]:
        reason = f"descriptor {closed[0]} is not open here"
    if reason:
        raise LaunchError(f"the program cannot be started: {reason}", evidence=shlex.join(argv))


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _read_output(output: int) -> str:
    size = os.fstat(output).st_size
    return os.pread(output, size, 0).decode(errors="replace").strip()


def _copy_output(output: int, log: int) -> None:
    if text := _read_output(output):
        os.write(log, f"{text}\n".encode())
