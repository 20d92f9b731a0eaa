"""A machine's serial console, and the virtual terminals of its guest."""

from __future__ import annotations

import re

import trio

from netlab.errors import CommandError, MachineError, WaitError
from netlab.testing.facade.base import MachineVerbs, verb
from netlab.testing.facade.durations import TIMEOUT, Duration
from netlab.testing.facade.watch import wait_off, wait_running
from netlab.testing.waiting import Seen, make_limit, poll, within


class ConsoleVerbs(MachineVerbs):
    """Text in and out, without the guest's agent: a guest that still boots can be spoken to."""

    @verb
    def send_console(self, chars: str) -> None:
        """Type something on the serial console.

        Raises:
            MachineError: The machine is stopped.
        """
        self._call(self._type, chars)

    @verb
    def wait_for_console_text(self, regex: str, timeout: Duration | None = None) -> None:
        """Wait until the serial console prints what matches; ``^`` and ``$`` match at lines.

        Only what came after the line of the last match counts.

        Raises:
            WaitError: It did not come; the evidence is the console's end.
            MachineError: The machine ended first.
        """
        self._call(self._wait_console, re.compile(regex, re.MULTILINE), self._seconds(timeout))

    @verb
    def get_console_log(self) -> str:
        """Return what the serial console has printed since the machine was started."""
        return self._record.console_log()

    @verb
    def get_tty_text(self, tty: str) -> str:
        """Return what a virtual terminal of the guest shows, line by line.

        Raises:
            CommandError: The guest has none of that number.
        """
        return self._ask(self._read_terminal, tty)

    @verb
    def wait_until_tty_matches(
        self, tty: str, regexp: str, timeout: Duration | None = TIMEOUT
    ) -> None:
        """Wait until a virtual terminal of the guest shows what matches.

        Raises:
            WaitError: It did not in time; the evidence is what it showed.
        """
        self._ask(self._wait_terminal, tty, re.compile(regexp), self._seconds(timeout))

    @verb
    def dump_tty_contents(self, tty: str) -> None:
        """Write what a virtual terminal shows into the log."""
        self.log(self.get_tty_text(tty))

    async def _type(self, chars: str) -> None:
        machine = await wait_running(self._session.lab, self._node)
        async with machine.console.attach() as attachment:
            await attachment.send(chars.encode())

    async def _wait_console(self, pattern: re.Pattern[str], timeout: float) -> None:
        shown = f"{self.name}: {pattern.pattern!r} was not on the console"
        lab, node = self._session.lab, self._node
        limit = make_limit(timeout)

        async def give_up() -> WaitError:
            await trio.lowlevel.checkpoint()
            tail = node.machine.console.tail() if node.pid is not None else ()
            return WaitError(
                f"{shown} within {limit.seconds:.3g} s", evidence="\n".join(tail) or None
            )

        async with within(limit, give_up):
            transcript = await self._record.find_transcript(await wait_running(lab, node))
            if await transcript.wait(pattern) is None:
                # Raises what ended the machine, if it was not told to end.
                await wait_off(lab, node)
                raise MachineError(f"{shown}, and the machine is off")

    async def _wait_terminal(self, tty: str, pattern: re.Pattern[str], timeout: float) -> None:
        async def look() -> Seen[bool]:
            text = await self._read_terminal(tty)
            if pattern.search(text):
                return Seen(value=True)
            return Seen(instead=f"it shows something else\n{text}")

        what = f"{self.name}: {pattern.pattern!r} was not on tty {tty}"
        await poll(what, look, make_limit(timeout, self._driver.timeout))

    async def _read_terminal(self, tty: str) -> str:
        """Source: vcs(4): lines, columns, the cursor; then each character with its attribute."""
        outcome = await self._driver.look(("cat", f"/dev/vcsa{tty}"))
        data = outcome.raw.stdout
        if outcome.status != 0 or len(data) < 4:
            raise CommandError(f"{self.name} has no tty {tty}: {outcome.last_line()}")
        columns, characters = data[1], data[4::2]
        lines = [
            characters[start : start + columns] for start in range(0, len(characters), columns)
        ]
        return "\n".join(line.decode("cp437").rstrip() for line in lines)
