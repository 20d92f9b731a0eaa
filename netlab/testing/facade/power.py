"""A machine's power, its cables, and QEMU's monitor."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, cast

from netlab.errors import WaitError
from netlab.testing.facade.base import MachineVerbs, verb
from netlab.testing.facade.durations import TIMEOUT, Duration
from netlab.testing.facade.portal import limit
from netlab.testing.facade.watch import QMPEvent, wait_off

if TYPE_CHECKING:
    from netlab.testing.node import NodeDriver

SHUTDOWN_GRACE = 90.0
"""Seconds that a guest gets to power off before QEMU is ended: what systemd gives a service."""

EVENT_TIMEOUT = 600
"""Seconds that one of QEMU's events is waited for when nobody says how long."""


class PowerVerbs(MachineVerbs):
    """Power and cables."""

    @verb
    def start(self, allow_reboot: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Let it boot if it is off, and do not wait for it: verbs do, by themselves.

        A machine may boot again by itself in any case, with ``allow_reboot`` and without.
        """
        self._call(self._driver.node.start)

    @verb
    def connect(self) -> None:
        """Let it boot if it is off, and wait until it is ready.

        Raises:
            WaitError: It was not in time.
        """
        self.start()
        self._call(self._driver.wait_ready, timeout=self._seconds(TIMEOUT))

    def is_up(self) -> bool:
        """Say whether it is ready."""
        return self._driver.node.state == "ready"

    @property
    def pid(self) -> int | None:
        """QEMU's process, or None while it is off."""
        return self._driver.node.pid

    @verb
    def shutdown(self) -> None:
        """Power it off, in order if the guest can, and wait until it is off."""
        self._call(self._node.shutdown, grace=SHUTDOWN_GRACE)

    @verb
    def wait_for_shutdown(self, timeout: Duration | None = None) -> None:
        """Wait until it is off.

        Raises:
            WaitError: It was not in time.
            MachineError: It failed, and was not powered off.
        """

        async def wait() -> None:
            await wait_off(self._session.lab, self._node)

        self._call(self._bounded, wait, "it was not off", self._seconds(timeout))

    @verb
    def crash(self) -> None:
        """Cut its power."""
        self._call(self._driver.crash)

    @verb
    def reboot(self) -> None:
        """Let the guest boot again, and wait until it is ready.

        Raises:
            WaitError: It was not ready in time.
        """
        self._call(self._driver.reboot, timeout=self._seconds(TIMEOUT))

    @verb
    def block(self) -> None:
        """Pull all its cables: the guest loses its carriers."""
        self._call(self._driver.block)

    @verb
    def unblock(self) -> None:
        """Put all its cables back."""
        self._call(self._driver.unblock)


class Monitor:
    """The ``qmp_client`` of a machine."""

    def __init__(self, machine: MonitorVerbs, driver: NodeDriver) -> None:
        self._machine = machine
        self._driver = driver

    def send(self, cmd: str, args: Mapping[str, object] | None = None) -> dict[str, object]:
        """Run a command of QEMU's monitor protocol; return its answer, with ``return`` in it.

        Raises:
            QMPCommandError: QEMU refuses.
        """
        return {"return": self._machine.run_monitor(cmd, args or {})}


class MonitorVerbs(PowerVerbs):
    """QEMU's monitor."""

    @property
    def qmp_client(self) -> Monitor:
        """QEMU's monitor protocol: ``qmp_client.send("query-status")``."""
        return Monitor(self, self._driver)

    def run_monitor(self, command: str, arguments: Mapping[str, object]) -> object:
        """Run a command of QEMU's monitor protocol; return what it returns."""
        return self._call(self._driver.qmp, command, **arguments)

    @verb
    def send_monitor_command(self, command: str) -> str:
        """Run a command of QEMU's monitor for people; return what it prints.

        Raises:
            MachineError: The machine is stopped, or has ended.
        """
        printed = self.run_monitor("human-monitor-command", {"command-line": command})
        return cast("str", printed)

    @verb
    def wait_for_qmp_event(
        self,
        event_filter: Callable[[QMPEvent], bool],
        timeout: Duration | None = EVENT_TIMEOUT,
    ) -> QMPEvent:
        """Return QEMU's first event that the filter accepts; the others stay for who wants them.

        Events count from the script's beginning, each once.

        Raises:
            WaitError: None came in time.
            MachineError: The machine failed first.
        """
        seconds = self._seconds(timeout)
        deadline = time.monotonic() + seconds
        after = 0
        with limit(seconds):
            while True:
                left = deadline - time.monotonic()
                found = self._call(
                    self._bounded, partial(self._next_event, after), "QEMU told no such event", left
                )
                after, event = found
                if event_filter(event):
                    self._call(self._record.take_event, found)
                    return event
                if left <= 0:
                    raise WaitError(f"{self.name}: QEMU told no such event within {seconds:.3g} s")

    async def _next_event(self, after: int) -> tuple[int, QMPEvent]:
        return await self._record.next_event(self._session.lab, self._node, after)
