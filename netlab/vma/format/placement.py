"""Where the blocks of an extent belong on a disk, in as few writes as pay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from netlab.vma.format.extents import Piece, block_runs, is_full
from netlab.vma.format.layout import BLOCK, CLUSTER, CLUSTER_BLOCKS

MIN_HOLE = 8
"""Blocks of zeros that are left a hole. A shorter gap is written: one write less, and one
fragment less on the disk."""

_ZEROS = memoryview(bytes(MIN_HOLE * BLOCK))


@dataclass(slots=True)
class Placement:
    """One write.

    Attributes:
        offset: Bytes from the disk's beginning.
        parts: What is written there, one after the other.
        size: Bytes of all of them.
    """

    offset: int
    parts: list[memoryview] = field(default_factory=list[memoryview])
    size: int = 0

    def add(self, part: memoryview) -> None:
        """Put a part behind the others."""
        self.parts.append(part)
        self.size += len(part)

    def cut(self, size: int) -> None:
        """Leave out what is behind so many bytes."""
        while self.size > size:
            last = self.parts.pop()
            self.size -= len(last)
            if self.size < size:
                self.add(last[: size - self.size])


def place(piece: Piece, data: memoryview, size: int | None) -> Iterator[Placement]:
    """Yield the writes that put a piece on its disk.

    Args:
        piece: Of an extent.
        data: The extent's data.
        size: Bytes of the disk, which may end within the piece; None when it is open.
    """
    for placement in _join(piece, data):
        if size is not None:
            placement.cut(size - placement.offset)
        if placement.size:
            yield placement


def _join(piece: Piece, data: memoryview) -> Iterator[Placement]:
    base = piece.first * CLUSTER
    if is_full(piece):
        size = len(piece.masks) * CLUSTER
        yield Placement(base, [data[piece.position : piece.position + size]], size)
        return
    if not any(piece.masks):
        return
    position = piece.position
    current: Placement | None = None
    for first, count in piece_runs(piece):
        offset = base + first * BLOCK
        gap = offset - current.offset - current.size if current is not None else 0
        if current is None or gap >= len(_ZEROS):
            if current is not None:
                yield current
            current = Placement(offset)
        elif gap:
            current.add(_ZEROS[:gap])
        current.add(data[position : position + count * BLOCK])
        position += count * BLOCK
    if current is not None:
        yield current


def piece_runs(piece: Piece) -> Iterator[tuple[int, int]]:
    """Yield the stored blocks of a piece as runs of (first, count), counted in the piece."""
    start = count = 0
    for index, mask in enumerate(piece.masks):
        base = index * CLUSTER_BLOCKS
        for first, length in block_runs(mask):
            if count and start + count == base + first:
                count += length
                continue
            if count:
                yield start, count
            start, count = base + first, length
    if count:
        yield start, count
