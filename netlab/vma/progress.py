"""How far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Takes how many bytes of the disks are done, and of how many. Called from Trio's thread."""


def ignore(_done: int, _total: int) -> None:
    """Tell nobody."""
