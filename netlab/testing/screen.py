"""The screen and the keyboard of a machine.

They belong to the machine, not to its guest: they are there from the moment in which QEMU runs, and
no verb but those that read text waits for the guest, so that a boot menu can be seen and used.
"""

from __future__ import annotations

import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, cast

import trio

from netlab.errors import (
    AgentError,
    InputError,
    MissingProgramError,
    NotReadyError,
    WaitError,
)
from netlab.testing import probes
from netlab.testing.keyboard import Chord, find_chords, read_chord
from netlab.testing.picture import read_picture
from netlab.testing.services import ServiceVerbs
from netlab.testing.waiting import Seen, make_limit, within

HOLD = 0.02
"""Seconds between two changes of a key. A PS/2 keyboard keeps 16 of them for a guest that is busy,
and loses what comes then: this leaves the guest some 0.3 seconds."""

ASK = 5.0
"""Seconds that a guest has to say what is on its console, before a picture is read instead."""


class ScreenVerbs(ServiceVerbs, ABC):
    """Verbs about what a machine shows, and what is typed into it."""

    @abstractmethod
    async def qmp(self, command: str, /, **arguments: object) -> object:
        """Run a command of QEMU's monitor and return what it returns."""

    async def screenshot(self, path: str | Path, *, timeout: float | None = None) -> Path:
        """Take a picture of the screen, as a PNG file; return where it is.

        A file that is there is replaced, in one step: nobody sees half a picture.

        Raises:
            InputError: The node has no display, or the file cannot be written.
            WaitError: It was not taken in time.
            MachineError: The machine does not run, or died.
        """
        target = Path(path)
        async with self._in_time("no picture was taken", timeout):
            picture = await take_picture(self, "png")
            await trio.to_thread.run_sync(_replace, target, picture)
        return target

    async def send_key(self, chord: str, *, timeout: float | None = None) -> None:
        """Press keys together and let them go: ``ret``, ``ctrl-alt-delete``.

        Args:
            chord: Names of QEMU's enumeration QKeyCode, joined by hyphens.
            timeout: Seconds.

        Raises:
            InputError: There is no such key.
            WaitError: QEMU did not take it in time.
            MachineError: The machine does not run, or died.
        """
        await self._press([read_chord(chord)], 0.0, timeout)

    async def send_chars(
        self, text: str, *, delay: float = 0.0, timeout: float | None = None
    ) -> None:
        """Type a text on a US keyboard.

        Args:
            text: With a line feed for the return key, and tabulator, backspace and escape.
            delay: Seconds between two characters, beside the 0.04 or 0.08 that one takes.
            timeout: Seconds.

        Raises:
            InputError: The keyboard lacks a character; nothing was typed.
            WaitError: It was not typed in time.
            MachineError: The machine does not run, or died.
        """
        await self._press(find_chords(text), delay, timeout)

    async def screen_text(self, *, timeout: float | None = None) -> str:
        """Return the text on the screen, line by line as it stands there.

        The guest is asked what its text console shows. Where it cannot say that, or shows a
        picture, the picture is read by tesseract, as well as it can.

        Raises:
            InputError: The node has no display.
            MissingProgramError: It shows a picture, and tesseract is not installed.
            WaitError: It could not be read in time.
            MachineError: The machine does not run, or died.
        """
        async with self._in_time("the screen was not read", timeout):
            return max(await self._read(), key=len)
        raise AssertionError("unreachable")

    async def wait_for_screen_text(self, pattern: str, *, timeout: float | None = None) -> str:
        """Wait until the screen shows what matches; return it.

        Args:
            pattern: A regular expression; ``^`` and ``$`` match at lines of the screen.
            timeout: Seconds.

        Raises:
            InputError: The node has no display, or the pattern is none.
            MissingProgramError: It shows a picture, and tesseract is not installed.
            WaitError: It did not come; the evidence is the text that was there last.
            MachineError: The machine does not run, or died.
        """
        try:
            compiled = re.compile(pattern, re.MULTILINE)
        except re.error as error:
            raise InputError(f"{pattern!r} is no regular expression: {error}") from None

        async def look() -> Seen[str]:
            readings = await self._look_at_screen()
            for reading in readings:
                if found := compiled.search(reading):
                    return Seen(value=found.group())
            text = max(readings, key=len, default="")
            if not text:
                return Seen(instead=self.node.reason() or "there is no text on it")
            return Seen(instead=f"its last line is {text.splitlines()[-1].strip()!r}\n{text}")

        return await self._poll(f"{pattern!r} was not on the screen", look, timeout)

    async def _look_at_screen(self) -> tuple[str, ...]:
        """Read the screen; of a machine that has not come so far there is nothing to read."""
        require_display(self)
        booting = self.node.state in {"queued", "booting", "configuring"}
        if booting and self.node.pid is None:
            await trio.lowlevel.checkpoint()
            return ()
        try:
            return await self._read()
        except MissingProgramError:
            # The guest itself can be asked once it has booted.
            if booting:
                return ()
            raise

    async def _read(self) -> tuple[str, ...]:
        """Return what the screen shows; a picture is read in several ways."""
        require_display(self)
        if self.node.state not in {"queued", "booting", "configuring"}:
            console = await self._read_console()
            if console is not None:
                return (console,)
        return await read_picture(await take_picture(self, "ppm"))

    async def _read_console(self) -> str | None:
        """Return what the guest says of its text console, or None if that is not what is shown."""
        with trio.move_on_after(ASK):
            try:
                shown = await self.look(probes.SCREEN)
            except AgentError:
                # It has no agent any more, or no shell.
                return None
            return probes.read_screen(shown.raw.stdout) if shown.status == 0 else None
        return None

    async def _press(self, chords: Sequence[Chord], delay: float, timeout: float | None) -> None:
        async with self._in_time("not all keys were pressed", timeout):
            for index, chord in enumerate(chords):
                if index:
                    await trio.sleep(delay)
                await press(self, chord)

    @asynccontextmanager
    async def _in_time(self, what: str, timeout: float | None) -> AsyncGenerator[None]:
        limit = make_limit(timeout, self.timeout)

        async def give_up() -> WaitError:
            wrong = await self.node.diagnose()
            message = f"{self.name}: {what} within {limit.seconds:.3g} s"
            return WaitError(f"{message}: {wrong}" if wrong else message)

        async with within(limit, give_up):
            yield


