"""Programs and files in a guest, through QEMU's guest agent.

::

    async with open_agent(stream) as agent:
        await agent.wait_ready()
        result = await agent.execute(["ip", "-j", "route"])

Several callers may use one agent at once: their requests take turns on the one channel, programs
run side by side. Facts: qga/commands.c and qga/qapi-schema.json of QEMU.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast, final

import trio

from netlab.errors import (
    AgentCommandError,
    AgentError,
    AgentInterruptedError,
    AgentProtocolError,
    InputError,
    MachineError,
)
from netlab.machine.arguments import check_text, decode_base64, with_environment
from netlab.machine.channel import INTERRUPTED, AgentChannel
from netlab.machine.qmp import Explain, take_as_is
from netlab.machine.transcript import Transcript

CHUNK = 256 * 1024
"""Bytes of a file in one request: 0.15 s of the channel under TCG, so that others get their turn.
The agent itself would take 48 MB."""

STDIN_LIMIT = 32 * 1024 * 1024
"""Bytes of a program's input: it travels in one request, and the agent's parser takes 64 MiB."""

FIRST_POLL = 0.001
LONGEST_POLL = 0.25
"""Seconds between questions whether a program has ended: a tenth of its age, between these two.
The agent has no way to tell unasked."""

ORPHAN_PERIOD = 2.0
"""Seconds between checks whether a program is only held up by its children."""

CLEAN_UP_LIMIT = 0.5
"""Seconds that a cancelled caller spends on ending its program or closing its file."""

_END_TREE = (
    'end() { for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do end "$child"; done;'
    ' kill -TERM "$1"; }; end "$1" 2>/dev/null'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a program in the guest ended.

    Attributes:
        status: Its exit status; minus the signal's number if a signal ended it.
        stdout: What it wrote to its standard output.
        stderr: What it wrote to its standard error.
        error: What is wrong with the output (the agent keeps 16 MiB of each), or None.
    """

    status: int
    stdout: bytes
    stderr: bytes
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentInfo:
    """What an agent says about itself: its version and the commands that it allows."""

    version: str
    commands: frozenset[str]


@final
class GuestFile:
    """An open file in the guest; made by :meth:`Agent.open_file`. Iterate for what is in it."""

    def __init__(self, channel: AgentChannel, handle: int) -> None:
        self._channel = channel
        self._handle = handle

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        """Yield what is there, from where the last reading ended up to the file's present end."""
        eof = False
        while not eof:
            data, eof = await self._read()
            if data:
                yield data

    async def write(self, content: bytes) -> None:
        """Write at the end.

        Raises:
            AgentCommandError: It cannot be written.
        """
        view = memoryview(content)
        while view:
            data = base64.b64encode(view[:CHUNK]).decode()
            answer = await self._channel.ask(
                "guest-file-write", {"handle": self._handle, "buf-b64": data}
            )
            match answer:
                case {"count": int(count)} if 0 < count <= min(len(view), CHUNK):
                    view = view[count:]
                case _:
                    raise AgentProtocolError(f"guest-file-write answered {answer}")

    async def _read(self) -> tuple[bytes, bool]:
        answer = await self._channel.ask(
            "guest-file-read", {"handle": self._handle, "count": CHUNK}
        )
        match answer:
            case {"buf-b64": str(data), "eof": bool(eof)}:
                return decode_base64(data), eof
            case _:
                raise AgentProtocolError(f"guest-file-read answered {answer}")


