"""A command line as the NixOS driver runs it: errors, unset variables and pipes all count.

A script written for that driver relies on ``set -euo pipefail``. The guest's bash is taken where
there is one, else its ``/bin/sh`` with as much of it as that knows.
"""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass

import trio

from netlab.errors import AgentError, CommandError, MachineDiedError, WaitError, describe_status
from netlab.testing.commands import Command, Outcome, execute, run
from netlab.testing.node import NodeDriver
from netlab.testing.waiting import REPORT, Seen, make_limit, poll

HOME = "/tmp"
"""Where a command runs, and what a relative path in a guest is relative to."""

TIMED_OUT = 124
"""The status by which timeout(1) says that it has ended a command."""

ANSWER = 2.0
"""Seconds that a guest gets to show that only the command was slow."""

_SHELL = f"""\
[ ! -r /etc/profile ] || . /etc/profile >/dev/null 2>&1
cd {HOME}
export HOME="${{HOME:-/root}}" USER="${{USER:-root}}" PAGER=
if command -v bash >/dev/null 2>&1; then exec bash -c "set -euo pipefail; $1"; fi
if (set -o pipefail) 2>/dev/null; then exec /bin/sh -c "set -euo pipefail; $1"; fi
exec /bin/sh -c "set -eu; $1"
"""

_DETACHED = 'setsid /bin/sh -c "$1" sh "$2" </dev/null >/dev/null 2>&1 &'


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellCommand(Command):
    """A command line under the options of a script; told as the script wrote it."""

    def words(self) -> tuple[str, ...]:
        """Return the command line that chooses the shell."""
        return ("/bin/sh", "-c", _SHELL, "sh", str(self))


async def run_shell(node: NodeDriver, command: str, timeout: float) -> Outcome:
    """Run a command line to its end.

    Raises:
        WaitError: It did not end in time.
        MachineError: The machine failed, died or is stopped.
    """
    limit = make_limit(timeout, node.timeout)
    return await execute(node.node, ShellCommand(argv=command), limit)


async def run_limited(node: NodeDriver, command: str, timeout: float) -> tuple[int, str]:
    """Run a command line; return its status and standard output.

    The status is the shell's: 128 and the signal's number if one ended it, and timeout(1)'s 124 if
    time was up. Then there is no output.

    Raises:
        WaitError: It did not end in time and neither does the guest answer, or the caller's own
            deadline came first.
        MachineError: The machine failed, died or is stopped.
    """
    own = trio.current_time() + timeout
    try:
        outcome = await run_shell(node, command, timeout)
    except WaitError:
        if own + REPORT > trio.current_effective_deadline() or not await _answers(node):
            raise
        return TIMED_OUT, ""
    return (outcome.status if outcome.status >= 0 else 128 - outcome.status), outcome.stdout


async def _answers(node: NodeDriver) -> bool:
    try:
        await node.execute(("true",), timeout=ANSWER)
    except WaitError:
        return False
    return True


async def detach(node: NodeDriver, command: str) -> None:
    """Start a command line and leave it to itself."""
    await node.succeed(("/bin/sh", "-c", _DETACHED, "sh", _SHELL, command))


async def run_last(node: NodeDriver, command: str, timeout: float) -> str:
    """Run a command line that may take the machine down; return its output, or none then.

    Raises:
        WaitError: It did not end in time.
    """
    try:
        return (await run_shell(node, command, timeout)).stdout
    except (AgentError, MachineDiedError):
        # What was asked for: who takes a machine down expects no answer.
        return ""


async def succeed(node: NodeDriver, command: str, timeout: float) -> str:
    """Run a command line that has to succeed; return its standard output.

    Raises:
        CommandError: It ended with a status other than 0.
        WaitError: It did not end in time.
    """
    outcome = await run_shell(node, command, timeout)
    if outcome.status != 0:
        raise CommandError(
            f"{node.name}: `{command}` {_describe(outcome)}", evidence=outcome.output()
        )
    return outcome.stdout


async def wait_shell(
    node: NodeDriver, command: str, timeout: float, *, failure: bool = False, what: str = ""
) -> str:
    """Run a command line again and again until it succeeds, or fails; return standard output.

    Args:
        node: Whose guest.
        command: The command line.
        timeout: Seconds for all attempts together.
        failure: Whether it has to fail.
        what: What is told if time is up, in place of the command.

    Raises:
        WaitError: It did not in time.
    """

    async def look() -> Seen[str]:
        outcome = await run(node.node, ShellCommand(argv=command))
        if (outcome.status != 0) == failure:
            return Seen(value=outcome.stdout)
        told = f"the last attempt {_describe(outcome)}"
        return Seen(instead=f"{told}\n{outcome.output() or ''}")

    late = what or f"`{command}` did not {'fail' if failure else 'succeed'}"
    limit = make_limit(timeout, node.timeout)
    return await poll(f"{node.name}: {late}", look, limit, node.node.diagnose)


def for_user(command: str, user: str | None) -> str:
    """Return a command line that runs as a user, with that user's systemd in reach."""
    if user is None:
        return command
    line = f"XDG_RUNTIME_DIR=/run/user/$(id -u) {command}"
    return f"su -l {shlex.quote(user)} -s /bin/sh -c {shlex.quote(line)}"


def guest_path(path: str) -> str:
    """Return a path of a guest as seen from where commands run."""
    return posixpath.join(HOME, path)


def _describe(outcome: Outcome) -> str:
    last = outcome.last_line()
    return describe_status(outcome.status) + (f": {last}" if last else "")
