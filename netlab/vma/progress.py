"""How far it is."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

Progress = Callable[[int, int], None]
"""Takes how many bytes of the disks are done, and of how many. Called from Trio's thread."""

PERIOD = 0.1
"""Seconds between two words of a thread about how far it is: each costs it a turn of Trio's."""


def ignore(_done: int, _total: int) -> None:
    """Tell nobody."""


class ThreadProgress:
    """Adds up what a thread of :func:`netlab.vma.blocking.run_woken` has done, and tells of it.

    Attributes:
        total: Bytes in all.
    """

    def __init__(self, progress: Progress, total: int) -> None:
        self.total = total
        self._progress = progress
        self._done = 0
        self._told = time.monotonic()

    def add(self, done: int) -> None:
        """Count so many bytes more, and tell of them if nothing was told for a while."""
        self._done += done
        if time.monotonic() - self._told >= PERIOD:
            trio.from_thread.run_sync(self._progress, min(self._done, self.total), self.total)
            self._told = time.monotonic()

    def finish(self) -> None:
        """Tell, in Trio's thread, that all is done, if there was anything."""
        if self.total:
            self._progress(self.total, self.total)
