"""A machine's screen and keyboard, and its ports on the host: as far as nodes have them."""

from __future__ import annotations

from pathlib import Path

import trio

from netlab.testing.facade.base import MachineVerbs, verb
from netlab.testing.facade.durations import TIMEOUT, Duration, to_seconds


class ScreenVerbs(MachineVerbs):
    """Screen, keyboard, ports on the host."""

    @verb
    def screenshot(self, filename: str) -> None:
        """Write a picture of the screen: ``.png`` is added to a name without a dot.

        A name without a slash is in the script's output folder.
        """
        name = filename if "." in Path(filename).name else f"{filename}.png"
        self._call(self._driver.screenshot, Path(name) if "/" in name else self._session.out / name)

    @verb
    def send_key(
        self,
        key: str,
        delay: Duration | None = 0.01,
        log: bool | None = True,  # noqa: ARG002, FBT001, FBT002 # the NixOS driver's
    ) -> None:
        """Press a key, such as ``ctrl-alt-delete``, and wait a moment."""
        self._call(self._driver.send_key, key)
        self._call(trio.sleep, to_seconds(0 if delay is None else delay))

    @verb
    def send_chars(self, chars: str, delay: Duration | None = 0.01) -> None:
        """Type a text, key by key."""
        pause = to_seconds(0 if delay is None else delay)
        for char in chars:
            self._call(self._driver.send_chars, char)
            self._call(trio.sleep, pause)

    @verb
    def get_screen_text(self) -> str:
        """Return the text that is on the screen."""
        return self._call(self._driver.screen_text)

    @verb
    def get_screen_text_variants(self) -> list[str]:
        """Return the text that is on the screen, as the only reading of it."""
        return [self.get_screen_text()]

    @verb
    def wait_for_text(self, regex: str, timeout: Duration | None = TIMEOUT) -> None:
        """Wait until the screen shows what matches.

        Raises:
            WaitError: It did not in time.
        """
        self._call(self._driver.wait_for_screen_text, regex, timeout=self._seconds(timeout))

    @verb
    def forward_port(self, host_port: int = 8080, guest_port: int = 80) -> None:
        """Make a TCP port of the guest one of the host's loopback, until the script ends.

        Raises:
            InputError: The port on the host cannot be had.
        """
        self._call(self._session.portal.tasks.start, self._forward, host_port, guest_port)

    async def _forward(
        self,
        host_port: int,
        guest_port: int,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        async with self._driver.forward_port(guest_port, host_port):
            task_status.started()
            await trio.sleep_forever()
