"""Ends of a node's machine that somebody asks for: any other is a failure."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol, final

POWERED_OFF = "powered off"


class Ending(Protocol):
    """What ends."""

    @property
    def exit(self) -> int | None:
        """Its exit status, or None while it runs."""
        ...


@final
class Endings:
    """The ends that are asked for during one life of a machine."""

    def __init__(self) -> None:
        self._asked: list[str] = []

    @property
    def are_asked_for(self) -> bool:
        """Whether somebody asks for an end: without that, a QEMU that dies is a failure."""
        return bool(self._asked)

    @property
    def how(self) -> str:
        """How it ends, as was asked for last; a guest by itself can power off alone."""
        return self._asked[-1] if self._asked else POWERED_OFF

    @contextmanager
    def asked(self, how: str, machine: Ending) -> Generator[None]:
        """Ask for an end in this block.

        Who is cancelled before the machine has ended does not ask for it any more: it may go on for
        days, and what ends it then was not asked for.

        Args:
            how: How it ends, in words.
            machine: What is to end.
        """
        self._asked.append(how)
        try:
            yield
        except BaseException:
            if machine.exit is None:
                self._asked.remove(how)
            raise
