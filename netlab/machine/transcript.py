"""What was said on one of a machine's channels, for who has to find out later what went wrong."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from netlab.machine.logs import open_log

LIMIT = 2 * 1024 * 1024
"""Bytes of a transcript; what is older is kept once more in a file beside it, and then given up."""

LONGEST = 1000
"""Bytes of one message: a file's content in base64 is nothing to read."""

SENT, RECEIVED = ">", "<"


@final
class Transcript:
    """A file with one line for each message: when, in which direction, what."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open_log(path)
        self._size = self._file.tell()

    def record(self, direction: str, data: bytes) -> None:
        """Add a message.

        Args:
            direction: :data:`SENT` or :data:`RECEIVED`.
            data: The message, with or without its line's end.
        """
        if self._file.closed:
            # The machine has ended; who speaks on is told so by the channel.
            return
        line = _line(direction, data)
        try:
            if self._size + len(line) > LIMIT:
                self._turn_over()
            self._file.write(line)
        except OSError:
            # A full disk must not stop the machine.
            return
        self._size += len(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _turn_over(self) -> None:
        self._file.close()
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._file = self._path.open("ab", buffering=0)
        self._size = 0


def _line(direction: str, data: bytes) -> bytes:
    # A sync of the agent's begins with a byte that is no text.
    message = data.strip().decode(errors="backslashreplace").encode()
    now = time.time()
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    head = f"{clock}.{int(now * 1000) % 1000:03} {direction} ".encode()
    if len(message) > LONGEST:
        return head + message[:LONGEST] + f"… ({len(message)} bytes)\n".encode()
    return head + message + b"\n"


@contextmanager
def open_transcript(path: Path) -> Generator[Transcript]:
    """Write a transcript while the block runs, at the end of what the file holds.

    Raises:
        OSError: The file cannot be opened.
    """
    transcript = Transcript(path)
    try:
        yield transcript
    finally:
        transcript.close()
