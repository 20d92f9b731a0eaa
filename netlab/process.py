"""The one door to other programs.

Programs that do a job and end go through :func:`run`; programs whose life is a scope go through
:func:`open_process`, or through :func:`open_process_group` with all that they start; the lab
process, which outlives the command that starts it, goes through :func:`start_detached`. Arguments
are always a list, never a shell string. Machines are started by a :class:`Launcher`, which a
sandbox provides.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from netlab.errors import MissingProgramError, ProgramError
from netlab.plan.architectures import ARCHITECTURES

TERMINATE_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL when a scope is cancelled."""

INTERRUPT_GRACE = 15.0
"""Seconds between SIGINT and SIGKILL for a group of programs, which may have trees to remove."""

PACKAGES = {
    "apt-config": "apt",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "ip": "iproute2",
    "mcopy": "mtools",
    "mformat": "mtools",
    "mke2fs": "e2fsprogs",
    "mmd": "mtools",
    "qemu-img": "qemu-utils",
    "qemu-storage-daemon": "qemu-system-common",
    "sfdisk": "fdisk",
    "tesseract": "tesseract-ocr",
    "unshare": "util-linux",
    **{each.program: each.package for each in ARCHITECTURES.values()},
}
"""Which Debian package has a program; a program that is not here is named like its package."""


class Process(Protocol):
    """A program that a :class:`Launcher` started.

    Attributes:
        pid: Its process id as the host sees it.
        argv: Its command line.
    """

    pid: int
    argv: tuple[str, ...]

    async def wait(self) -> int:
        """Wait until it ends; return its exit status, minus the signal's number if killed."""
        ...

    async def send_signal(self, number: int) -> None:
        """Send it a signal; nothing happens when it has ended already."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedFolder:
    """A folder of the host's that a program serves to others, and all that it may touch.

    Attributes:
        path: The folder, absolute.
        at: Where the program sees it: a folder that every system has, which it does not need.
        writable: Whether it may be written to; not even root can where it may not.
    """

    path: str
    at: str
    writable: bool


class Launcher(Protocol):
    """Something that starts programs inside a lab."""

    async def launch(
        self,
        argv: Sequence[str],
        *,
        descriptors: Mapping[int, int],
        taps: Mapping[int, str] | None = None,
        folder: ServedFolder | None = None,
    ) -> Process:
        """Start a program.

        Args:
            argv: Its command line.
            descriptors: The child's descriptor numbers, each with the descriptor of ours that it
                gets. The caller keeps its own copies and closes them. 0, 1 and 2 default to
                /dev/null.
            taps: The child's descriptor numbers, each with the name of the tap that it gets.
            folder: What it serves; then it is root in a user namespace of its own, and reaches
                neither the lab's links nor a network.

        Raises:
            LaunchError: The program could not be started.
            SandboxError: The sandbox is gone.
        """
        ...


@dataclass(frozen=True, slots=True)
class Completed:
    """What a program that has ended left: its status and what it printed."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes

    def check(self) -> None:
        """Take a status other than 0 for an error.

        Raises:
            ProgramError: It is; with what was printed.
        """
        if self.status != 0:
            output = (self.stderr or self.stdout).decode(errors="replace")
            raise ProgramError(self.argv, self.status, output)


