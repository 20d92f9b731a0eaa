"""A machine's TPM 2.0: swtpm, a program beside QEMU that speaks with it over a socket.

Facts: swtpm(8); QEMU's docs/specs/tpm.rst. What the TPM keeps is in a folder of the machine's own
and stays while it stops and starts; the program lives as long as QEMU.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import final

import trio

from netlab.machine.argv import FIRST_DESCRIPTOR
from netlab.machine.health import Health
from netlab.machine.life import DEATH_GRACE, Life
from netlab.process import Launcher, find_program
from netlab.scopes import open_background

LOG = "swtpm.log"
"""What swtpm printed, in the machine's folder."""


@final
class Tpm:
    """A TPM that runs; made by :func:`open_tpm`.

    Attributes:
        end: QEMU's end of its control channel, to be closed once QEMU has it.
    """

    def __init__(self, life: Life, end: socket.socket) -> None:
        self.end = end
        self._life = life

    async def watch(self, machine: Life, health: Health) -> None:
        """Tell when it ends before its machine, which goes on with a TPM that never answers."""
        status = await self._life.wait()
        with trio.move_on_after(DEATH_GRACE):
            await machine.wait()
            return
        last = self._life.output_tail().rpartition("\n")[2]
        said = f": {last}" if last else ""
        health.fail(f"its TPM is gone (swtpm ended with status {status}{said})")


@asynccontextmanager
async def open_tpm(
    name: str, state: str | None, launcher: Launcher, folder: Path
) -> AsyncGenerator[Tpm | None]:
    """Start a machine's TPM and end it when the block is left.

    Args:
        name: The node's name.
        state: The folder that holds what it keeps; None for a machine without.
        launcher: Starts it where QEMU is.
        folder: Gets its log.

    Raises:
        LaunchError: It could not be started.
        MissingProgramError: swtpm is not installed.
        SandboxError: The launcher is gone.
    """
    if state is None:
        yield None
        return
    command = (
        *(find_program("swtpm"), "socket", "--tpm2", "--terminate"),
        *("--tpmstate", f"dir={state},mode=0600"),
        *("--ctrl", f"type=unixio,clientfd={FIRST_DESCRIPTOR}"),
    )
    mine, his = socket.socketpair()
    with mine:
        with his, (folder / LOG).open("ab", buffering=0) as log:
            descriptors = {FIRST_DESCRIPTOR: his.fileno(), 1: log.fileno(), 2: log.fileno()}
            process = await launcher.launch(command, descriptors=descriptors)
        life = Life(name=name, process=process, folder=folder, log=LOG)
        async with open_background() as nursery:
            nursery.start_soon(life.watch)
            try:
                yield Tpm(life, mine)
            finally:
                await life.end()
