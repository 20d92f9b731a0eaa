"""What a lab process serves: a lab that is being made, and then the lab."""

from __future__ import annotations

import trio

from netlab.errors import NotReadyError
from netlab.lab.events import EventLog
from netlab.lab.lab import Lab
from netlab.plan.model import Plan


class Service:
    """A lab from the first moment of its process: clients need not guess when to ask.

    Attributes:
        plan: What it is or will be.
        events: What happened so far.
        going_down: Set when a client asks for the end.
    """

    def __init__(self, plan: Plan, events: EventLog) -> None:
        self.plan = plan
        self.events = events
        self.going_down = trio.Event()
        self._lab: Lab | None = None
        self._made = trio.Event()

    @property
    def lab(self) -> Lab:
        """The live lab.

        Raises:
            NotReadyError: It is being made; the message says how far that is.
        """
        if self._lab is None:
            raise NotReadyError(
                f"lab {self.plan.lab} is starting: {self.progress()}",
                hint="`netlab up` of the same file waits for it",
            )
        return self._lab

    @property
    def is_made(self) -> bool:
        """Whether the lab is there, so that its nodes can be asked."""
        return self._lab is not None

    def progress(self) -> str:
        """Say what happened last."""
        return next((event.message for event in reversed(tuple(self.events))), "it has begun")

    def begin(self, lab: Lab) -> None:
        """Serve this lab from now on."""
        self._lab = lab
        self._made.set()

    async def wait_lab(self) -> Lab:
        """Wait until the lab is there, its nodes still booting, and return it."""
        await self._made.wait()
        return self.lab
