"""A serial console: read for ever, logged, shown to whoever attaches."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, final

import trio

from netlab.errors import InputError, MachineError
from netlab.machine.logs import open_log
from netlab.scopes import open_background

RECENT = 64 * 1024
"""Bytes of output kept for messages and for :meth:`Console.wait_for_text`."""

ATTACHMENT_LIMIT = 256 * 1024
"""Bytes that a reader may leave unread before it is dropped."""

LOG_LIMIT = 64 * 1024 * 1024
"""Bytes after which the log stops: a guest that prints for ever does not fill the host's disk."""

LINES = 200

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?", re.DOTALL)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@final
class Attachment:
    """A reader and writer of a console: iterate for its output, in pieces as they come.

    Attributes:
        dropped: Whether the iteration ended because this reader did not keep up.
    """

    def __init__(self, stream: trio.abc.SendStream, turn: trio.Lock) -> None:
        self._stream = stream
        self._turn = turn
        self._buffer = bytearray()
        self._ended = False
        self._news = trio.Event()
        self.dropped = False

    def __aiter__(self) -> Attachment:
        return self

    async def __anext__(self) -> bytes:
        data = await self.receive()
        if not data:
            raise StopAsyncIteration
        return data

    async def receive(self) -> bytes:
        """Return the output since the last call, at least a byte; nothing when it is over."""
        while not self._buffer and not self._ended:
            await self._news.wait()
        await trio.lowlevel.checkpoint()
        data = bytes(self._buffer)
        self._buffer.clear()
        self._news = trio.Event()
        return data

    async def send(self, data: bytes) -> None:
        """Type something; it reaches the guest undivided by what others type.

        Raises:
            MachineError: The console has ended.
        """
        try:
            async with self._turn:
                await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise MachineError("the console has ended") from None

    def feed(self, data: bytes) -> None:
        """Take output; drop this reader when it has left too much unread."""
        if self._ended:
            return
        if len(self._buffer) + len(data) > ATTACHMENT_LIMIT:
            self.dropped = True
            self.end()
            return
        self._buffer += data
        self._news.set()

    def end(self) -> None:
        """Let the reader have what is there, then end."""
        self._ended = True
        self._news.set()


@final
class Console:
    """The console of one machine; made by :func:`open_console`.

    Attributes:
        position: How many bytes the guest has printed so far.
        ended: Whether it has ended.
    """

    def __init__(self, stream: trio.abc.Stream, log: BinaryIO) -> None:
        self._stream = stream
        self._log: BinaryIO | None = log
        self._logged = 0
        self._recent = bytearray()
        self._turn = trio.Lock()
        self._attachments: set[Attachment] = set()
        self._news = trio.Event()
        self.position = 0
        self.ended = False

    @asynccontextmanager
    async def attach(self) -> AsyncGenerator[Attachment]:
        """Take part in the console from now on; others may be attached as well."""
        attachment = Attachment(self._stream, self._turn)
        if self.ended:
            attachment.end()
        self._attachments.add(attachment)
        try:
            yield attachment
        finally:
            self._attachments.discard(attachment)
        await trio.lowlevel.checkpoint()

    async def wait_for_text(self, pattern: str, *, since: int = 0) -> str:
        """Wait until the output matches, and return what matched.

        Args:
            pattern: A regular expression, looked for in the last :data:`RECENT` bytes.
            since: Only output after this :attr:`position` counts.

        Raises:
            MachineError: The console ended first.
        """
        found, _ = await self.wait_for_match(pattern, since=since)
        return found

    async def wait_for_match(self, pattern: str, *, since: int = 0) -> tuple[str, int]:
        """Wait as :meth:`wait_for_text` does; return what matched and the position behind it.

        Raises:
            InputError: The pattern is none.
            MachineError: The console ended first.
        """
        try:
            compiled = re.compile(pattern, re.MULTILINE)
        except re.error as error:
            raise InputError(f"{pattern!r} is no regular expression: {error}") from None
        while True:
            first = self.position - len(self._recent)
            start = max(0, since - first)
            found = _search(compiled, bytes(self._recent), start)
            if found is not None:
                await trio.lowlevel.checkpoint()
                text, end = found
                return text, first + end
            if self.ended:
                raise MachineError(
                    f"the console ended before {pattern!r} came", evidence="\n".join(self.tail())
                )
            await self._news.wait()

    def tail(self, lines: int = 20, *, since: int = 0) -> tuple[str, ...]:
        """Return the last lines that are not empty, without what would move a terminal's cursor.

        Args:
            lines: At most so many, and :data:`LINES`.
            since: Only output after this :attr:`position` counts.
        """
        recent = self._recent[max(0, since - self.position + len(self._recent)) :]
        text = _ESCAPES.sub("", recent.decode(errors="replace"))
        clean = (_CONTROLS.sub("", line).rstrip() for line in text.split("\n"))
        return tuple(deque((line for line in clean if line), maxlen=min(lines, LINES)))

    async def run_reader(self) -> None:
        """Read until the console ends, whatever readers and disks do."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await self._stream.receive_some(65536):
                self._take(bytes(data))
        self.ended = True
        for attachment in self._attachments:
            attachment.end()
        self._tell()

    def _take(self, data: bytes) -> None:
        self.position += len(data)
        self._recent += data
        del self._recent[:-RECENT]
        self._write_log(data)
        for attachment in self._attachments:
            attachment.feed(data)
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def _write_log(self, data: bytes) -> None:
        if self._log is None:
            return
        self._logged += len(data)
        try:
            self._log.write(data)
            if self._logged > LOG_LIMIT:
                self._log.write(b"\r\nnetlab: the log stops here\r\n")
                self._log = None
        except OSError:
            # A full disk must not stop the guest; what is missing in the log is seen there.
            self._log = None


@asynccontextmanager
async def open_console(stream: trio.abc.Stream, log: Path) -> AsyncGenerator[Console]:
    """Read a console until it ends or the block is left.

    Args:
        stream: Connected to the guest's serial port; closed when the block is left.
        log: Gets everything that the guest prints, at the end of what it holds.

    Raises:
        StorageError: The log cannot be opened.
    """
    with open_log(log) as file:
        async with stream, open_background() as nursery:
            console = Console(stream, file)
            nursery.start_soon(console.run_reader)
            yield console


def _search(pattern: re.Pattern[str], data: bytes, start: int) -> tuple[str, int] | None:
    """Return what matches behind a place and where its end is, in bytes.

    A terminal's lines end in two characters, and ``$`` knows only the second.
    """
    text = data.decode(errors="surrogateescape")
    before = data[:start].decode(errors="surrogateescape").replace("\r", "")
    found = pattern.search(text.replace("\r", ""), len(before))
    if found is None:
        return None
    places = [place for place, character in enumerate(text) if character != "\r"]
    end = places[found.end() - 1] + 1 if found.end() else 0
    shown = found.group().encode(errors="surrogateescape").decode(errors="replace")
    return shown, max(start, len(text[:end].encode(errors="surrogateescape")))
