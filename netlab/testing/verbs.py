"""The verbs that everything else is made of: commands, and waiting for what they say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import trio

from netlab.errors import CommandError, WaitError, describe_status
from netlab.lab.access import LabAccess, NodeAccess
from netlab.machine.output import Output
from netlab.testing.commands import Command, Outcome, execute, run
from netlab.testing.failures import Failures
from netlab.testing.waiting import Limit, Seen, make_limit, poll, within

T = TypeVar("T")


class Verbs:
    """What a node is asked.

    Attributes:
        node: The live node.
        name: Its name.
        timeout: Seconds that a verb waits when nobody says how long.
    """

    def __init__(
        self,
        lab: LabAccess,
        node: NodeAccess,
        timeout: float,
        failures: Failures | None = None,
    ) -> None:
        self.node = node
        self.name = node.plan.name
        self.timeout = timeout
        self._lab = lab
        self._failures = failures or Failures()
        self._seen = node.console_start

    @property
    def folder(self) -> Path:
        """Where the machine's logs are; QEMU can write there."""
        return self._lab.folder / "nodes" / self.name

    async def execute(
        self,
        command: str | Sequence[str],
        *,
        input: str | bytes = b"",  # noqa: A002 # subprocess calls it so
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        output: Output | None = None,
        timeout: float | None = None,
    ) -> Outcome:
        """Run a command to its end and return how it ended; any status is fine.

        Args:
            command: A line for the guest's ``/bin/sh``, or a program with its arguments.
            input: What it reads.
            env: Additions to its environment.
            cwd: The folder that it runs in.
            output: Is given a stream's name and what came on it, as it comes.
            timeout: Seconds.

        Raises:
            WaitError: It did not end in time.
            CommandError: It printed more than 16 MiB, and nobody took it as it came.
            MachineError: The machine failed, died or is stopped.
        """
        stdin = input.encode() if isinstance(input, str) else input
        asked = Command(argv=command, stdin=stdin, environment=env, folder=cwd, output=output)
        return await execute(self.node, asked, make_limit(timeout, self.timeout))

    async def look(self, command: str | Sequence[str]) -> Outcome:
        """Run a command inside a wait: its deadline is the wait's, which also says why it is late.

        Raises:
            MachineError: The machine failed, died or is stopped.
        """
        return await run(self.node, Command(argv=command))

    async def succeed(self, *commands: str | Sequence[str], timeout: float | None = None) -> str:
        """Run commands, one after the other; return what they wrote to standard output.

        Raises:
            CommandError: One ended with a status other than 0.
        """
        return "".join([await self._expect(command, timeout) for command in commands])

    async def fail(self, *commands: str | Sequence[str], timeout: float | None = None) -> str:
        """Run commands that have to fail; return what they wrote to standard output.

        Raises:
            CommandError: One ended with status 0.
        """
        return "".join([await self._expect(command, timeout, failure=True) for command in commands])

    async def wait_until_succeeds(
        self, command: str | Sequence[str], *, timeout: float | None = None
    ) -> str:
        """Run a command again and again until it succeeds; return its standard output.

        Raises:
            WaitError: It did not in time; the message has the last attempt's status and output.
        """
        return await self._repeat(command, timeout, failure=False)

    async def wait_until_fails(
        self, command: str | Sequence[str], *, timeout: float | None = None
    ) -> str:
        """Run a command again and again until it fails; return its standard output.

        Raises:
            WaitError: It did not in time.
        """
        return await self._repeat(command, timeout, failure=True)

    async def wait_ready(self, *, timeout: float | None = None) -> None:
        """Wait until it is ready.

        Raises:
            WaitError: It was not in time; the message says what it waited for.
            NetlabError: It failed, or it is stopped.
        """
        limit = make_limit(timeout, self.timeout)

        async def give_up() -> WaitError:
            await trio.lowlevel.checkpoint()
            state = f"{self.node.state}: {self.node.reason()}"
            return WaitError(f"{self.name} is not ready after {limit.seconds:.3g} s; it is {state}")

        async with within(limit, give_up):
            await self.node.wait_ready()

    async def _expect(
        self, command: str | Sequence[str], timeout: float | None, *, failure: bool = False
    ) -> str:
        outcome = await self.execute(command, timeout=timeout)
        if (outcome.status != 0) == failure:
            return outcome.stdout
        shown = Command(argv=command)
        if failure:
            raise CommandError(
                f"{self.name}: `{shown}` succeeded, and had to fail", evidence=outcome.output()
            )
        raise CommandError(
            f"{self.name}: `{shown}` {_describe(outcome)}", evidence=outcome.output()
        )

    async def _repeat(
        self, command: str | Sequence[str], timeout: float | None, *, failure: bool
    ) -> str:
        shown = Command(argv=command)

        async def look() -> Seen[str]:
            outcome = await self.look(command)
            if (outcome.status != 0) == failure:
                return Seen(value=outcome.stdout)
            told = f"the last attempt {_describe(outcome)}"
            return Seen(instead=f"{told}\n{outcome.output() or ''}")

        done = "fail" if failure else "succeed"
        return await self._poll(f"`{shown}` did not {done}", look, timeout)

    async def _wait_machine(self, timeout: float | None) -> None:
        """Wait for a node that boots; one that was ended says so by itself."""
        if self.node.state not in {"stopped", "failed"}:
            await self.wait_ready(timeout=timeout)

    def _late(
        self, what: str, timeout: float | None
    ) -> tuple[Limit, Callable[[], Awaitable[WaitError]]]:
        limit = make_limit(timeout, self.timeout)

        async def give_up() -> WaitError:
            await trio.lowlevel.checkpoint()
            return WaitError(f"{self.name}: {what} within {limit.seconds:.3g} s")

        return limit, give_up

    async def _poll(
        self, what: str, look: Callable[[], Awaitable[Seen[T]]], timeout: float | None
    ) -> T:
        limit = make_limit(timeout, self.timeout)
        return await poll(f"{self.name}: {what}", look, limit, self.node.diagnose)


def _describe(outcome: Outcome) -> str:
    last = outcome.last_line()
    return describe_status(outcome.status) + (f": {last}" if last else "")
