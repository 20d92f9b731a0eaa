"""How a plan is brought to life: what is the host's matter and not the plan's."""

from __future__ import annotations

import os
from dataclasses import dataclass

from netlab.plan.model import Accel


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a plan is brought to life.

    Attributes:
        accel: Overrides what the topology asks for, or None.
        max_workers: How many machines boot at once, or None for twice the CPUs, at least four.
        overcommit: Start although there is not enough memory.
        wait_memory: Rather than refuse, wait until other labs have ended and there is enough.
    """

    accel: Accel | None = None
    max_workers: int | None = None
    overcommit: bool = False
    wait_memory: bool = False

    @property
    def slots(self) -> int:
        """How many machines boot at once."""
        return self.max_workers or max(4, 2 * (os.cpu_count() or 1))
