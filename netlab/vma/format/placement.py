"""Where the blocks of an extent belong on a disk, in as few writes as pay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
    parts: list[memoryview]
    size: int

    def cut(self, size: int) -> None:
        """Leave out what is behind so many bytes."""
        while self.size > size:
            last = self.parts.pop()
            kept = last[: max(0, size - (self.size - len(last)))]
            self.size += len(kept) - len(last)
            if kept:
                self.parts.append(kept)


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
    parts: list[memoryview] = []
    start = end = base
    for first, count in piece_runs(piece):
        offset, length = base + first * BLOCK, count * BLOCK
        if offset - end >= len(_ZEROS) or not parts:
            if parts:
                yield Placement(start, parts, end - start)
            start, parts = offset, []
        elif offset > end:
            parts.append(_ZEROS[: offset - end])
        parts.append(data[position : position + length])
        position += length
        end = offset + length
    if parts:
        yield Placement(start, parts, end - start)


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
