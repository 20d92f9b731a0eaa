"""One file into a guest, or out of it: small ones over the agent, large ones over virtio ports.

The agent wraps bytes in base64 and JSON, and under TCG the guest's CPU pays for it; a port takes
them as they are, but is to be plugged in first. A guest that can have no port, or has them all in
use, gets everything over the agent.

What goes in is written beside its target and takes its name when it is complete: a copy that
fails, or is given up, leaves the target as it was.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from netlab.errors import (
    AgentCommandError,
    CapacityError,
    CommandError,
    ControlError,
    InputError,
    MachineError,
    QMPCommandError,
)
from netlab.lab.access import NodeAccess
from netlab.machine.agent import Result
from netlab.machine.streams import ProgramStream
from netlab.scopes import open_tasks

CHUNK = 256 * 1024
"""Bytes of a host's file that are read at once; a file that is no larger goes over the agent."""

PORT_WAIT = 5.0
"""Seconds that a guest gets to have ports for a program; they may all be in use."""

CLEAN_UP = 0.5
"""Seconds for removing a temporary file in the guest."""

Passed = Callable[[int], None]
"""Takes how many bytes have passed since it was told last."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_READY = b"\n"
"""What a program in the guest prints first: from then on it is there."""

# What is no file, such as a device, is written as it is; a link stays and leads to the new file.
_TAKE = """\
if [ -e "$1" ] && [ ! -f "$1" ]; then echo; exec cat >"$1"; fi
target=$(readlink -f -- "$1") || target=$1
part=$target.$4
trap 'rm -f -- "$part"' EXIT
trap 'exit 143' TERM
echo
cat >"$part" || exit
size=$(stat -c %s -- "$part") || exit
if [ "$size" != "$2" ]; then echo "$size of $2 bytes have come" >&2; exit 1; fi
chmod "$3" "$part" && mv -f -- "$part" "$target"
"""

# The same for a file that the agent has written already.
_RENAME = 'target=$(readlink -f -- "$1") || target=$1; chmod "$3" "$2" && mv -f -- "$2" "$target"'

_GIVE = 'echo; exec cat -- "$1"'


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file in the guest is: its bytes, and its permissions without set-user-id."""

    size: int
    mode: int


class _NoPortsError(Exception):
    """No program can be spoken with in the guest, or not now."""


async def send_file(node: NodeAccess, source: Path, target: str, mode: int, passed: Passed) -> None:
    """Make a file in the guest that is a copy of one of the host; its folder has to be there.

    Args:
        node: Whose guest.
        source: On the host.
        target: In the guest. It is replaced when the copy is complete.
        mode: Its permissions.
        passed: Is told what has passed.

    Raises:
        CommandError: The guest could not take it.
        InputError: The host's file cannot be read.
    """
    with host_errors(source):
        size = (await trio.Path(source).stat()).st_size
    if size <= CHUNK:
        with host_errors(source):
            content = await trio.Path(source).read_bytes()
        words = _taking(target, len(content), mode)
        _check_taken(node, target, await node.execute(words, stdin=content))
        passed(len(content))
        return
    try:
        await _send_by_port(node, source, target, (size, mode), passed)
    except _NoPortsError:
        await _send_by_agent(node, source, target, mode, passed)


async def receive_file(
    node: NodeAccess, source: str, target: Path, size: int, passed: Passed
) -> None:
    """Make a file on the host that is a copy of one in the guest.

    Args:
        node: Whose guest.
        source: In the guest.
        target: On the host. What has come stays there if the rest does not.
        size: About how many bytes it has.
        passed: Is told what has passed.

    Raises:
        CommandError: The guest's file cannot be read.
        OSError: The host's file cannot be written.
    """
    if size > CHUNK:
        with suppress(_NoPortsError):
            await _receive_by_port(node, source, target, passed)
            return
    await _receive_by_agent(node, source, target, passed)


async def read_facts(node: NodeAccess, path: str) -> FileFacts:
    """Ask the guest about a file; a link is followed.

    Raises:
        CommandError: There is none.
    """
    result = await node.execute(("stat", "-Lc", "%s %a", "--", path))
    if result.status != 0:
        raise CommandError(f"{node.plan.name}: {path} cannot be read: {_last_line(result)}")
    shown = result.stdout.decode(errors="replace").split()
    try:
        size, mode = shown
        # No rights of other users: a set-user-id file of a guest is none of the host's.
        return FileFacts(int(size), int(mode, 8) & 0o777)
    except ValueError as error:
        raise MachineError(f"{node.plan.name}: stat of {path} says {shown}") from error