def require_display(node: ScreenVerbs) -> None:
    """Refuse a node without a display.

    Raises:
        InputError: It has none.
    """
    if node.node.plan.display == "none":
        raise InputError(f"{node.name} has no display", hint="set `display: std` in the topology")


async def take_picture(node: ScreenVerbs, form: Literal["png", "ppm"]) -> bytes:
    """Let QEMU take a picture of a node's screen, and return the file's content.

    Raises:
        InputError: The node has no display.
        MachineError: The machine does not run, or died.
    """
    require_display(node)
    # QEMU is given a name, and may write when nobody waits for it any more: its folder is gone
    # then. The node's own folder is where it can write, also from inside the lab's namespaces.
    with tempfile.TemporaryDirectory(
        dir=node.folder, prefix="screen-", ignore_cleanup_errors=True
    ) as folder:
        path = trio.Path(folder) / f"picture.{form}"
        await node.qmp("screendump", filename=str(path), format=form)
        return await path.read_bytes()


async def press(node: ScreenVerbs, chord: Chord) -> None:
    """Press and release keys, and wait as long as that takes.

    Raises:
        NotReadyError: The machine is paused, and would see none of them.
        MachineError: It does not run, or died.
    """
    state = cast("dict[str, object]", await node.qmp("query-status")).get("status")
    if state != "running":
        raise NotReadyError(f"{node.name}: the machine is {state}, and keys would be lost")
    # QEMU plays them at that pace from a queue that is bounded, and drops what does not fit.
    keys = [{"type": "qcode", "data": name} for name in chord]
    await node.qmp("send-key", keys=keys, **{"hold-time": round(HOLD * 1000)})
    await trio.sleep(2 * len(chord) * HOLD)


def _replace(target: Path, content: bytes) -> None:
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            part = Path(folder) / "part"
            part.write_bytes(content)
            part.replace(target)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror}") from error
