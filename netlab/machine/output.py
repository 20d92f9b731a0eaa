"""What a program in a guest prints, as it comes.

The agent itself hands output out at the end, and at most 16 MiB of it. So the program writes to two
files in the guest, which are read while they grow and removed when it has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import trio

from netlab.errors import MachineError
from netlab.machine.agent import CLEAN_UP_LIMIT, Agent, Result
from netlab.scopes import open_tasks

Output = Callable[[str, bytes], None]
"""Takes a stream's name, ``stdout`` or ``stderr``, and what came on it."""

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.25
"""Seconds between two looks at a file that does not grow: the agent cannot tell unasked."""

_MAKE_FOLDER = 'd=$(mktemp -d /tmp/netlab.XXXXXX) && : >"$d/stdout" && : >"$d/stderr" && echo "$d"'
_RUN = 'd=$1; shift; exec "$@" >"$d/stdout" 2>"$d/stderr"'


async def execute_telling(
    agent: Agent,
    argv: Sequence[str],
    output: Output,
    *,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> Result:
    """Run a program to its end and tell what it prints as it comes; the result has no output.

    Args:
        agent: Of the guest.
        argv: The program with its arguments.
        output: Is told.
        stdin: What the program reads.
        environment: Additions to the agent's environment.

    Raises:
        MachineError: The guest has no room for the output, or as of :meth:`Agent.execute`.
    """
    made = await agent.execute(("/bin/sh", "-c", _MAKE_FOLDER))
    folder = made.stdout.decode().strip()
    if made.status != 0 or not folder:
        raise MachineError(
            "no folder for a program's output can be made in the guest",
            evidence=made.stderr.decode(errors="replace"),
        )
    words = ("/bin/sh", "-c", _RUN, "sh", folder, *argv)
    ended = trio.Event()
    try:
        # Left when both readers have seen what was written before the program ended.
        async with open_tasks() as readers:
            for name in ("stdout", "stderr"):
                readers.start_soon(_follow, agent, f"{folder}/{name}", output, ended)
            result = await agent.execute(words, stdin=stdin, environment=environment)
            ended.set()
        return result
    finally:
        # The program's own end is what matters; the folder goes with the guest.
        with trio.move_on_after(CLEAN_UP_LIMIT, shield=True), suppress(MachineError):
            await agent.execute(("rm", "-rf", "--", folder))


async def _follow(agent: Agent, path: str, output: Output, ended: trio.Event) -> None:
    pause = FIRST_PAUSE
    name = path.rpartition("/")[2]
    async with agent.open_file(path, "r") as file:
        while True:
            last = ended.is_set()
            before = pause
            async for chunk in file:
                output(name, chunk)
                pause = FIRST_PAUSE
            if last:
                return
            pause = min(before * 1.5, LONGEST_PAUSE)
            await trio.sleep(pause)
