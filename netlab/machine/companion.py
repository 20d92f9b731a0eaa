"""A program beside QEMU that does a part of its machine, and speaks with it over a socket."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

import trio

from netlab.errors import LaunchError
from netlab.machine.argv import FIRST_DESCRIPTOR
from netlab.machine.health import Health
from netlab.machine.life import DEATH_GRACE, Life
from netlab.machine.logs import open_log
from netlab.process import Launcher, ServedFolder
from netlab.scopes import open_background


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where companions of a machine run.

    Attributes:
        name: The node's name.
        launcher: Starts them where QEMU is.
        folder: Gets their logs.
    """

    name: str
    launcher: Launcher
    folder: Path


@final
class Companion:
    """A companion that runs; made by :func:`open_companion`.

    Attributes:
        end: QEMU's end of the socket, to be closed once QEMU has it.
    """

    def __init__(self, part: str, life: Life, end: socket.socket) -> None:
        self.end = end
        self._part = part
        self._life = life

    async def watch(self, machine: Life, health: Health) -> None:
        """Tell when it ends before its machine, which goes on with a part that never answers."""
        await self._life.wait()
        with trio.move_on_after(DEATH_GRACE):
            await machine.wait()
            return
        health.fail(f"{self._part} is gone ({describe_end(self._life)})")


def describe_end(life: Life) -> str:
    """Say how a companion ended, with the last that it printed."""
    last = life.output_tail().rpartition("\n")[2]
    said = f": {last}" if last else ""
    return f"{Path(life.process.argv[0]).name} ended with status {life.status}{said}"


@asynccontextmanager
async def open_companion(
    part: str,
    command: Sequence[str],
    ends: tuple[socket.socket, socket.socket],
    surroundings: Surroundings,
    *,
    folder: ServedFolder | None = None,
) -> AsyncGenerator[Companion]:
    """Start a companion and end it when the block is left.

    Args:
        part: What of the machine it does: ``its TPM``.
        command: Its command line; its end of the socket is descriptor ``FIRST_DESCRIPTOR``.
        ends: QEMU's end of the socket, and its own; both are closed.
        surroundings: Where it runs. Its log is called after the program.
        folder: What it serves, or None.

    Raises:
        LaunchError: It could not be started; or QEMU could not be, and this is why.
        SandboxError: The launcher is gone.
    """
    mine, his = ends
    log = f"{Path(command[0]).name}.log"
    with mine:
        with his, open_log(surroundings.folder / log) as output:
            given = {FIRST_DESCRIPTOR: his.fileno(), 1: output.fileno(), 2: output.fileno()}
            process = await surroundings.launcher.launch(command, descriptors=given, folder=folder)
        life = Life(name=surroundings.name, process=process, folder=surroundings.folder, log=log)
        async with open_background() as nursery:
            nursery.start_soon(life.watch)
            try:
                yield Companion(part, life, mine)
            except LaunchError as error:
                if not life.ended.is_set():
                    raise
                message = f"{error.message}; {part} is gone ({describe_end(life)})"
                raise LaunchError(message, evidence=error.evidence) from error
            finally:
                await life.end()
