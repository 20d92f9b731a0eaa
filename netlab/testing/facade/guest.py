"""Commands in a guest, and waiting for its files, ports and units."""

from __future__ import annotations

import shlex

from netlab.errors import CheckError, CommandError
from netlab.testing.facade.base import MachineVerbs, verb
from netlab.testing.facade.durations import TIMEOUT, Duration, to_seconds
from netlab.testing.facade.shell import (
    detach,
    for_user,
    run_last,
    run_limited,
    succeed,
    wait_shell,
)
from netlab.testing.probes import read_properties
from netlab.testing.waiting import Seen, make_limit, poll

LOOK = 30.0
"""Seconds for one look at a unit."""

CONNECT = """\
if command -v bash >/dev/null 2>&1; then
    timeout 2 bash -c ': <"/dev/tcp/$0/$1"' {address} {port}
else
    timeout 2 nc -w 1 {address} {port} </dev/null >/dev/null || [ $? -ge 124 ]
fi"""
"""Succeeds if a TCP connection can be made. busybox has no ``nc -z``: its nc has been
connected if it had to be ended."""

NOT_ASKED, NOT_AWAITED = -1, -2
"""What stands for the status of a command whose end is not asked for, or not awaited."""


class CommandVerbs(MachineVerbs):
    """Command lines, run by the guest's shell under ``set -euo pipefail``, in /tmp."""

    @verb
    def execute(
        self,
        command: str,
        check_return: bool = True,  # noqa: FBT001, FBT002 # the NixOS driver's
        check_output: bool = True,  # noqa: FBT001, FBT002
        timeout: Duration | None = TIMEOUT,
    ) -> tuple[int, str]:
        """Run a command line; return its status and its standard output.

        The status is 124 if time was up and the guest is well. Without ``check_return`` it is -1,
        and the machine may go down meanwhile; without ``check_output`` it is -2 and the command
        is left to itself.

        Raises:
            WaitError: It did not end in time, and the guest does not answer.
            MachineError: The machine failed, died or is stopped.
        """
        if not check_output:
            self._ask(detach, self._driver, command)
            return NOT_AWAITED, ""
        if not check_return:
            return NOT_ASKED, self._ask(run_last, self._driver, command, self._seconds(timeout))
        return self._ask(run_limited, self._driver, command, self._seconds(timeout))

    @verb
    def succeed(self, *commands: str, timeout: Duration | None = None) -> str:
        """Run command lines that have to succeed; return their standard output.

        Raises:
            CommandError: One ended with a status other than 0.
            WaitError: One did not end in time.
        """
        seconds = self._seconds(timeout)
        return "".join([self._ask(succeed, self._driver, each, seconds) for each in commands])

    @verb
    def fail(self, *commands: str, timeout: Duration | None = None) -> str:
        """Run command lines that have to fail; return their standard output.

        One that is not done in time has failed too, if the guest is well.

        Raises:
            CommandError: One ended with status 0.
        """
        output = ""
        for command in commands:
            status, printed = self.execute(command, timeout=timeout)
            if status == 0:
                raise CommandError(
                    f"{self.name}: `{command}` succeeded, and had to fail", evidence=printed or None
                )
            output += printed
        return output

    @verb
    def wait_until_succeeds(self, command: str, timeout: Duration | None = TIMEOUT) -> str:
        """Run a command line again and again until it succeeds; return its standard output.

        Raises:
            WaitError: It did not in time; the message has the last attempt's status and output.
        """
        return self._ask(wait_shell, self._driver, command, self._seconds(timeout))

    @verb
    def wait_until_fails(self, command: str, timeout: Duration | None = TIMEOUT) -> str:
        """Run a command line again and again until it fails; return its standard output.

        Raises:
            WaitError: It did not in time.
        """
        return self._ask(wait_shell, self._driver, command, self._seconds(timeout), failure=True)

    @verb
    def sleep(self, duration: Duration) -> None:
        """Sleep by the guest's clock."""
        self.succeed(f"sleep {to_seconds(duration):g}")

    @verb
    def wait_for_file(self, filename: str, timeout: Duration | None = TIMEOUT) -> None:
        """Wait until there is a file; the shell expands its name.

        Raises:
            WaitError: There was none in time.
        """
        command, what = f"test -e {filename}", f"{filename} was not there"
        self._ask(wait_shell, self._driver, command, self._seconds(timeout), what=what)

    @verb
    def wait_for_open_port(
        self, port: int, addr: str = "localhost", timeout: Duration | None = TIMEOUT
    ) -> None:
        """Wait until a TCP port is open at an address, the guest's own or another's.

        Raises:
            WaitError: It was not in time.
        """
        if self._is_own(addr):
            self._ask(self._driver.wait_for_open_port, port, addr, timeout=self._seconds(timeout))
        else:
            self._wait_elsewhere(port, addr, timeout, opened=True)

    @verb
    def wait_for_closed_port(
        self, port: int, addr: str = "localhost", timeout: Duration | None = TIMEOUT
    ) -> None:
        """Wait until a TCP port is closed at an address, the guest's own or another's.

        Raises:
            WaitError: It was not in time.
        """
        if self._is_own(addr):
            self._ask(self._driver.wait_for_closed_port, port, addr, timeout=self._seconds(timeout))
        else:
            self._wait_elsewhere(port, addr, timeout, opened=False)

    @verb
    def wait_for_open_unix_socket(
        self,
        addr: str,
        is_datagram: bool = False,  # noqa: FBT001, FBT002 # the NixOS driver's
        timeout: Duration | None = TIMEOUT,
    ) -> None:
        """Wait until a Unix socket takes connections, or datagrams.

        Raises:
            WaitError: It did not in time.
        """
        self._ask(
            self._driver.wait_for_open_unix_socket,
            addr,
            datagram=is_datagram,
            timeout=self._seconds(timeout),
        )

    def _is_own(self, address: str) -> bool:
        plan = self._driver.node.plan
        own = [*plan.loopback, *(each for face in plan.interfaces for each in face.addresses)]
        return address in {"localhost", "127.0.0.1", "::1"} or address in {
            each.partition("/")[0] for each in own
        }

    def _wait_elsewhere(
        self, port: int, address: str, timeout: Duration | None, *, opened: bool
    ) -> None:
        # Only a connection shows what is open on another machine.
        command = CONNECT.format(address=shlex.quote(address), port=int(port))
        what = f"port {port} at {address} was not {'open' if opened else 'closed'}"
        seconds = self._seconds(timeout)
        self._ask(wait_shell, self._driver, command, seconds, failure=not opened, what=what)


