"""A running QEMU, from its start to its end.

::

    async with open_machine(node, boot, accel="tcg", launcher=sandbox, folder=folder) as machine:
        await machine.wait_ready()
        await machine.agent.execute("reboot")

The scope owns the process and every descriptor: when it is left, QEMU has ended. A QEMU that dies
inside it ends every call that needs it with MachineDiedError, and nothing else.
"""

from __future__ import annotations

import shlex
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Literal, final

import trio

from netlab.errors import (
    AgentInterruptedError,
    LaunchError,
    MachineDiedError,
    MachineError,
)
from netlab.machine.agent import open_agent
from netlab.machine.argv import Channels, argv, channels, nic_id, nic_index
from netlab.machine.boot import Boot, Share
from netlab.machine.companion import Companion, Surroundings
from netlab.machine.console import open_console
from netlab.machine.health import Health
from netlab.machine.launch import Streams, open_life
from netlab.machine.life import QUIT_GRACE, Life
from netlab.machine.qmp import QMP, open_qmp
from netlab.machine.shares import open_shares
from netlab.machine.tpm import open_tpm
from netlab.machine.transcript import Transcript, open_transcript
from netlab.plan.model import NodePlan
from netlab.process import Launcher, find_program
from netlab.scopes import open_background

SHUTDOWN_GRACE = 10.0
"""Seconds that a guest gets to power off when it is asked to."""


END_OF_MACHINE = 2.0
"""Seconds after the end of an agent in which its machine may end, and so be the reason."""


@final
class Machine:
    """A running QEMU; made by :func:`open_machine`.

    Attributes:
        node: What it is.
        argv: Its command line.
        pid: QEMU's process id as the host sees it.
        folder: Holds ``console.log``; ``qemu.log``, what QEMU itself printed; ``command.log``, its
            command line at each start; ``qmp.log`` and ``agent.log``, what was said to them.
        qmp: Its monitor.
        agent: Its guest's agent.
        console: Its serial console.
        shares: Folders of the host's that its guest can mount.
        unplugged: Interfaces whose cable is out, as :meth:`set_link` left them: QEMU cannot be
            asked.
    """

    def __init__(
        self, node: NodePlan, life: Life, health: Health, shares: tuple[Share, ...]
    ) -> None:
        self.unplugged: frozenset[str] = frozenset()
        self.shares = shares
        self.node = node
        self.argv = life.process.argv
        self.pid = life.process.pid
        self.folder = life.folder
        self.qmp = health.qmp
        self.agent = health.agent
        self.console = health.console
        self._life = life
        self._health = health

    @property
    def exit(self) -> int | None:
        """QEMU's exit status, minus the signal's number if killed; None while it runs."""
        return self._life.status

    async def wait_ready(self) -> None:
        """Wait until the guest's agent answers; the deadline is the caller's.

        One that runs no agent is ready when QEMU runs.

        Raises:
            MachineDiedError: QEMU ended first.
            MachineError: The guest panicked, or QEMU stopped it for good.
        """
        life = self.resets
        if self.node.agent:
            await self.agent.wait_ready()
        self._health.booted = life

    @property
    def resets(self) -> int:
        """How often the machine was reset, by its guest or from outside."""
        return self._health.resets

    async def wait_reset(self, before: int) -> None:
        """Wait until the machine was reset more often than that; its guest boots again then."""
        await self._health.wait_reset(before)

    async def wait_exit(self) -> int:
        """Wait until QEMU has ended, and return its exit status (minus a signal's number)."""
        return await self._life.wait()

    async def explain(self, error: MachineError) -> MachineError:
        """Return what is behind an error that a connection's end has caused."""
        return await self._life.explain(error)

    async def explain_interruption(self, error: AgentInterruptedError) -> MachineError:
        """Return what is behind the end of an agent: the machine may end a moment later, too."""
        with trio.move_on_after(END_OF_MACHINE):
            await self.wait_exit()
        return error if self.exit is None else await self.explain(error)

    def status_reason(self) -> str:
        """Say in one line how it is, or what it is waiting for; empty when it is ready."""
        if self.exit is not None:
            return MachineDiedError(self.node.name, self.argv, self.exit, "").message
        if self._health.failure:
            return self._health.failure
        if self._health.run_state != "running":
            return f"the machine is {self._health.run_state}"
        if self._health.booted == self.resets:
            return ""
        silent = trio.current_time() - self._health.began
        last = self.console.tail(1)
        shown = f"last console line: {last[0][:120]}" if last else "nothing on the console yet"
        return f"agent silent for {silent:.0f} s, boot stage {self._health.stage}, {shown}"

    async def monitor_reason(self, limit: float) -> str:
        """Say what is wrong with QEMU itself; empty when it answers.

        Args:
            limit: Seconds that it gets for an answer.

        Raises:
            MachineError: The machine failed meanwhile.
        """
        if self._life.is_stopped():
            return "QEMU is stopped, as by SIGSTOP"
        with trio.move_on_after(limit):
            await self.qmp.execute("query-status")
            return ""
        # A host that is busy may be the reason as well.
        return f"it still runs, but QEMU has not answered its monitor within {limit:g} s"

    async def agent_reason(self, limit: float) -> str:
        """Say what is wrong with the agent of a guest that is ready; empty when nothing is.

        Args:
            limit: Seconds that it gets for an answer.

        Raises:
            MachineError: The machine failed meanwhile.
        """
        return await self._health.agent_reason(limit)

    def output_tail(self) -> str:
        """Return the last that QEMU itself printed."""
        return self._life.output_tail()

    async def pause(self) -> None:
        """Stop the guest's CPUs.

        Raises:
            QMPError: QEMU refuses.
            MachineDiedError: QEMU has ended.
        """
        await self.qmp.execute("stop")

    async def resume(self) -> None:
        """Let the guest's CPUs go on.

        Raises:
            QMPError: QEMU refuses, because the machine needs a reset for example.
            MachineDiedError: QEMU has ended.
        """
        await self.qmp.execute("cont")

    async def reset(self) -> None:
        """Press the reset button; :meth:`wait_ready` then waits for the guest that boots.

        Raises:
            QMPError: QEMU refuses.
            MachineDiedError: QEMU has ended.
        """
        await self._health.reset()

    async def set_link(self, interface: str, *, up: bool) -> None:
        """Plug or pull the cable of an interface, as the guest sees it.

        Raises:
            UnknownNameError: The node has no such interface.
            QMPError: QEMU refuses.
            MachineDiedError: QEMU has ended.
        """
        index = nic_index(self.node, interface)
        await self.qmp.execute("set_link", name=nic_id(index), up=up)
        self.unplugged = self.unplugged - {interface} if up else self.unplugged | {interface}

    async def cut_power(self) -> int:
        """End QEMU as if the power had failed: the guest is not asked; return its exit status.

        It is bounded, and not to be cancelled: half of it would look like the guest's own end.
        """
        with trio.CancelScope(shield=True):
            with trio.move_on_after(QUIT_GRACE):
                await _quietly(self.qmp.execute, "quit")
            await self._life.end()
        return await self.wait_exit()

    async def shutdown(self, *, grace: float = SHUTDOWN_GRACE) -> int:
        """Power off: ask the guest, then end QEMU, then kill it; return QEMU's exit status.

        Args:
            grace: Seconds that the guest gets. One that runs no agent and ignores the power button
                uses them all.
        """
        with trio.move_on_after(grace):
            async with open_background() as nursery:
                nursery.start_soon(_quietly, self.agent.post_shutdown, "powerdown")
                nursery.start_soon(_quietly, self._press_power_button)
                await self.wait_exit()
        await self._life.end()
        return await self.wait_exit()

    async def _press_power_button(self) -> None:
        await self.qmp.execute("system_powerdown")