def find_program(name: str) -> str:
    """Return the full path of a program, looked for as the user's shell would and in sbin.

    Raises:
        MissingProgramError: It is not there; the error names the package that has it.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    found = shutil.which(name, path=path)
    if found is None:
        raise MissingProgramError(name, PACKAGES.get(name, name))
    return found


async def run(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    check: bool = True,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdout: int | None = None,
) -> Completed:
    """Run a program to its end; cancelled, it is ended and waited for.

    A terminal's Ctrl-C does not reach it: how it ends is the caller's business.

    Args:
        argv: The command line; the first word is looked up by :func:`find_program`.
        stdin: What it reads.
        check: Whether a status other than 0 is an error.
        cwd: Its working directory.
        environment: Additions to our environment.
        stdout: Where its standard output goes; kept for the caller when None.

    Raises:
        MissingProgramError: It is not installed.
        ProgramError: It failed, and `check` is true.
    """
    start = partial(
        trio.run_process,  # noqa: TID251
        (find_program(argv[0]), *argv[1:]),
        stdin=stdin,
        capture_stderr=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **environment} if environment else None,
        start_new_session=True,
    )
    done = await (start(capture_stdout=True) if stdout is None else start(stdout=stdout))
    completed = Completed(tuple(argv), done.returncode, done.stdout or b"", done.stderr)
    if check:
        completed.check()
    return completed


@asynccontextmanager
async def open_process(
    argv: Sequence[str],
    *,
    pass_fds: Sequence[int] = (),
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    cwd: Path | None = None,
) -> AsyncGenerator[trio.Process]:
    """Start a program in a session of its own; it is ended when the block is left.

    A terminal's Ctrl-C does not reach it: how it ends is this scope's business.

    Args:
        argv: The command line; the first word is looked up by :func:`find_program`.
        pass_fds: Descriptors that it inherits under their own numbers.
        stdin: What it reads; nothing when None.
        stdout: Where its standard output goes; where its errors go when None.
        stderr: Where its standard output and error go; inherited when None.
        cwd: Its working directory.

    Raises:
        MissingProgramError: It is not installed.
    """
    process = await trio.lowlevel.open_process(  # noqa: TID251
        (find_program(argv[0]), *argv[1:]),
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=stderr if stdout is None else stdout,
        stderr=stderr,
        pass_fds=tuple(pass_fds),
        cwd=cwd,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)


async def _end(process: trio.Process) -> None:
    with trio.move_on_after(TERMINATE_GRACE):
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """A program and all that it starts.

    Attributes:
        process: The program.
        output: What all of them print. It ends when the last of them has.
    """

    process: trio.Process
    output: trio.lowlevel.FdStream


@asynccontextmanager
async def open_process_group(
    argv: Sequence[str], *, pass_fds: Sequence[int] = ()
) -> AsyncGenerator[ProcessGroup]:
    """Start a program that starts others; an exception in the block interrupts them all.

    They get what a terminal's Ctrl-C sends, or SIGTERM where they ignore that, and are waited for:
    shells between them do not pass a signal on, and what they leave would go on alone.

    Args:
        argv: The command line; the first word is looked up by :func:`find_program`.
        pass_fds: Descriptors that they inherit under their own numbers.

    Raises:
        MissingProgramError: It is not installed.
    """
    reading, writing = os.pipe()
    async with AsyncExitStack() as stack:
        output = await stack.enter_async_context(trio.lowlevel.FdStream(reading))
        try:
            opening = open_process(argv, pass_fds=pass_fds, stderr=writing)
            group = ProcessGroup(await stack.enter_async_context(opening), output)
        finally:
            os.close(writing)
        try:
            yield group
        except BaseException:
            with trio.CancelScope(shield=True):
                await _interrupt(group)
            raise


async def _interrupt(group: ProcessGroup) -> None:
    if group.process.returncode is None:
        os.killpg(group.process.pid, signal.SIGINT)
    with trio.move_on_after(INTERRUPT_GRACE):
        while True:
            for pid in _list_deaf(group.process.pid):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGTERM)
            with trio.move_on_after(1):
                async for _ in group.output:
                    pass
                return
    with suppress(ProcessLookupError):
        os.killpg(group.process.pid, signal.SIGKILL)


def _list_deaf(group: int) -> list[int]:
    """Return the processes of a group that ignore SIGINT, as dpkg does: proc(5)."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            after_name = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            ignored = re.search(r"^SigIgn:\s*(\w+)", (folder / "status").read_text(), re.MULTILINE)
            if after_name[2] == str(group) and ignored and int(ignored[1], 16) & 2:
                found.append(int(folder.name))
    return found


def start_detached(argv: Sequence[str], *, pass_fds: Sequence[int], output: int) -> int:
    """Start a program that outlives us, in a session of its own; return its process id.

    Args:
        argv: The command line with the program's full path.
        pass_fds: Descriptors that it inherits under their own numbers.
        output: Where its standard output and error go.
    """
    process = subprocess.Popen(  # the child is meant to outlive this process
        argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=tuple(pass_fds),
        start_new_session=True,
        cwd="/",
    )
    # Popen would warn that a running child is forgotten: that is what detaching means.
    process.returncode = 0
    return process.pid
