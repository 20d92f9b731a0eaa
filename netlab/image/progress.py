"""How far a build is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is; as text, a line for people.

    Attributes:
        stage: What is being done.
        done: How much of it, in units of its own.
        total: Of how much; 0 when nobody knows.
    """

    stage: str
    done: int = 0
    total: int = 0

    def __str__(self) -> str:
        return f"{self.stage} ({self.done * 100 // self.total} %)" if self.total else self.stage


Tell = Callable[[Progress], None]
"""Takes note of progress; called from the Trio thread, and must not block."""
