"""Commands in a guest as a test gives them: text in, text out, a deadline that always works."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netlab.errors import CommandError, WaitError
from netlab.lab.access import NodeAccess
from netlab.machine.agent import Result
from netlab.machine.output import Output
from netlab.testing.waiting import Limit, within

_IN_FOLDER = 'cd -- "$1" && shift && exec "$@"'


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


async def execute(node: NodeAccess, command: Command, limit: Limit) -> Outcome:
    """Run a command to its end.

    Raises:
        WaitError: It did not end in time; the message has what is known of the machine.
        CommandError: It printed more than the agent keeps.
        MachineError: The node is stopped, the agent refused, or its machine failed or died.
    """

    async def give_up() -> WaitError:
        reason = await node.diagnose() or "it still runs"
        message = f"{node.plan.name}: `{command}` did not end within {limit.seconds:.3g} s"
        console = "\n".join(await node.console_tail(5))
        return WaitError(f"{message}: {reason}", evidence=console or None)

    async with within(limit, give_up):
        return await run(node, command)
    raise AssertionError("unreachable")


async def run(node: NodeAccess, command: Command) -> Outcome:
    """Run a command to its end, inside a wait that has a deadline.

    A node that boots is waited for; one that was ended is an error.

    Raises:
        CommandError: It printed more than the agent keeps.
        MachineError: The node is stopped, the agent refused, or its machine failed or died.
    """
    if node.state not in {"stopped", "failed"}:
        await node.wait_ready()
    result = await node.execute(
        command.words(),
        stdin=command.stdin,
        environment=command.environment,
        output=command.output,
    )
    if result.error is not None:
        raise CommandError(
            f"{node.plan.name}: `{command}` printed more than can be returned: {result.error}",
            hint="take it as it comes, with `output=`, or write it into a file and copy that",
        )
    return Outcome(
        status=result.status,
        stdout=result.stdout.decode(errors="replace"),
        stderr=result.stderr.decode(errors="replace"),
        raw=result,
    )