class UnitVerbs(CommandVerbs):
    """Units of systemd; with ``user``, that user's."""

    @verb
    def systemctl(self, q: str, user: str | None = None) -> tuple[int, str]:
        """Run ``systemctl``; return its status and standard output."""
        return self.execute(for_user(f"systemctl {'--user ' if user else ''}{q}", user))

    @verb
    def get_unit_info(self, unit: str, user: str | None = None) -> dict[str, str]:
        """Return the properties of a unit.

        Raises:
            CommandError: systemctl failed, or there is none.
        """
        status, shown = self.systemctl(f"--no-pager show {shlex.quote(unit)}", user)
        if status != 0:
            raise CommandError(f"{self.name}: systemctl shows no {unit}: it exited with {status}")
        return read_properties(shown)

    @verb
    def get_unit_property(self, unit: str, property: str, user: str | None = None) -> str:  # noqa: A002
        """Return a property of a unit.

        Raises:
            CommandError: It has none of that name.
        """
        found = self.get_unit_info(unit, user)
        if property not in found:
            raise CommandError(f"{self.name}: {unit} has no property {property!r}")
        return found[property]

    @verb
    def require_unit_state(self, unit: str, require_state: str = "active") -> None:
        """Check the state of a unit now.

        Raises:
            CheckError: It is in another one.
        """
        state = self.get_unit_property(unit, "ActiveState")
        if state != require_state:
            raise CheckError(f"{self.name}: {unit} is {state}, not {require_state}")

    @verb
    def wait_for_unit(
        self, unit: str, user: str | None = None, timeout: Duration | None = TIMEOUT
    ) -> None:
        """Wait until a unit is active.

        Raises:
            CheckError: It has failed, or it is inactive and nothing is about to start it.
            WaitError: It was not active in time.
        """
        if user is None:
            self._ask(self._driver.wait_for_unit, unit, timeout=self._seconds(timeout))
        else:
            self._ask(self._wait_for_user_unit, unit, user, self._seconds(timeout))

    @verb
    def start_job(self, jobname: str, user: str | None = None) -> tuple[int, str]:
        """Start a unit; return systemctl's status and standard output."""
        return self.systemctl(f"start {jobname}", user)

    @verb
    def stop_job(self, jobname: str, user: str | None = None) -> tuple[int, str]:
        """Stop a unit; return systemctl's status and standard output."""
        return self.systemctl(f"stop {jobname}", user)

    @verb
    def wait_for_job(self, jobname: str) -> None:
        """Wait until a unit is active: the older name of :meth:`wait_for_unit`."""
        self.wait_for_unit(jobname)

    async def _wait_for_user_unit(self, unit: str, user: str, timeout: float) -> None:
        show = for_user(f"systemctl --user --no-pager show {shlex.quote(unit)}", user)

        async def look() -> Seen[bool]:
            _status, shown = await run_limited(self._driver, show, LOOK)
            found = read_properties(shown)
            state = found.get("ActiveState", "unknown")
            if state == "failed":
                raise CheckError(f"{self.name}: {unit} of {user} is failed")
            if state == "inactive" and found.get("Job", "0") in {"0", ""}:
                raise CheckError(
                    f"{self.name}: {unit} of {user} is inactive, and nothing is about to start it"
                )
            return Seen(value=True) if state == "active" else Seen(instead=f"it is {state}")

        limit = make_limit(timeout, self._driver.timeout)
        await poll(f"{self.name}: {unit} of {user} was not active", look, limit)
