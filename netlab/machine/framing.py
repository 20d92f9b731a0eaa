"""Lines out of a byte stream, bounded; what QMP and the guest agent have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

import trio

from netlab.errors import MachineError

READ_SIZE = 65536


class LineReader:
    """Cuts a stream into lines.

    Args:
        stream: Where the bytes come from.
        limit: The longest line in bytes. A peer that sends more is not believed any further.
        error: What is raised about such a peer.
    """

    def __init__(
        self, stream: trio.abc.ReceiveStream, *, limit: int, error: type[MachineError]
    ) -> None:
        self._stream = stream
        self._limit = limit
        self._error = error
        self._buffer = bytearray()
        self._searched = 0

    async def receive(self) -> bytes | None:
        """Return the next line without its end, or None at the end of the stream.

        A reset counts as the end, and so does our own closing. A line that the end cuts short is
        dropped. Cancelled, nothing is lost: what was read stays for the next call.

        Raises:
            MachineError: The line is longer than the limit; the class is the one given.
        """
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            if self._searched > self._limit:
                raise self._error(f"a line is longer than {self._limit} bytes")
            try:
                data = await self._stream.receive_some(READ_SIZE)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return None
            if not data:
                return None
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        if len(line) > self._limit:
            raise self._error(f"a line is longer than {self._limit} bytes")
        return line


def encode(message: Mapping[str, object]) -> bytes:
    """Return a message as one line of JSON, in ASCII."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, object] | None:
    """Return the JSON object in a line, or None when it holds anything else."""
    try:
        message: object = json.loads(line)
    # Deep nesting is the peer's way to end our stack; an answer has three levels.
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, object]", message) if isinstance(message, dict) else None


def excerpt(line: bytes) -> str:
    """Return the beginning of a line, fit for a message."""
    text = repr(line[:200])[1:]
    return text + "…" if len(line) > 200 else text
