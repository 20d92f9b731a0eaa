"""Files that a guest has for a moment, and what was in their place afterwards.

A program in the guest holds them: it takes them away when it is told, when the lab lets go of it,
and when whoever asked for it is gone without a word.
"""

from __future__ import annotations

import base64
import posixpath
import shlex
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import PurePosixPath

import trio

from netlab.errors import AgentError, GuestError
from netlab.lab.access import NodeAccess
from netlab.machine.identity import read_content
from netlab.machine.streams import ProgramStream
from netlab.plan.model import FilePlan

PLACE_LIMIT = 30.0
"""Seconds that a guest gets to take the files."""

REMOVE_LIMIT = 10.0
"""Seconds that it gets to take them away again."""

_PLACED = b"placed\n"

# What was there is kept in memory, so that it is on no disk that is looked at meanwhile. The shell
# has read all of it when it begins: what it reads then is the end of its input.
_PROGRAM = """\
kept=$(mktemp -d /run/netlab.XXXXXX) || exit
trap 'exit 1' HUP INT TERM
trap 'status=$?; trap "" HUP INT TERM; undo; exit $((status | failed))' EXIT
keep && put || exit 1
echo placed
cat >/dev/null
exit 0
"""


@asynccontextmanager
async def open_placed(node: NodeAccess, files: Sequence[FilePlan]) -> AsyncGenerator[None]:
    """Let a guest have files while the block runs; then it has what it had before.

    Args:
        node: Its node.
        files: With absolute paths. What is in their place is kept, and comes back.

    Raises:
        AgentError: The guest does not take them within :data:`PLACE_LIMIT`.
        GuestError: A file cannot be made, or not be taken away.
        MachineError: The machine or its agent failed.
    """
    name = node.plan.name
    with trio.CancelScope(deadline=trio.current_time() + PLACE_LIMIT) as limit:
        async with node.open_stream(("/bin/sh",)) as stream:
            await stream.send_all(write_program(files).encode())
            await _wait_placed(stream, name)
            limit.deadline = float("inf")
            yield
            await _take_away(stream, name)
    if limit.cancelled_caught:
        raise AgentError(
            f"{name}: its guest has not taken {len(files)} files within {PLACE_LIMIT:g} s",
            hint="see what keeps it busy, or whether it stands still",
        )


async def _wait_placed(stream: ProgramStream, name: str) -> None:
    told = b""
    while not told.endswith(_PLACED):
        data = await stream.receive()
        if not data:
            raise _refuse(f"{name}: a file could not be made in it", told)
        told += data


async def _take_away(stream: ProgramStream, name: str) -> None:
    """Take the files away, also when cancelled.

    Raises:
        GuestError: Not all of them could be.
    """
    told = b""
    with trio.move_on_after(REMOVE_LIMIT, shield=True):
        await stream.send_eof()
        while data := await stream.receive():
            told += data
    if stream.status != 0:
        raise _refuse(f"{name}: files could not be taken away from it again", told)


def _refuse(message: str, told: bytes) -> GuestError:
    return GuestError(message, evidence=told.decode(errors="replace").strip() or None)


def write_program(files: Sequence[FilePlan]) -> str:
    """Return the program for a POSIX shell that holds files until its input ends."""
    return "".join((*_keep(files), *_put(files), *_undo(files), f"{{\n{_PROGRAM}}}\n"))


def _keep(files: Sequence[FilePlan]) -> Iterator[str]:
    yield "keep() {\n    umask 077\n"
    for index, file in enumerate(files):
        path = shlex.quote(file.path)
        yield f'    ! there {path} || cp -a {path} "$kept/{index}" || return\n'
    for index, folder in enumerate(_folders(files)):
        yield f'    [ -d {shlex.quote(folder)} ] || : >"$kept/folder{index}" || return\n'
    yield '    : >"$kept/complete"\n}\n'


def _put(files: Sequence[FilePlan]) -> Iterator[str]:
    """Yield what makes the files, with their permissions while they are still empty."""
    yield "put() {\n    umask 022\n"
    for file in files:
        path, folder = shlex.quote(file.path), shlex.quote(posixpath.dirname(file.path))
        content = base64.b64encode(read_content(file)).decode()
        yield f"    mkdir -p {folder} && rm -f {path} && : >{path} || return\n"
        yield f"    chmod {file.mode:o} {path} && base64 -d >{path} <<'END' || return\n"
        yield f"{content}\nEND\n"
    yield "}\n"


def _undo(files: Sequence[FilePlan]) -> Iterator[str]:
    yield 'there() { [ -e "$1" ] || [ -L "$1" ]; }\n'
    yield 'undo() {\n    failed=0\n    if [ -e "$kept/complete" ]; then\n        :\n'
    for index, file in enumerate(files):
        path, kept = shlex.quote(file.path), f'"$kept/{index}"'
        yield f"        rm -f {path} || failed=1\n"
        yield f"        ! there {kept} || cp -a {kept} {path} || failed=1\n"
    for index, folder in enumerate(_folders(files)):
        yield f'        [ ! -e "$kept/folder{index}" ] || rmdir {shlex.quote(folder)} || :\n'
    yield '    fi\n    rm -rf "$kept"\n}\n'


def _folders(files: Sequence[FilePlan]) -> list[str]:
    """Return every folder above the files, those further down first."""
    folders = {str(folder) for file in files for folder in PurePosixPath(file.path).parents}
    folders.discard("/")
    return sorted(folders, key=lambda folder: (-folder.count("/"), folder))
