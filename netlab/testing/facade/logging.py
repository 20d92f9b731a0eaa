"""What a script tells, and what is told of it: one line each, indented by what it is part of."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NoReturn, final

from netlab.errors import CheckError

Tell = Callable[[str], None]
"""Takes a line; called from several threads."""

_depth: ContextVar[int] = ContextVar("depth", default=0)


def ignore(_line: str) -> None:
    """Tell nobody."""


@final
class Log:
    """The ``log`` of a script."""

    def __init__(self, tell: Tell = ignore) -> None:
        self._tell = tell

    def log(self, message: str, attributes: Mapping[str, str] | None = None) -> None:
        """Tell something; ``machine`` among the attributes says of whom."""
        machine = (attributes or {}).get("machine")
        self._write(f"{machine}: {message}" if machine else message)

    def info(self, message: str) -> None:
        """Tell something."""
        self._write(message)

    def warning(self, message: str) -> None:
        """Warn of something; the script goes on."""
        self._write(f"warning: {message}")

    def error(self, message: str) -> NoReturn:
        """Fail the script: in the NixOS driver this ends the run too.

        Raises:
            CheckError: With the message.
        """
        raise CheckError(message)

    def log_serial(self, message: str, machine: str) -> None:
        """Tell a line of a machine's console."""
        self._write(f"{machine} # {message}")

    @contextmanager
    def nested(self, message: str, attributes: Mapping[str, str] | None = None) -> Generator[None]:
        """Tell what begins, indent what is told in the block, and tell how long it took."""
        began = time.monotonic()
        self.log(message, attributes)
        depth = _depth.get()
        _depth.set(depth + 1)
        try:
            yield
        finally:
            _depth.set(depth)
            self.log(f"(finished: {message}, in {time.monotonic() - began:.2f} s)", attributes)

    def _write(self, text: str) -> None:
        for line in text.splitlines() or [""]:
            self._tell("  " * _depth.get() + line)
