"""One node of a live lab: from waiting for a boot slot to stopped, and again as often as asked."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import trio

from netlab.errors import (
    AgentError,
    AgentInterruptedError,
    MachineDiedError,
    MachineError,
    NetlabError,
    NotReadyError,
    explain_storage,
)
from netlab.lab.access import State
from netlab.lab.becoming import become
from netlab.lab.endings import POWERED_OFF, Endings
from netlab.lab.events import EventLog
from netlab.lab.slots import hold_slot
from netlab.machine.agent import Agent, GuestFile, Result
from netlab.machine.argv import nic_index
from netlab.machine.boot import Boot
from netlab.machine.disk import has_files, open_files
from netlab.machine.machine import SHUTDOWN_GRACE, Machine, open_machine
from netlab.machine.output import Output, execute_telling
from netlab.machine.streams import Ports, PortStream, Terminal, open_program
from netlab.plan.model import HostPlan, NodePlan
from netlab.plan.snapshots import SAVING, check_snapshot
from netlab.process import Launcher
from netlab.scopes import open_background

_CONFIGURING = "its addresses, routes, files and `run` commands, or cloud-init, are under way"

DIAGNOSIS = 0.2
"""Seconds that a machine gets to show a sign of life once something of it is late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What all nodes of a lab share while they start."""

    launcher: Launcher
    hosts: tuple[HostPlan, ...]
    slots: trio.CapacityLimiter
    folder: Path
    kept: Path


class Node:
    """A live node.

    Attributes:
        plan: What it is.
        state: ``queued`` (for a boot slot), ``booting``, ``configuring``, ``ready``, ``failed`` or
            ``stopped``.
        since: Seconds since the epoch at which it came to that state.
        error: Why it failed, or None.
        console_start: The console's position from which on its output is this user's matter: all.
    """

    console_start = 0

    def __init__(self, plan: NodePlan, events: EventLog) -> None:
        self.plan = plan
        self.state: State = "queued"
        self.since = time.time()
        self.error: NetlabError | None = None
        self._events = events
        self._machine: Machine | None = None
        self._settled = trio.Event()
        self._asked = trio.Event()
        self._stopped = trio.Event()
        self._endings = Endings()
        self._ports = Ports()
        # Cables that are out stay out, however often it is started meanwhile.
        self._unplugged: frozenset[str] = frozenset()
        # How often the machine had been reset when its guest became this node.
        self._life = 0

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
    def _agent(self) -> Agent:
        if not self.plan.agent:
            raise AgentError(
                f"{self.plan.name} has no agent", hint="the topology says agent: false"
            )
        return self.machine.agent

    @property
    def pid(self) -> int | None:
        """QEMU's process id as the host sees it, or None when it does not run."""
        return self._machine.pid if self._machine else None

    def reason(self) -> str:
        """Say what it is waiting for, or how it ended; empty when it is ready."""
        if self.error is not None:
            return self.error.message
        if self.state == "queued":
            others = " or for the other nodes of its network" * (self.plan.boot == "network")
            return f"waiting for a boot slot{others}"
        if self.state == "configuring" and self._machine is not None:
            return self._machine.status_reason() or _CONFIGURING
        if self.state == "booting" and self._machine is not None:
            return self._machine.status_reason()
        return {"ready": "", "stopped": self._endings.how}.get(self.state, "starting QEMU")

    async def wait_ready(self) -> None:
        """Wait until it is ready; the deadline is the caller's.

        Raises:
            NetlabError: It failed; the error is the one that says why.
            NotReadyError: It was powered off before it was ready.
        """
        # Looked at again: who waits is woken in the same moment as who sees a guest boot again.
        while not self._has_settled():
            await self._settled.wait()
            await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        if self.state != "ready":
            raise NotReadyError(f"{self.plan.name} is {self.state}: {self.reason()}")

    def _has_settled(self) -> bool:
        machine = self._machine
        booting_again = machine is not None and machine.resets != self._life
        return self._settled.is_set() and not booting_again

    async def execute(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        output: Output | None = None,
    ) -> Result:
        """Run a program in the guest; commands of one node run side by side.

        Args:
            argv: The program with its arguments.
            stdin: What it reads.
            environment: Additions to its environment.
            output: Is told what it prints as it comes, which the result then has not; or None.

        Raises:
            NotReadyError: The node is not ready.
            AgentError: The agent refused, or there is no such program.
            MachineDiedError: QEMU ended meanwhile.
        """
        if self.state != "ready":
            raise NotReadyError(f"{self.plan.name} is {self.state}: {self.reason()}")
        agent, machine = self._agent, self.machine
        try:
            if output is None:
                return await agent.execute(argv, stdin=stdin, environment=environment)
            return await execute_telling(agent, argv, output, stdin=stdin, environment=environment)
        except AgentInterruptedError as error:
            raise await machine.explain_interruption(error) from None

    def open_file(
        self, path: str, mode: Literal["r", "w", "a"]
    ) -> AbstractAsyncContextManager[GuestFile]:
        """Open a file in the guest; :meth:`Agent.open_file` says more."""
        return self._agent.open_file(path, mode)

    @asynccontextmanager
    async def open_stream(
        self, argv: Sequence[str], *, terminal: Terminal | None = None
    ) -> AsyncGenerator[PortStream]:
        """Run a program in the guest and speak with it; :func:`open_program` says more.

        There is a limit to how many there are at once; the next ones wait.
        """
        qmp, agent = self.machine.qmp, self._agent
        async with open_program(qmp, agent, argv, ports=self._ports, terminal=terminal) as stream:
            yield stream

    async def qmp(self, command: str, /, **arguments: object) -> object:
        """Run a command of QEMU's monitor and return what it returns.

        Raises:
            InputError: It would save a node of which not all can be saved.
            QMPCommandError: QEMU refuses.
            MachineDiedError: QEMU has ended.
        """
        if command in SAVING:
            check_snapshot(self.plan)
        return await self.machine.qmp.execute(command, **arguments)

    async def pause(self) -> None:
        """Stop the guest's CPUs."""
        await self.machine.pause()

    async def resume(self) -> None:
        """Let the guest's CPUs go on."""
        await self.machine.resume()

    async def set_link(self, interface: str, *, up: bool) -> None:
        """Plug or pull an interface's cable, as the guest sees it, now or when there is one.

        Raises:
            UnknownNameError: It has no such interface.
        """
        nic_index(self.plan, interface)
        self._unplugged = self._unplugged - {interface} if up else self._unplugged | {interface}
        if self._machine is not None:
            await self._machine.set_link(interface, up=up)

    async def wait_console_text(self, pattern: str, *, since: int) -> tuple[str, int]:
        """Wait until the console prints what matches; return it and the position behind.

        Raises:
            MachineError: The console ended first; MachineDiedError if QEMU did by itself.
        """
        machine = self.machine
        try:
            return await machine.console.wait_for_match(pattern, since=since)
        except MachineError as error:
            raise await machine.explain(error) from None

    async def console_tail(self, lines: int = 20) -> tuple[str, ...]:
        """Return the console's last lines; empty when it does not run."""
        await trio.lowlevel.checkpoint()
        return self._machine.console.tail(lines) if self._machine else ()

    async def diagnose(self) -> str:
        """Say what is wrong with it when it does not answer in time; empty if nothing is known."""
        machine = self._machine
        if self.reason() or machine is None:
            return self.reason()
        try:
            if wrong := await machine.monitor_reason(DIAGNOSIS):
                return wrong
            return machine.status_reason() or await machine.agent_reason(DIAGNOSIS)
        except NetlabError as error:
            return error.message

    async def start(self) -> None:
        """Let a node that is stopped or failed boot again; nothing happens when it runs.

        It boots as new when its slot comes: :meth:`wait_ready` waits for it.
        """
        if self._machine is not None and self._machine.exit is not None:
            # It has just ended, and is being cleared away.
            await self._stopped.wait()
        if self.state in {"stopped", "failed"}:
            self.error = None
            self._settled = trio.Event()
            self._enter("queued", "asked to start")
            self._asked.set()

    async def shutdown(self, *, grace: float = SHUTDOWN_GRACE) -> None:
        """Power off and wait until it has ended; nothing happens when it does not run.

        Args:
            grace: Seconds that the guest gets before QEMU is ended.
        """
        async with self._ending(POWERED_OFF) as machine:
            if machine is not None:
                await machine.shutdown(grace=grace)

    async def crash(self) -> None:
        """Cut its power: the guest notices nothing of its end. Nothing happens when it is off."""
        async with self._ending("crashed, as asked") as machine:
            if machine is not None:
                await machine.cut_power()

    async def reboot(self) -> None:
        """Ask the guest to boot again, and wait until it does; :meth:`wait_ready` waits for more.

        Raises:
            NotReadyError: It does not run.
            AgentError: It has no agent that could be asked.
        """
        machine = self.machine
        before = machine.resets
        await self._agent.post_shutdown("reboot")
        await machine.wait_reset(before)

    async def run(self, boot: Boot, accel: Literal["kvm", "tcg"], shared: Circumstances) -> None:
        """Be this node: boot when there is a slot, take the identity, run until QEMU ends.

        A failure is kept in :attr:`error` and told as an event; it is this node's, not the lab's.
        Then it waits to be started again.
        """
        async with AsyncExitStack() as files:
            while True:
                self._asked = trio.Event()
                self._stopped = trio.Event()
                self._endings = Endings()
                try:
                    await self._prepare(boot, shared, files)
                    # What the host has not for one node is no end of the others.
                    with explain_storage(shared.folder / self.plan.name):
                        await self._live(boot, accel, shared)
                except NetlabError as error:
                    if self._endings.are_asked_for:
                        self._enter("stopped", self._endings.how)
                    else:
                        self._fail(error)
                else:
                    self._enter("stopped", self._endings.how)
                finally:
                    self._machine = None
                    self._settled.set()
                    self._stopped.set()
                await self._asked.wait()

    async def _prepare(self, boot: Boot, shared: Circumstances, files: AsyncExitStack) -> None:
        """Make its folder and the files in it, if they are not there: they outlive its machine."""
        folder = shared.folder / self.plan.name
        with explain_storage(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not has_files(boot):
                await files.enter_async_context(open_files(boot, shared.kept / self.plan.name))

    async def _live(self, boot: Boot, accel: Literal["kvm", "tcg"], shared: Circumstances) -> None:
        async with open_background() as tasks:
            slot: trio.CancelScope = await tasks.start(hold_slot, shared.slots)
            folder = shared.folder / self.plan.name
            async with open_machine(
                self.plan, boot, accel=accel, launcher=shared.launcher, folder=folder
            ) as machine:
                self._machine, self._life = machine, 0
                self._enter("booting", f"QEMU runs as process {machine.pid}")
                await self._unplug(machine)
                while machine.exit is None:
                    life = machine.resets
                    await become(machine, self.plan, shared.hosts, self._configure)
                    if machine.resets == life:
                        self._life = life
                        self._enter("ready", "ready")
                        self._settled.set()
                        slot.cancel()
                        await self._wait_end_of_life(machine, life)
                status = await machine.wait_exit()
                if status != 0:
                    raise MachineDiedError(
                        self.plan.name, machine.argv, status, machine.output_tail()
                    )

    async def _unplug(self, machine: Machine) -> None:
        for interface in sorted(self._unplugged):
            # One that is put back meanwhile stays so.
            if interface in self._unplugged:
                await machine.set_link(interface, up=False)

    async def _wait_end_of_life(self, machine: Machine, life: int) -> None:
        """Wait until its guest boots again, or QEMU ends."""

        async def wait_reset() -> None:
            await machine.wait_reset(life)
            self._settled = trio.Event()
            self._enter("booting", "the guest boots again")
            tasks.cancel_scope.cancel()

        async with open_background() as tasks:
            tasks.start_soon(wait_reset)
            await machine.wait_exit()

    @asynccontextmanager
    async def _ending(self, how: str) -> AsyncGenerator[Machine | None]:
        """End the machine inside the block; when it is left, the node has stopped."""
        machine, stopped = self._machine, self._stopped
        if machine is None:
            yield None
            return
        with self._endings.asked(how, machine):
            yield machine
        await stopped.wait()

    def _configure(self, why: str) -> None:
        self._enter("configuring", why)

    def _fail(self, error: NetlabError) -> None:
        self.error = error
        self._enter("failed", str(error))

    def _enter(self, state: State, message: str) -> None:
        self.state = state
        self.since = time.time()
        self._events.record("node", message, node=self.plan.name, state=state)
