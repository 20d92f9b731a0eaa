"""What is proved on a guest that does not get ready."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.lowlevel

from netlab import open_lab, resolve
from netlab.errors import (
    HostError,
    WaitError,
)
from netlab.lab.lab import Lab
from netlab.testing import LabDriver
from netlab.topology.load import loads
from tests.testing.conftest import live
from tests.testing.traps.trap import Trap, told

TOPOLOGY = "name: stuck\nnodes: {a: {id: 1, run: ['until test -e /tmp/go; do sleep 0.2; done']}}\n"


async def slow_boot(lab: LabDriver, _folder: Path) -> None:
    assert isinstance(lab.lab, Lab)
    async with lab.lab.events.open_follow() as followed:
        async for event in followed:
            if event.state == "configuring":
                break
    with told(WaitError, "a is not ready after 1 s; it is configuring: .*`run` commands"):
        await lab["a"].wait_ready(timeout=1)
    await live(lab["a"]).machine.agent.execute(("touch", "/tmp/go"))
    await lab["a"].wait_ready()


async def leak(_lab: LabDriver, _folder: Path) -> None:
    """Left in the middle of the start, at a moment when QEMU runs and nobody has spoken to it."""
    pids: list[int] = []

    async def fail_half_way() -> None:
        async with open_lab(resolve(loads("name: half\nnodes: {a: {id: 1}}\n"))) as lab:
            while (pid := lab["a"].pid) is None:
                await trio.lowlevel.checkpoint()
            pids.append(pid)
            raise HostError("half-way")

    with told(HostError, "half-way"):
        await fail_half_way()
    assert not await trio.Path(f"/proc/{pids[0]}").exists()


TRAPS = (
    Trap(
        name="a guest that never gets ready",
        there="is waited for without a word, for minutes or for ever",
        here="an error at the deadline that says how far it got and what it waits for",
        proof=slow_boot,
        covers=("slow boot",),
    ),
    Trap(
        name="a start that fails half-way",
        there="leaves its QEMU behind",
        here="leaves nothing: machines end with the block of their lab, however it is left",
        proof=leak,
        covers=("leak",),
    ),
)