@final
class Agent:
    """The agent of one guest; made by :func:`open_agent`.

    Every method raises, beside what it names itself, AgentClosedError when the connection ends,
    AgentProtocolError when the agent talks nonsense, and MachineError (MachineDiedError) when the
    machine fails or dies meanwhile.
    """

    def __init__(self, channel: AgentChannel) -> None:
        self._channel = channel

    async def wait_ready(self) -> None:
        """Wait until the agent answers; the deadline is the caller's."""
        await self._channel.wait_ready()

    async def info(self) -> AgentInfo:
        """Return the agent's version and commands."""
        answer = await self._channel.call("guest-info")
        try:
            facts = cast("dict[str, Any]", answer)
            commands = [
                str(entry["name"]) for entry in facts["supported_commands"] if entry["enabled"]
            ]
            return AgentInfo(version=str(facts["version"]), commands=frozenset(commands))
        except (TypeError, KeyError):
            raise AgentProtocolError(f"guest-info answered {answer}") from None

    async def execute(
        self,
        command: str | Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> Result:
        """Run a program to its end.

        Cancelled, the program and its children get SIGTERM, as far as a moment allows.

        Args:
            command: A program with its arguments, or a command line for the guest's ``/bin/sh``.
            stdin: What it reads, at most :data:`STDIN_LIMIT` bytes.
            environment: Additions to the agent's environment.

        Raises:
            AgentCommandError: The program could not be started.
            AgentError: It ended, but a child of it keeps the output open, and so for the agent it
                has not ended.
            InputError: The arguments cannot be passed on.
        """
        argv = ("/bin/sh", "-c", command) if isinstance(command, str) else tuple(command)
        before = self._channel.interruptions
        pid = await self._start(with_environment(argv, environment or {}), stdin)
        try:
            return await self._wait_program(pid, argv, before)
        except trio.Cancelled:
            with trio.move_on_after(CLEAN_UP_LIMIT, shield=True):
                await self._end_program(pid)
            raise

    async def read_file(self, path: str) -> bytes:
        """Return a file's content, of any size.

        Raises:
            AgentCommandError: It cannot be read.
        """
        async with self.open_file(path, "r") as file:
            return b"".join([chunk async for chunk in file])

    async def write_file(self, path: str, content: bytes) -> None:
        """Make a file have this content, of any size; an existing one keeps its permissions.

        Cancelled or failed, the file holds the beginning of the content.

        Raises:
            AgentCommandError: It cannot be written; its folder must be there.
        """
        async with self.open_file(path, "w") as file:
            await file.write(content)

    async def freeze(self) -> int:
        """Write out and freeze the guest's file systems; return how many.

        Until :meth:`thaw` the agent takes no other command: what else is asked of it waits so long.

        Raises:
            AgentCommandError: It cannot, or some are frozen already.
        """
        self._channel.hold_back()
        try:
            return _count(await self._channel.call("guest-fsfreeze-freeze"), "freeze")
        except AgentError:
            self._channel.let_through()
            raise

    async def thaw(self) -> int:
        """Let the guest write to its file systems again; return how many were frozen."""
        try:
            return _count(await self._channel.call("guest-fsfreeze-thaw"), "thaw")
        finally:
            self._channel.let_through()

    async def post_thaw(self) -> None:
        """Ask for :meth:`thaw` and do not wait: an agent that is still freezing does it next."""
        await self._channel.post_blindly("guest-fsfreeze-thaw")

    async def post_shutdown(self, mode: Literal["powerdown", "reboot"]) -> None:
        """Ask the guest to power off or to boot again; it does not say whether it will."""
        await self._channel.post("guest-shutdown", {"mode": mode})

    async def measure_silence(self, limit: float) -> float:
        """Return for how many seconds the agent has owed an answer, having asked it for so long."""
        return await self._channel.measure_silence(limit)

    def fail(self, error: Callable[[], MachineError] | None) -> None:
        """Let every call, now and later, raise this error: the machine failed; None: no longer."""
        self._channel.fail(error)

    def interrupt(self) -> None:
        """Let calls that are under way raise AgentError: the guest's agent is gone."""
        self._channel.interrupt()

    async def _start(self, argv: Sequence[str], stdin: bytes) -> int:
        if len(stdin) > STDIN_LIMIT:
            raise InputError(
                f"{argv[0]}: {len(stdin)} bytes of input, and the agent takes {STDIN_LIMIT}",
                hint="write it to a file in the guest and let the program read that",
            )
        arguments: dict[str, object] = {
            "path": check_text(argv[0]),
            "arg": [check_text(argument) for argument in argv[1:]],
            "capture-output": True,
        }
        if stdin:
            arguments["input-data"] = base64.b64encode(stdin).decode()
        match await self._channel.ask("guest-exec", arguments):
            case {"pid": int(pid)}:
                return pid
            case other:
                raise AgentProtocolError(f"guest-exec answered {other}")

    async def _wait_program(self, pid: int, argv: Sequence[str], interruptions: int) -> Result:
        started = trio.current_time()
        next_check = started + ORPHAN_PERIOD
        gone = False
        while True:
            if self._channel.interruptions != interruptions:
                raise AgentInterruptedError(INTERRUPTED)
            result = _result(await self._ask_status(pid))
            if result is not None:
                return result
            if gone:
                raise AgentError(
                    f"{argv[0]} ended, but a process that it left behind keeps its output open",
                    hint="redirect the output of what stays, such as `daemon >/dev/null 2>&1 &`",
                )
            now = trio.current_time()
            if now >= next_check:
                gone = await self._is_gone(pid)
                next_check = now + ORPHAN_PERIOD
            pause = ORPHAN_PERIOD if gone else (now - started) / 10
            await trio.sleep(max(FIRST_POLL, min(pause, ORPHAN_PERIOD if gone else LONGEST_POLL)))

    async def _ask_status(self, pid: int) -> object:
        try:
            return await self._channel.ask("guest-exec-status", {"pid": pid})
        except AgentCommandError:
            # Only of a program that is not its own an agent knows nothing: it is another agent.
            # QEMU tells of one that ends and comes back within a second too late, or not at all.
            raise AgentInterruptedError(INTERRUPTED) from None

    async def _is_gone(self, pid: int) -> bool:
        """Whether the guest has a /proc and no such process in it."""
        return not await self._exists(f"/proc/{pid}/stat") and await self._exists("/proc/self/stat")

    async def _exists(self, path: str) -> bool:
        try:
            async with self.open_file(path, "r"):
                return True
        except AgentCommandError:
            return False

    async def _end_program(self, pid: int) -> None:
        try:
            await self._start(("/bin/sh", "-c", _END_TREE, "sh", str(pid)), b"")
            # Asked until it has ended: the agent keeps the output of a program for ever otherwise.
            await self._wait_program(pid, ("the program",), self._channel.interruptions)
        except MachineError:
            # The machine or its agent is worse off than this program, and who is told of the
            # cancellation cannot use a second reason.
            return

    @asynccontextmanager
    async def open_file(self, path: str, mode: Literal["r", "w", "a"]) -> AsyncGenerator[GuestFile]:
        """Open a file in the guest, to read or write it piece by piece; it may have any size.

        Raises:
            AgentCommandError: It cannot be opened; or, at the end, not be written.
        """
        handle = await self._channel.ask(
            "guest-file-open", {"path": check_text(path), "mode": mode}
        )
        if not isinstance(handle, int):
            raise AgentProtocolError(f"guest-file-open answered {handle}")
        try:
            yield GuestFile(self._channel, handle)
        except BaseException:
            with trio.move_on_after(CLEAN_UP_LIMIT, shield=True):
                await self._close_quietly(handle)
            raise
        # Closing writes what the agent buffered: a full disk is reported here.
        await self._channel.ask("guest-file-close", {"handle": handle})

    async def _close_quietly(self, handle: int) -> None:
        try:
            await self._channel.ask("guest-file-close", {"handle": handle})
        except MachineError:
            # The first error is the one that matters.
            return


@asynccontextmanager
async def open_agent(
    stream: trio.abc.Stream,
    *,
    explain: Explain = take_as_is,
    transcript: Transcript | None = None,
) -> AsyncGenerator[Agent]:
    """Speak to a guest's agent over a stream; it is closed when the block is left.

    Args:
        stream: Connected to the guest's ``org.qemu.guest_agent.0``, by whatever was used before.
        explain: Asked for the better error when the connection ends.
        transcript: Gets what is said, or None.
    """
    async with stream:
        yield Agent(AgentChannel(stream, explain, transcript))


def _count(answer: object, command: str) -> int:
    if not isinstance(answer, int):
        raise AgentProtocolError(f"guest-fsfreeze-{command} answered {answer}")
    return answer


def _result(answer: object) -> Result | None:
    match answer:
        case {"exited": False}:
            return None
        case {"exited": True, "signal": int(number)}:
            status = -number
        case {"exited": True, "exitcode": int(code)}:
            status = code
        case _:
            raise AgentProtocolError(f"guest-exec-status answered {answer}")
    fields = cast("dict[str, object]", answer)
    cut = [
        name
        for name, key in (("stdout", "out"), ("stderr", "err"))
        if fields.get(f"{key}-truncated")
    ]
    return Result(
        status=status,
        stdout=decode_base64(str(fields.get("out-data", ""))),
        stderr=decode_base64(str(fields.get("err-data", ""))),
        error=f"{' and '.join(cut)} cut off: the agent keeps 16 MiB" if cut else None,
    )
