"""A node as a test speaks to it: every verb, each with a deadline, each saying what went wrong.

::

    await r1.wait_until_succeeds("ping -c1 r4")
    assert "r6" in await r1.succeed("traceroute -n r4")

Verbs wait for a node that boots, so that nobody has to. Times are in seconds; ``timeout=None`` is
the lab's default, and the caller's own deadline (``trio.fail_after``) always counts too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import final

import trio

from netlab.errors import UnknownNameError, WaitError
from netlab.machine.streams import ProgramStream, Terminal
from netlab.testing.forward import open_forward
from netlab.testing.interface import InterfaceDriver
from netlab.testing.screen import ScreenVerbs
from netlab.testing.transfer import copy_from, copy_to
from netlab.testing.waiting import make_limit, within

CLEAN_UP = 10.0
"""Seconds that a machine has to go on when a block ends that had paused it."""


@final
class NodeDriver(ScreenVerbs):
    """A node of a lab under test.

    Attributes:
        node: The live node.
        name: Its name.
        timeout: Seconds that a verb waits when nobody says how long.
    """

    async def start(self, *, timeout: float | None = None) -> None:
        """Let it boot if it is stopped or failed, and wait until it is ready.

        Raises:
            WaitError: It was not ready in time.
        """
        await self.node.start()
        self._seen = 0
        await self.wait_ready(timeout=timeout)

    async def shutdown(self) -> None:
        """Power it off, in order if the guest can, and wait until it is off."""
        await self.node.shutdown()

    async def crash(self) -> None:
        """Cut its power."""
        await self.node.crash()

    async def reboot(self, *, timeout: float | None = None) -> None:
        """Let the guest boot again, and wait until it is ready.

        Raises:
            WaitError: It was not ready in time.
        """
        limit = make_limit(timeout, self.timeout)

        async def give_up() -> WaitError:
            await trio.lowlevel.checkpoint()
            return WaitError(f"{self.name} did not boot again within {limit.seconds:.3g} s")

        async with within(limit, give_up):
            await self.node.reboot()
        await self.wait_ready(timeout=timeout)

    @asynccontextmanager
    async def paused(self) -> AsyncGenerator[None]:
        """Stop the guest's CPUs inside the block."""
        try:
            # Inside: given up, it is done all the same.
            await self.pause()
            async with self._failures.watch():
                yield
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLEAN_UP):
                await self.resume()

    async def pause(self) -> None:
        """Stop the guest's CPUs."""
        await self.node.pause()

    async def resume(self) -> None:
        """Let the guest's CPUs go on."""
        await self.node.resume()

    async def block(self, *interfaces: str) -> None:
        """Pull the cables of these interfaces, or of all: the guest loses its carrier."""
        await self._set_links(interfaces, up=False)

    async def unblock(self, *interfaces: str) -> None:
        """Put the cables of these interfaces back, or all."""
        await self._set_links(interfaces, up=True)

    async def copy_to(
        self, source: str | Path, target: str, *, timeout: float | None = None
    ) -> None:
        """Copy a file or a folder of the host into the guest, of any size.

        Raises:
            InputError: There is no such file.
            CommandError: The guest could not take it.
            WaitError: It was not there in time.
        """
        await self._wait_machine(timeout)
        async with within(*self._late(f"{source} was not in the guest", timeout)):
            await copy_to(self.node, Path(source), target)

    async def copy_from(
        self, source: str, target: str | Path, *, timeout: float | None = None
    ) -> None:
        """Copy a file or a folder of the guest to the host, of any size.

        Raises:
            CommandError: The guest has no such file.
            WaitError: It was not there in time.
        """
        await self._wait_machine(timeout)
        async with within(*self._late(f"{source} was not on the host", timeout)):
            await copy_from(self.node, source, Path(target))

    def forward_port(
        self, guest_port: int, host_port: int = 0, *, address: str = "127.0.0.1"
    ) -> AbstractAsyncContextManager[int]:
        """Make one of the guest's TCP ports one of the host's loopback; yields its number there.

        At most 14 connections at once; the next ones wait. The guest needs ``nc``.

        Args:
            guest_port: In the guest.
            host_port: On the host; 0 for any that is free.
            address: The guest's address that the port is at.

        Raises:
            InputError: The port on the host cannot be had.
        """
        return open_forward(self.node, guest_port, host_port, address)

    def open_stream(
        self, command: str | Sequence[str], *, terminal: Terminal | None = None
    ) -> AbstractAsyncContextManager[ProgramStream]:
        """Run a command and speak with it while it runs; leaving the block ends it.

        Args:
            command: A line for the guest's ``/bin/sh``, or a program with its arguments.
            terminal: The terminal that it gets, or None: it reads and writes plain bytes then.

        Raises:
            MachineError: The machine failed, died or is stopped.
        """
        argv = ("/bin/sh", "-c", command) if isinstance(command, str) else tuple(command)
        return self.node.open_stream(argv, terminal=terminal)

    async def qmp(self, command: str, /, **arguments: object) -> object:
        """Run a command of QEMU's monitor and return what it returns.

        Raises:
            QMPCommandError: QEMU refuses.
            MachineDiedError: QEMU has ended.
        """
        return await self.node.qmp(command, **arguments)

    def interface(self, name: str) -> InterfaceDriver:
        """Return one of its interfaces.

        Raises:
            UnknownNameError: It has none of that name.
        """
        for interface in self.node.plan.interfaces:
            if interface.name == name:
                return InterfaceDriver(self._lab, self, interface)
        known = ", ".join(each.name for each in self.node.plan.interfaces) or "none"
        raise UnknownNameError(f"{self.name} has no interface {name!r}", hint=f"it has: {known}")

    async def _set_links(self, interfaces: Sequence[str], *, up: bool) -> None:
        for interface in interfaces or [each.name for each in self.node.plan.interfaces]:
            await self.node.set_link(interface, up=up)
