"""The real command on a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.lab.conftest import NETLAB, Home


@dataclass(frozen=True, slots=True)
class TerminalProcess:
    """A program on a terminal of its own.

    Attributes:
        process: The program; its standard error is a pipe, unless that is on the terminal too.
        ours: The terminal's other end.
        settings: The terminal's, as they were before.
        theirs: The terminal.
        rest: What was read behind what was waited for.
    """

    process: subprocess.Popen[str]
    ours: int
    theirs: int
    settings: list[object]
    rest: bytearray = field(default_factory=bytearray)

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def read_until(self, wanted: bytes, seconds: float = 30) -> bytes:
        deadline = time.monotonic() + seconds
        while (end := self.rest.find(wanted)) < 0:
            ready, _, _ = select.select([self.ours], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, bytes(self.rest)
            self.rest.extend(os.read(self.ours, 4096))
        seen = bytes(self.rest[: end + len(wanted)])
        del self.rest[: len(seen)]
        return seen

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait(self, seconds: float = 30) -> tuple[int, str]:
        """Wait for its end; return its status and standard error."""
        status = self.process.wait(seconds)
        assert self.process.stderr is not None
        return status, self.process.stderr.read()

    def is_restored(self) -> bool:
        return termios.tcgetattr(self.theirs) == self.settings and os.get_blocking(self.theirs)


@contextmanager
def open_on_terminal(
    home: Home, *words: str, rows: int = 24, columns: int = 80, errors: bool = False
) -> Generator[TerminalProcess]:
    """Run netlab on a terminal, its errors too if asked for; ended whatever happens."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    settings = termios.tcgetattr(theirs)
    process = subprocess.Popen(
        [*NETLAB, *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs if errors else subprocess.PIPE,
        env={**home.environment, "TERM": "vt100"},
        start_new_session=True,
        # SIGWINCH goes to who has the terminal as theirs.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        text=True,
    )
    try:
        yield TerminalProcess(process, ours, theirs, settings)
    finally:
        process.kill()
        process.communicate()
        os.close(ours)
        os.close(theirs)
