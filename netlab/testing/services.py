"""Waiting for what a guest offers: files, ports, sockets, units, lines on its console."""

from __future__ import annotations

from netlab.errors import AgentCommandError, CheckError, CommandError, WaitError
from netlab.testing import probes
from netlab.testing.commands import Outcome
from netlab.testing.verbs import Verbs
from netlab.testing.waiting import Seen, make_limit, within


class ServiceVerbs(Verbs):
    """Verbs about what runs in a guest."""

    async def wait_for_file(self, path: str, *, timeout: float | None = None) -> None:
        """Wait until there is a file, a folder or anything else of that name.

        Raises:
            WaitError: There was none in time.
        """

        async def look() -> Seen[bool]:
            found = await self.look(("test", "-e", path))
            return Seen(value=True) if found.status == 0 else Seen(instead="it is not there")

        await self._poll(f"{path} was not there", look, timeout)

    async def wait_for_open_port(
        self, port: int, address: str = "localhost", *, timeout: float | None = None
    ) -> None:
        """Wait until somebody in the guest listens on a TCP port at one of its addresses.

        Raises:
            WaitError: Nobody did in time.
        """
        await self._wait_port(port, address, timeout, opened=True)

    async def wait_for_closed_port(
        self, port: int, address: str = "localhost", *, timeout: float | None = None
    ) -> None:
        """Wait until nobody in the guest listens on that TCP port any more.

        Raises:
            WaitError: Somebody still did.
        """
        await self._wait_port(port, address, timeout, opened=False)

    async def wait_for_open_unix_socket(
        self, path: str, *, datagram: bool = False, timeout: float | None = None
    ) -> None:
        """Wait until a Unix socket takes connections, or datagrams.

        Raises:
            WaitError: None did in time.
        """

        async def look() -> Seen[bool]:
            sockets = (await self.look(probes.UNIX_SOCKETS)).stdout
            if probes.has_unix_socket(sockets, path, datagram=datagram):
                return Seen(value=True)
            return Seen(instead="nobody listens there")

        await self._poll(f"{path} took no connections", look, timeout)

    async def wait_for_console_text(self, pattern: str, *, timeout: float | None = None) -> str:
        """Wait until the serial console prints what matches; return it.

        Only what came after the last match counts, so that one after the other can be waited for.

        Args:
            pattern: A regular expression; ``^`` and ``$`` match at lines.
            timeout: Seconds.

        Raises:
            WaitError: It did not come; the evidence is the console's end.
            MachineError: The machine ended first.
        """
        await self._wait_machine(timeout)
        limit = make_limit(timeout, self.timeout)

        async def give_up() -> WaitError:
            message = f"{self.name}: {pattern!r} was not on the console within"
            console = "\n".join(await self.node.console_tail())
            return WaitError(f"{message} {limit.seconds:.3g} s", evidence=console or None)

        async with within(limit, give_up):
            found, self._seen = await self.node.wait_console_text(pattern, since=self._seen)
            return found
        raise AssertionError("unreachable")

    async def systemctl(self, arguments: str, *, timeout: float | None = None) -> Outcome:
        """Run ``systemctl`` and return how it ended.

        Raises:
            WaitError: It did not end in time.
        """
        return await self.execute(f"systemctl {arguments}", timeout=timeout)

    async def read_unit(self, unit: str) -> dict[str, str]:
        """Return the properties of a systemd unit.

        Raises:
            CommandError: The guest has no systemd.
            MachineError: The machine failed, died or is stopped.
        """
        try:
            shown = await self.look(("systemctl", "--no-pager", "show", "--", unit))
        except AgentCommandError as error:
            raise CommandError(f"{self.name} has no systemd: {error.message}") from error
        return probes.read_properties(shown.stdout)

    async def require_unit_state(self, unit: str, state: str = "active") -> None:
        """Check the state of a systemd unit now.

        Raises:
            CheckError: It is in another one.
        """
        found = (await self.read_unit(unit)).get("ActiveState", "unknown")
        if found != state:
            raise CheckError(f"{self.name}: {unit} is {found}, not {state}")

    async def wait_for_unit(self, unit: str, *, timeout: float | None = None) -> None:
        """Wait until a systemd unit is active.

        Raises:
            CheckError: It has failed, or it is inactive and nothing is about to start it.
            WaitError: It was not active in time.
        """

        async def look() -> Seen[bool]:
            found = await self.read_unit(unit)
            state = found.get("ActiveState", "unknown")
            if state == "active":
                return Seen(value=True)
            if state == "failed" or (state == "inactive" and found.get("Job", "0") in {"0", ""}):
                await self._refuse_unit(unit, state)
            return Seen(instead=f"it is {state} ({found.get('SubState', '')})")

        await self._poll(f"{unit} was not active", look, timeout)

    async def _wait_port(
        self, port: int, address: str, timeout: float | None, *, opened: bool
    ) -> None:
        async def look() -> Seen[bool]:
            sockets = (await self.look(probes.SOCKETS)).stdout
            if probes.listens(sockets, port, address) == opened:
                return Seen(value=True)
            return Seen(instead=f"{'nobody' if opened else 'somebody'} listens there")

        wanted = "open" if opened else "closed"
        await self._poll(f"port {port} at {address} was not {wanted}", look, timeout)

    async def _refuse_unit(self, unit: str, state: str) -> None:
        shown = await self.look(("systemctl", "--no-pager", "--full", "status", "--", unit))
        message = f"{self.name}: {unit} is {state}"
        why = message if state == "failed" else f"{message}, and nothing is about to start it"
        raise CheckError(why, evidence=shown.output())
