"""What happens in a lab, as it happens: kept, written to a file, and told to all who follow."""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import trio

from netlab.errors import explain_storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened.

    Attributes:
        time: Seconds since the epoch.
        kind: ``image``, ``sandbox``, ``accel``, ``node``, ``link`` or ``lab``.
        node: The node that it is about, or None.
        state: The node's or the lab's new state, or None when no state changed.
        message: For people.
    """

    time: float
    kind: str
    node: str | None
    state: str | None
    message: str

    def to_json(self) -> str:
        """Return it as one line of JSON, in ASCII: Unicode has other ends of lines than we."""
        return json.dumps(asdict(self))


class EventLog:
    """All events of a lab since it began.

    Followers get every event in order. The log keeps them all: a lab has some ten events a node,
    and a follower that comes late reads them from the beginning.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file
        self._events: list[Event] = []
        self._followers: set[trio.MemorySendChannel[Event]] = set()

    def __iter__(self) -> Iterator[Event]:
        """Iterate over the events so far."""
        return iter(tuple(self._events))

    def record(
        self, kind: str, message: str, *, node: str | None = None, state: str | None = None
    ) -> None:
        """Add an event; the file has it before anybody is told, if there is room."""
        self.add(Event(time=time.time(), kind=kind, node=node, state=state, message=message))

    def add(self, event: Event) -> None:
        """Add an event that was recorded elsewhere."""
        self._events.append(event)
        if self._file is not None:
            # A full disk must not stop the lab; what waits is written when there is room again.
            with suppress(OSError):
                self._file.write(event.to_json() + "\n")
                self._file.flush()
        for follower in self._followers:
            # Unbounded by design: what a follower has not read yet, the log holds anyway.
            follower.send_nowait(event)

    @asynccontextmanager
    async def open_follow(self) -> AsyncGenerator[AsyncIterator[Event]]:
        """Follow: an iterator over all events so far and all that come, without end."""
        send, receive = trio.open_memory_channel[Event](math.inf)
        for event in self._events:
            send.send_nowait(event)
        self._followers.add(send)
        try:
            yield receive
        finally:
            # In one turn of Trio's: who records an event must not meet a follower half gone.
            self._followers.discard(send)
            send.close()
            receive.close()


@contextmanager
def open_event_log(path: Path) -> Generator[EventLog]:
    """Open a log that is written to a file, at its end.

    Raises:
        StorageError: The file cannot be opened.
    """
    with explain_storage(path):
        file = path.open("a", encoding="utf-8")
    try:
        yield EventLog(file)
    finally:
        with suppress(OSError):
            file.close()
