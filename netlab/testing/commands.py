"""Commands in a guest as a test gives them: text in, text out, a deadline that always works."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import trio

from netlab.errors import MachineError, NetlabError, WaitError
from netlab.lab.node import Node
from netlab.machine.agent import Agent, Result
from netlab.scopes import open_tasks
from netlab.testing.waiting import Limit, within

Output = Callable[[str, bytes], None]
"""Takes a stream's name, ``stdout`` or ``stderr``, and what came on it."""

DIAGNOSIS = 0.2
"""Seconds that a machine gets to show a sign of life once its command is late."""

_IN_FOLDER = 'cd -- "$1" && shift && exec "$@"'

_STREAM_FOLDER = (
    'd=$(mktemp -d /tmp/netlab.XXXXXX) && : >"$d/stdout" && : >"$d/stderr" && echo "$d"'
)
_STREAM = 'd=$1; shift; exec "$@" >"$d/stdout" 2>"$d/stderr"'
_FIRST_READ, _LONGEST_READ = 0.01, 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What runs.

    Attributes:
        argv: A program with its arguments, or a command line for the guest's ``/bin/sh``.
        stdin: What it reads.
        environment: Additions to the environment.
        folder: Where it runs, or None.
        output: Is given what it prints as it comes, or None.
    """

    argv: str | Sequence[str]
    stdin: bytes = b""
    environment: Mapping[str, str] | None = None
    folder: str | None = None
    output: Output | None = None

    def words(self) -> tuple[str, ...]:
        """Return the command line with the change of folder."""
        argv = ("/bin/sh", "-c", self.argv) if isinstance(self.argv, str) else tuple(self.argv)
        return (
            argv if self.folder is None else ("/bin/sh", "-c", _IN_FOLDER, "sh", self.folder, *argv)
        )

    def __str__(self) -> str:
        return self.argv if isinstance(self.argv, str) else shlex.join(self.argv)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command ended.

    Attributes:
        status: Its exit status; minus the signal's number if a signal ended it.
        stdout: What it wrote to its standard output; what is not UTF-8 is replaced.
        stderr: What it wrote to its standard error.
        raw: The same in bytes.
    """

    status: int
    stdout: str
    stderr: str
    raw: Result

    def last_line(self) -> str:
        """Return the last line that says something, of the errors before the rest."""
        lines = [line for text in (self.stdout, self.stderr) for line in text.splitlines()]
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def output(self) -> str | None:
        """Return both streams as evidence, or None if nothing was printed."""
        return (self.stdout + self.stderr).strip() or None


async def execute(node: Node, command: Command, limit: Limit) -> Outcome:
    """Run a command to its end.

    Raises:
        WaitError: It did not end in time; the message has what is known of the machine.
        MachineError: The node is stopped, the agent refused, or its machine failed or died.
    """

    async def give_up() -> WaitError:
        reason = await diagnose(node) or "it still runs"
        message = f"{node.plan.name}: `{command}` did not end within {limit.seconds:.3g} s"
        return WaitError(f"{message}: {reason}", evidence=_console(node))

    async with within(limit, give_up):
        return await run(node, command)
    raise AssertionError("unreachable")


async def run(node: Node, command: Command) -> Outcome:
    """Run a command to its end, inside a wait that has a deadline.

    A node that boots is waited for; one that was ended is an error.

    Raises:
        MachineError: The node is stopped, the agent refused, or its machine failed or died.
    """
    if node.state not in {"stopped", "failed"}:
        await node.wait_ready()
    result = await _run(node, command)
    return Outcome(
        status=result.status,
        stdout=result.stdout.decode(errors="replace"),
        stderr=result.stderr.decode(errors="replace"),
        raw=result,
    )


async def _run(node: Node, command: Command) -> Result:
    if command.output is None:
        return await node.execute(
            command.words(), stdin=command.stdin, environment=command.environment
        )
    # What the agent itself collects comes at the end, and at most 16 MiB of it.
    return await _stream(node, command, command.output)


async def _stream(node: Node, command: Command, output: Output) -> Result:
    made = await node.execute(("/bin/sh", "-c", _STREAM_FOLDER))
    folder = made.stdout.decode().strip()
    if made.status != 0 or not folder:
        raise MachineError(
            f"{node.plan.name}: no folder for a command's output can be made",
            evidence=made.stderr.decode(errors="replace"),
        )
    try:
        return await _follow(node, command, folder, output)
    finally:
        with trio.move_on_after(DIAGNOSIS, shield=True):
            await _quietly(lambda: node.execute(("rm", "-rf", "--", folder)))


async def _follow(node: Node, command: Command, folder: str, output: Output) -> Result:
    agent = node.machine.agent
    ended = trio.Event()
    words = ("/bin/sh", "-c", _STREAM, "sh", folder, *command.words())
    # Left when both readers have seen what was written before the command ended.
    async with open_tasks() as readers:
        for name in ("stdout", "stderr"):
            readers.start_soon(_tell, agent, f"{folder}/{name}", output, ended)
        result = await node.execute(words, stdin=command.stdin, environment=command.environment)
        ended.set()
    return result


async def _tell(agent: Agent, path: str, output: Output, ended: trio.Event) -> None:
    pause = _FIRST_READ
    name = path.rpartition("/")[2]
    async with agent.open_file(path, "r") as file:
        while True:
            last = ended.is_set()
            before = pause
            async for chunk in file:
                output(name, chunk)
                pause = _FIRST_READ
            if last:
                return
            pause = min(before * 1.5, _LONGEST_READ)
            await trio.sleep(pause)


async def diagnose(node: Node) -> str:
    """Say what is wrong with a machine that does not answer in time; empty if nothing is known."""
    if node.reason():
        return node.reason()
    with trio.move_on_after(DIAGNOSIS):
        try:
            await node.machine.qmp.execute("query-status")
        except NetlabError as error:
            return error.message
        return node.machine.status_reason()
    return "QEMU does not answer its monitor"


def _console(node: Node) -> str | None:
    try:
        return "\n".join(node.machine.console.tail(5)) or None
    except NetlabError:
        return None


async def _quietly(action: Callable[[], Awaitable[object]]) -> None:
    try:
        await action()
    except NetlabError:
        # The command's own end is what matters; the folder goes with the guest.
        return
