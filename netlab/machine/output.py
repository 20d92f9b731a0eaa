"""What a program in a guest prints, as it comes.

The agent itself hands output out at the end, and at most 16 MiB of it. So the program writes to two
files in the guest, which are read while they grow and removed when it has ended.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace

import trio

from netlab.errors import AgentCommandError, MachineError
from netlab.machine.agent import CLEAN_UP_LIMIT, Agent, GuestFile, Result
from netlab.scopes import open_tasks

Output = Callable[[str, bytes], None]
"""Takes a stream's name, ``stdout`` or ``stderr``, and what came on it."""

STREAMS = ("stdout", "stderr")

BEFORE_FIRST_LOOK = 0.25
"""Seconds after which a program's files are looked at; most programs have ended before."""

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.25
"""Seconds between two looks at a file that does not grow: the agent cannot tell unasked."""

ROOM = 16 << 10
"""KiB that have to be free in the guest's /tmp; where they are not, the agent keeps the output."""

# The name cannot be guessed, and what has it already is not taken. Nothing comes on standard error
# when the program runs: it has gone to the file by then.
_RUN = """\
base=$1 room=$2; shift 2
df -Pk /tmp | { read -r _; read -r _ _ _ free _; [ "$free" -ge "$room" ]; } &&
    (umask 077; set -C; : >"$base.stdout" && : >"$base.stderr") ||
    { echo "no room" >&2; exit 1; }
exec "$@" >"$base.stdout" 2>"$base.stderr"
"""


@dataclass(frozen=True, slots=True)
class _Files:
    """The two files of a program in a guest, and who is told what is in them."""

    agent: Agent
    base: str
    output: Output

    @property
    def paths(self) -> dict[str, str]:
        return {stream: f"{self.base}.{stream}" for stream in STREAMS}

    async def tell(self, ended: trio.Event) -> None:
        """Tell what the program prints, all that came before its end, and remove the files."""
        try:
            while not await _ends(ended, BEFORE_FIRST_LOOK):
                if await self._exists():
                    break
            async with AsyncExitStack() as stack:
                opened = {
                    stream: await stack.enter_async_context(self.agent.open_file(path, "r"))
                    for stream, path in self.paths.items()
                }
                await self._follow(opened, ended)
        except MachineError:
            # While the program runs, who waits for it is told the same, or better.
            if ended.is_set():
                raise
        finally:
            await self._remove()

    async def _follow(self, opened: Mapping[str, GuestFile], ended: trio.Event) -> None:
        pause = FIRST_PAUSE
        while True:
            last = ended.is_set()
            before = pause
            for stream, file in opened.items():
                async for chunk in file:
                    self.output(stream, chunk)
                    pause = FIRST_PAUSE
            if last:
                return
            pause = min(before * 1.5, LONGEST_PAUSE)
            await _ends(ended, pause)

    async def _exists(self) -> bool:
        try:
            async with self.agent.open_file(self.paths[STREAMS[-1]], "r"):
                return True
        except AgentCommandError:
            return False

    async def _remove(self) -> None:
        """Remove them, as far as a moment allows: how the program ended is what matters."""
        with trio.move_on_after(CLEAN_UP_LIMIT, shield=True), suppress(MachineError):
            await self.agent.execute(("rm", "-f", "--", *self.paths.values()))


async def execute_telling(
    agent: Agent,
    argv: Sequence[str],
    output: Output,
    *,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> Result:
    """Run a program to its end and tell what it prints as it comes; the result has no output.

    Where the guest has no room for that, it is told at the end, as far as the agent keeps it.

    Args:
        agent: Of the guest.
        argv: The program with its arguments.
        output: Is told.
        stdin: What the program reads.
        environment: Additions to the agent's environment.

    Raises:
        MachineError: As of :meth:`Agent.execute`.
    """
    files = _Files(agent, f"/tmp/netlab.{secrets.token_hex(16)}", output)
    words = ("/bin/sh", "-c", _RUN, "sh", files.base, str(ROOM), *argv)
    ended = trio.Event()
    async with open_tasks() as tasks:
        tasks.start_soon(files.tell, ended)
        result = await agent.execute(words, stdin=stdin, environment=environment)
        if not result.stderr:
            ended.set()
        else:
            tasks.cancel_scope.cancel()
    if ended.is_set():
        return result
    result = await agent.execute(argv, stdin=stdin, environment=environment)
    _tell_all(result, output)
    return replace(result, stdout=b"", stderr=b"")


async def _ends(ended: trio.Event, seconds: float) -> bool:
    """Whether it ends in that time."""
    with trio.move_on_after(seconds):
        await ended.wait()
    return ended.is_set()


def _tell_all(result: Result, output: Output) -> None:
    for stream, data in zip(STREAMS, (result.stdout, result.stderr), strict=True):
        if data:
            output(stream, data)
