"""What befalls a machine while its QEMU lives: panics, internal errors, resets."""

from __future__ import annotations

from contextlib import suppress
from typing import final

import trio

from netlab.errors import MachineError
from netlab.machine.agent import Agent
from netlab.machine.argv import AGENT_PORT
from netlab.machine.console import LINES, Console
from netlab.machine.qmp import QMP, Event
from netlab.machine.stages import Stage, find_stage

FATAL_STATES = {
    "internal-error": "the accelerator could not go on (run state internal-error)",
    "guest-panicked": "the guest's kernel panicked",
    "io-error": "a disk of the machine failed (run state io-error)",
}
"""QEMU's run states that nothing in the guest gets out of."""

PANIC = r"^(?:\[ *\d+\.\d+\] )?Kernel panic - not syncing: [^\r\n]*(?=\r?\n)"
"""How Linux says so on its console; a guest without a pvpanic driver says it nowhere else."""


SILENCE = 0.5
"""Seconds without an answer from which on an agent is said to be silent; a busy one takes less."""


@final
class Health:
    """What is known about a running machine beside its process.

    Attributes:
        qmp: Its monitor.
        agent: Its agent; told of failures, so that nobody waits for a dead guest.
        console: Its console.
        run_state: QEMU's run state, such as ``running`` or ``paused``.
        failure: Why the guest will never answer again, or empty.
        resets: How often the machine was reset, by itself or from outside.
        began: When it started or was last reset, by Trio's clock.
        booted: After how many resets its agent first answered, the last time; None for never.
    """

    def __init__(
        self, name: str, qmp: QMP, agent: Agent, console: Console, *, kernel: bool
    ) -> None:
        """Know nothing yet; `kernel` says whether the machine was given one."""
        self.qmp = qmp
        self.agent = agent
        self.console = console
        self.run_state = "running"
        self.failure = ""
        self.resets = 0
        self.began = trio.current_time()
        self.booted: int | None = None
        self._kernel = kernel
        # The console's position when it started or was last reset.
        self._beginning = 0
        self._name = name
        self._since = 0
        self._agent_ended = False
        self._reset = trio.Event()

    @property
    def stage(self) -> Stage:
        """How far its guest is known to have come since it started or was reset."""
        lines = self.console.tail(LINES, since=self._beginning)
        return find_stage(lines, kernel=self._kernel)

    async def watch_events(self) -> None:
        """Follow QEMU's run state until the monitor is closed."""
        with self.qmp.events() as events, suppress(MachineError):
            # What happened before the subscription is still to be seen in the state.
            await self._refresh()
            async for event in events:
                await self._take(event)

    async def watch_console(self) -> None:
        """Look for panics until the console ends."""
        with suppress(MachineError):
            while True:
                text = await self.console.wait_for_text(PANIC, since=self._since)
                self._since = self.console.position
                self.fail(f"the guest's kernel panicked: {text.partition('syncing: ')[2]}")

    async def reset(self) -> None:
        """Reset the machine and let it run.

        Raises:
            QMPError: QEMU refuses.
            MachineDiedError: QEMU has ended.
        """
        before = self.resets
        await self.qmp.execute("system_reset")
        await self.wait_reset(before)
        # One that was stopped stays stopped over a reset.
        await self.qmp.execute("cont")

    async def wait_reset(self, before: int) -> None:
        """Wait until the machine was reset more often than that."""
        while self.resets <= before:
            await self._reset.wait()

    async def agent_reason(self, limit: float) -> str:
        """Say what is wrong with an agent that had answered; empty when nothing is.

        Args:
            limit: Seconds that it gets for an answer.

        Raises:
            MachineError: The machine failed.
        """
        if self._agent_ended:
            return "the guest's agent has ended and was not started again"
        silence = await self.agent.measure_silence(limit)
        return f"the guest's agent has been silent for {silence:.1f} s" if silence > SILENCE else ""

    async def _take(self, event: Event) -> None:
        if event.name == "GUEST_PANICKED":
            self.fail(FATAL_STATES["guest-panicked"])
        elif event.name == "RESET":
            self._restart()
        elif event.name == "VSERPORT_CHANGE" and event.data.get("id") == AGENT_PORT:
            self._agent_ended = event.data.get("open") is False
            if self._agent_ended:
                # The agent has closed its end: what it was asked it will not answer.
                self.agent.interrupt()
        if event.name in {"STOP", "RESUME", "RESET", "SUSPEND", "WAKEUP", "GUEST_PANICKED"}:
            await self._refresh()

    async def _refresh(self) -> None:
        match await self.qmp.execute("query-status"):
            case {"status": str(state)}:
                self.run_state = state
                if state in FATAL_STATES:
                    self.fail(FATAL_STATES[state])
            case _:
                return

    def _restart(self) -> None:
        self.failure = ""
        self._agent_ended = False
        self.resets += 1
        self.began = trio.current_time()
        self._beginning = self.console.position
        self.agent.fail(None)
        self.agent.interrupt()
        self._reset.set()
        self._reset = trio.Event()

    def fail(self, failure: str) -> None:
        """Take note of why the guest will never be itself again, and tell who waits for it."""
        # The first reason is the cause of the others.
        if not self.failure:
            self.failure = failure
            self.agent.fail(self._error)

    def _error(self) -> MachineError:
        booting = self.booted != self.resets
        return MachineError(
            f"{self._name}: {self.failure}",
            hint=f"boot stage: {self.stage}" if booting else None,
            evidence="\n".join(self.console.tail()),
        )
