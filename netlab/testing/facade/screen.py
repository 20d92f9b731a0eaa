"""A machine's screen and keyboard, and its ports on the host: as far as nodes have them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import trio

from netlab.errors import NotOfferedError
from netlab.testing.facade.base import MachineVerbs, verb
from netlab.testing.facade.durations import TIMEOUT, Duration, to_seconds


@runtime_checkable
class Screen(Protocol):
    """The verbs of a node that has a screen."""

    async def screenshot(self, path: str | Path) -> object:
        """Write a picture of the screen."""
        ...

    async def send_key(self, key: str) -> object:
        """Press a key, or several at once."""
        ...

    async def send_chars(self, text: str) -> object:
        """Type a text."""
        ...

    async def screen_text(self) -> str:
        """Return the text that is on the screen."""
        ...

    async def wait_for_screen_text(self, pattern: str, *, timeout: float | None = None) -> object:
        """Wait until the screen shows what matches."""
        ...


@runtime_checkable
class Forwarding(Protocol):
    """The verbs of a node whose ports can be had on the host."""

    async def forward_port(self, host_port: int, guest_port: int) -> object:
        """Forward a TCP port of the host to one of the guest."""
        ...


class ScreenVerbs(MachineVerbs):
    """Screen, keyboard, ports on the host."""

    @verb
    def screenshot(self, filename: str) -> None:
        """Write a picture of the screen: ``.png`` is added to a name without a dot.

        A name without a slash is in the script's output folder.
        """
        name = filename if "." in Path(filename).name else f"{filename}.png"
        self._call(
            self._screen().screenshot, Path(name) if "/" in name else self._session.out / name
        )

    @verb
    def send_key(
        self,
        key: str,
        delay: Duration | None = 0.01,
        log: bool | None = True,  # noqa: ARG002, FBT001, FBT002 # the NixOS driver's
    ) -> None:
        """Press a key, such as ``ctrl-alt-delete``, and wait a moment."""
        self._call(self._screen().send_key, key)
        self._call(trio.sleep, to_seconds(0 if delay is None else delay))

    @verb
    def send_chars(self, chars: str, delay: Duration | None = 0.01) -> None:
        """Type a text, key by key."""
        pause = to_seconds(0 if delay is None else delay)
        for char in chars:
            self._call(self._screen().send_chars, char)
            self._call(trio.sleep, pause)

    @verb
    def get_screen_text(self) -> str:
        """Return the text that is on the screen."""
        return self._call(self._screen().screen_text)

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
        self._call(self._screen().wait_for_screen_text, regex, timeout=self._seconds(timeout))

    @verb
    def forward_port(self, host_port: int = 8080, guest_port: int = 80) -> None:
        """Forward a TCP port of the host to one of the guest."""
        driver = cast("object", self._driver)
        if not isinstance(driver, Forwarding):
            raise NotOfferedError(
                "forward_port", "run the client in a node: `client.succeed('curl http://server')`"
            )
        self._call(driver.forward_port, host_port, guest_port)

    def _screen(self) -> Screen:
        driver = cast("object", self._driver)
        if not isinstance(driver, Screen):
            raise NotOfferedError(
                "the screen", "wait_for_console_text and send_console are the serial console"
            )
        return driver