@asynccontextmanager
async def open_machine(
    node: NodePlan,
    boot: Boot,
    *,
    accel: Literal["kvm", "tcg"],
    launcher: Launcher,
    folder: Path,
) -> AsyncGenerator[Machine]:
    """Start a node's QEMU and give it up when the block is left.

    Args:
        node: What to start.
        boot: What it boots from.
        accel: The accelerator.
        launcher: Starts QEMU where the node's taps are.
        folder: Gets the logs; made when it is not there.

    Raises:
        InputError: The node cannot be built.
        LaunchError: QEMU, or what is beside it, did not start; the error has command line and
            output.
        MissingProgramError: One of them is not installed.
        SandboxError: The launcher is gone.
        StorageError: Its logs cannot be written.
    """
    numbers = channels(node)
    program, *arguments = argv(node, boot, accel=accel, channels=numbers)
    command = (find_program(program), *arguments)
    surroundings = Surroundings(name=node.name, launcher=launcher, folder=folder)
    async with (
        _open_companions(boot, numbers, surroundings) as companions,
        open_background() as nursery,
        open_life(node, command, companions, surroundings, nursery) as (life, streams),
        _open_health(life, streams, boot, nursery) as health,
    ):
        for companion in companions.values():
            nursery.start_soon(companion.watch, life, health)
        yield Machine(node, life, health, boot.shares)


@asynccontextmanager
async def _open_companions(
    boot: Boot, numbers: Channels, surroundings: Surroundings
) -> AsyncGenerator[dict[int, Companion]]:
    """Start what QEMU needs beside it; each by the descriptor at which QEMU has its end."""
    async with (
        open_tpm(boot.tpm, surroundings) as tpm,
        open_shares(boot.shares, surroundings) as shares,
    ):
        beside = zip((numbers.tpm, *numbers.shares), (tpm, *shares), strict=True)
        yield {number: one for number, one in beside if number and one}


@asynccontextmanager
async def _open_health(
    life: Life, streams: Streams, boot: Boot, nursery: trio.Nursery
) -> AsyncGenerator[Health]:
    """Speak over a machine's channels, and write down what is said, until QEMU has ended."""
    async with AsyncExitStack() as stack:
        said = [
            stack.enter_context(open_transcript(life.folder / name))
            for name in ("agent.log", "qmp.log")
        ]
        console = await stack.enter_async_context(
            open_console(streams.console, life.folder / "console.log")
        )
        agent = await stack.enter_async_context(
            open_agent(streams.agent, explain=life.explain, transcript=said[0])
        )
        qmp = await stack.enter_async_context(_open_monitor(streams.qmp, life, said[1]))
        health = Health(life.name, qmp, agent, console, kernel=boot.kernel is not None)
        nursery.start_soon(health.watch_events)
        nursery.start_soon(health.watch_console)
        try:
            yield health
        finally:
            # Before its channels are closed: its last words are written down, too.
            await life.end()


@asynccontextmanager
async def _open_monitor(
    stream: trio.SocketStream, life: Life, transcript: Transcript
) -> AsyncGenerator[QMP]:
    started = False
    try:
        async with open_qmp(stream, explain=life.explain, transcript=transcript) as qmp:
            started = True
            yield qmp
    except MachineError as error:
        if started:
            raise
        output = life.output_tail()
        last = output.rpartition("\n")[2] or error.message
        raise LaunchError(
            f"{life.name}: QEMU did not start: {last}",
            evidence=f"{shlex.join(life.process.argv)}\n{output}".strip(),
        ) from error


async def _quietly(function: Callable[..., Awaitable[object]], *arguments: object) -> None:
    """Ask for something that may be refused, on the way to what cannot be."""
    with suppress(MachineError):
        await function(*arguments)
