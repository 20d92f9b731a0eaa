"""Where the frames of zstd end (RFC 8878, 3.1).

Its decompressor does not tell the end of a file within a frame from one behind it.
"""

from __future__ import annotations

from collections.abc import Callable

_FRAME = 0xFD2FB528
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)


class Frames:
    """Follows frames by their lengths, and looks at nothing of what is in them."""

    def __init__(self) -> None:
        self._passed = 0  # bytes that are of no interest
        self._wanted, self._next = 4, self._begin
        self._held = bytearray()
        self._has_checksum = False
        self._is_lost = False

    @property
    def mistake(self) -> str | None:
        """What is wrong if there is nothing more."""
        if self._is_lost:
            return "no frame begins here"
        is_inside = self._passed or self._held or self._next != self._begin
        return "the file ends too early" if is_inside else None

    def feed(self, data: memoryview) -> int:
        """Go on behind bytes that follow those before; return how many of them are of frames."""
        position = 0
        while position < len(data) and not self._is_lost:
            if self._passed:
                count = min(self._passed, len(data) - position)
                self._passed -= count
                position += count
                continue
            part = data[position : position + self._wanted - len(self._held)]
            self._held += part
            position += len(part)
            if len(self._held) == self._wanted:
                value = int.from_bytes(self._held, "little")
                self._held.clear()
                self._next(value)
        return max(0, position - 4) if self._is_lost else position

    def _want(self, size: int, then: Callable[[int], None]) -> None:
        """Go on with what so many bytes say, behind those that are passed over."""
        self._wanted, self._next = size, then

    def _begin(self, magic: int) -> None:
        if magic == _FRAME:
            self._want(1, self._describe)
        elif magic in _SKIPPABLE:
            self._want(4, self._skip)
        else:
            self._is_lost = True

    def _skip(self, size: int) -> None:
        self._passed = size
        self._want(4, self._begin)

    def _describe(self, descriptor: int) -> None:
        """Pass over the rest of a frame's header: window, dictionary, size of the content."""
        single = descriptor >> 5 & 1
        self._has_checksum = bool(descriptor >> 2 & 1)
        size = (single, 2, 4, 8)[descriptor >> 6]
        self._passed = 1 - single + (0, 1, 2, 4)[descriptor & 3] + size
        self._want(3, self._block)

    def _block(self, header: int) -> None:
        # A block of the second kind is one byte that is repeated.
        self._passed = 1 if header >> 1 & 3 == 1 else header >> 3
        if header & 1:
            self._passed += 4 * self._has_checksum
            self._want(4, self._begin)