@contextmanager
def host_errors(path: Path) -> Generator[None]:
    """Name the path and what is wrong when the host's files cannot be read or written.

    Raises:
        CapacityError: There is no room.
        InputError: The path is not what it has to be.
    """
    try:
        yield
    except OSError as error:
        kind = CapacityError if is_full(error) else InputError
        raise kind(f"{path}: {error.strerror}") from error


def is_full(error: Exception) -> bool:
    """Whether a file could not be written because there was no room."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


async def remove_quietly(node: NodeAccess, path: str) -> None:
    """Remove a temporary file of ours in the guest, as far as a moment allows."""
    # What ended the copy is what is told; the file goes with the guest.
    with trio.move_on_after(CLEAN_UP, shield=True), suppress(MachineError):
        await node.execute(("rm", "-f", "--", path))


async def _send_by_port(
    node: NodeAccess, source: Path, target: str, facts: tuple[int, int], passed: Passed
) -> None:
    async with (
        _open_port(node, _taking(target, *facts)) as (stream, said),
        open_tasks() as tasks,
    ):

        async def feed() -> None:
            # Why it takes no more is what it says.
            with suppress(MachineError, ControlError):
                await _pass_on(source, stream.send_all, passed)
                await stream.send_eof()

        # Who has ended reads no more, and would block for ever who sends.
        tasks.start_soon(feed)
        while data := await stream.receive():
            said += data
        tasks.cancel_scope.cancel()
        result = Result(status=stream.status, stdout=said, stderr=b"")
    _check_taken(node, target, result)


async def _receive_by_port(node: NodeAccess, source: str, target: Path, passed: Passed) -> None:
    async with (
        _open_port(node, ("/bin/sh", "-c", _GIVE, "sh", source)) as (stream, data),
        await trio.open_file(target, "wb") as content,
    ):
        data = data or await stream.receive()
        while data:
            await content.write(data)
            passed(len(data))
            data = await stream.receive()
        if stream.status != 0:
            raise CommandError(
                f"{node.plan.name}: {source} cannot be read: "
                f"`cat` exited with status {stream.status}"
            )


async def _send_by_agent(
    node: NodeAccess, source: Path, target: str, mode: int, passed: Passed
) -> None:
    part = f"{target}.{_make_suffix()}"
    try:
        async with node.open_file(part, "w") as file:
            await _pass_on(source, file.write, passed)
        words = ("/bin/sh", "-c", _RENAME, "sh", target, part, f"{mode:o}")
        _check_taken(node, target, await node.execute(words))
    except BaseException as error:
        await remove_quietly(node, part)
        if isinstance(error, AgentCommandError):
            message = f"{node.plan.name}: {target} cannot be written: {error}"
            raise CommandError(message) from error
        raise


async def _receive_by_agent(node: NodeAccess, source: str, target: Path, passed: Passed) -> None:
    try:
        async with (
            node.open_file(source, "r") as file,
            await trio.open_file(target, "wb") as content,
        ):
            async for chunk in file:
                await content.write(chunk)
                passed(len(chunk))
    except AgentCommandError as error:
        raise CommandError(f"{node.plan.name}: {source} cannot be read: {error}") from error


@asynccontextmanager
async def _open_port(
    node: NodeAccess, words: tuple[str, ...]
) -> AsyncGenerator[tuple[ProgramStream, bytes]]:
    """Run a program that is spoken with; yields it, and what came with its first sign of life.

    Raises:
        _NoPortsError: It cannot be, and nothing has happened.
    """
    ready = False
    try:
        with trio.move_on_after(PORT_WAIT) as scope:
            async with node.open_stream(words) as stream:
                first = await stream.receive()
                ready = True
                scope.deadline = float("inf")
                yield stream, first.removeprefix(_READY)
    except (QMPCommandError, CommandError) as error:
        if ready:
            raise
        raise _NoPortsError from error
    if not ready:
        raise _NoPortsError


async def _pass_on(source: Path, write: Callable[[bytes], Awaitable[None]], passed: Passed) -> None:
    with host_errors(source):
        async with await trio.open_file(source, "rb") as content:
            while chunk := await content.read(CHUNK):
                await write(chunk)
                passed(len(chunk))


def _taking(target: str, size: int, mode: int) -> tuple[str, ...]:
    return ("/bin/sh", "-c", _TAKE, "sh", target, str(size), f"{mode:o}", _make_suffix())


def _make_suffix() -> str:
    return f"netlab-{secrets.token_hex(8)}"


def _check_taken(node: NodeAccess, target: str, result: Result) -> None:
    if result.status != 0:
        raise CommandError(f"{node.plan.name}: {target} cannot be written: {_last_line(result)}")


def _last_line(result: Result) -> str:
    said = (result.stdout + result.stderr).decode(errors="replace").strip()
    return said.rpartition("\n")[2] or f"exit status {result.status}"
