"""A machine's TPM 2.0: swtpm, a program beside QEMU that speaks with it over a socket.

Facts: swtpm(8); QEMU's docs/specs/tpm.rst. What the TPM keeps is in a folder of the machine's own
and stays while it stops and starts; the program lives as long as QEMU.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from netlab.machine.argv import FIRST_DESCRIPTOR
from netlab.machine.companion import Companion, Surroundings, open_companion
from netlab.process import find_program


@asynccontextmanager
async def open_tpm(
    state: str | None, surroundings: Surroundings
) -> AsyncGenerator[Companion | None]:
    """Start a machine's TPM and end it when the block is left.

    Args:
        state: The folder that holds what it keeps; None for a machine without.
        surroundings: Where it runs.

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
    ends = socket.socketpair()
    async with open_companion("its TPM", command, ends, surroundings) as companion:
        yield companion
