"""One node of a live lab: from waiting for a boot slot to stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import trio

from netlab.errors import MachineDiedError, NetlabError, NotReadyError
from netlab.lab.events import EventLog
from netlab.machine.agent import Result
from netlab.machine.argv import Boot
from netlab.machine.identity import apply_identity
from netlab.machine.machine import Machine, open_machine
from netlab.plan.model import HostPlan, NodePlan
from netlab.process import Launcher

State = Literal["queued", "booting", "configuring", "ready", "failed", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What all nodes of a lab share while they start."""

    launcher: Launcher
    hosts: tuple[HostPlan, ...]
    slots: trio.CapacityLimiter
    folder: Path


class Node:
    """A live node.

    Attributes:
        plan: What it is.
        state: ``queued`` (for a boot slot), ``booting``, ``configuring``, ``ready``, ``failed`` or
            ``stopped``.
        since: Seconds since the epoch at which it came to that state.
        error: Why it failed, or None.
    """

    def __init__(self, plan: NodePlan, events: EventLog) -> None:
        self.plan = plan
        self.state: State = "queued"
        self.since = time.time()
        self.error: NetlabError | None = None
        self._events = events
        self._machine: Machine | None = None
        self._settled = trio.Event()

    @property
    def machine(self) -> Machine:
        """The running machine.

        Raises:
            NotReadyError: It does not run.
        """
        if self._machine is None:
            raise NotReadyError(f"{self.plan.name} is {self.state}: {self.reason()}")
        return self._machine

    @property
    def pid(self) -> int | None:
        """QEMU's process id as the host sees it, or None when it does not run."""
        return self._machine.pid if self._machine else None

    def reason(self) -> str:
        """Say what it is waiting for, or how it ended; empty when it is ready."""
        if self.error is not None:
            return self.error.message
        if self.state == "queued":
            return "waiting for a boot slot"
        if self.state in {"booting", "configuring"} and self._machine is not None:
            return self._machine.status_reason()
        return {"ready": "", "stopped": "powered off"}.get(self.state, "starting QEMU")

    async def wait_ready(self) -> None:
        """Wait until it is ready; the deadline is the caller's.

        Raises:
            NetlabError: It failed; the error is the one that says why.
            NotReadyError: It was powered off before it was ready.
        """
        await self._settled.wait()
        if self.error is not None:
            raise self.error
        if self.state != "ready":
            raise NotReadyError(f"{self.plan.name} is {self.state}: {self.reason()}")

    async def execute(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> Result:
        """Run a program in the guest; commands of one node run side by side.

        Raises:
            NotReadyError: The node is not ready.
            AgentError: The agent refused, or there is no such program.
            MachineDiedError: QEMU ended meanwhile.
        """
        if self.state != "ready":
            raise NotReadyError(f"{self.plan.name} is {self.state}: {self.reason()}")
        return await self.machine.agent.execute(argv, stdin=stdin, environment=environment)

    async def run(self, boot: Boot, accel: Literal["kvm", "tcg"], shared: Circumstances) -> None:
        """Be this node: boot when there is a slot, take the identity, run until QEMU ends.

        A failure is kept in :attr:`error` and told as an event; it is this node's, not the lab's.
        """
        try:
            status = await self._live(boot, accel, shared)
        except NetlabError as error:
            self._fail(error)
        else:
            if status == 0:
                self._enter("stopped", "powered off")
        finally:
            self._machine = None
            self._settled.set()

    async def _live(self, boot: Boot, accel: Literal["kvm", "tcg"], shared: Circumstances) -> int:
        async with AsyncExitStack() as slot:
            await slot.enter_async_context(shared.slots)
            folder = shared.folder / self.plan.name
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            async with open_machine(
                self.plan, boot, accel=accel, launcher=shared.launcher, folder=folder
            ) as machine:
                self._machine = machine
                self._enter("booting", f"QEMU runs as process {machine.pid}")
                await machine.wait_ready()
                self._enter("configuring", "the agent answers")
                await apply_identity(machine.agent, self.plan, shared.hosts)
                self._enter("ready", "ready")
                self._settled.set()
                await slot.aclose()
                status = await machine.wait_exit()
                if status != 0:
                    raise MachineDiedError(
                        self.plan.name, machine.argv, status, machine.output_tail()
                    )
                return status

    def _fail(self, error: NetlabError) -> None:
        self.error = error
        self._enter("failed", str(error))

    def _enter(self, state: State, message: str) -> None:
        self.state = state
        self.since = time.time()
        self._events.record("node", message, node=self.plan.name, state=state)
