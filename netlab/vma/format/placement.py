"""Where the blocks of an extent belong on a disk, in as few writes as pay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from netlab.vma.format.extents import Piece, block_runs, is_full
from netlab.vma.format.layout import BLOCK, CLUSTER, CLUSTER_BLOCKS

MIN_HOLE = 8
"""Blocks of zeros that are left a hole. A shorter gap is written: one write less, and one
fragment less on the disk."""

_ZEROS = memoryview(bytes(MIN_HOLE * BLOCK))
_GAPS = [_ZEROS[: blocks * BLOCK] for blocks in range(MIN_HOLE)]


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
    for placement in [_whole(piece, data)] if is_full(piece) else _join(piece, data):
        if size is not None:
            placement.cut(size - placement.offset)
        if placement.size:
            yield placement


def _whole(piece: Piece, data: memoryview) -> Placement:
    size = len(piece.masks) * CLUSTER
    return Placement(piece.first * CLUSTER, [data[piece.position : piece.position + size]], size)


def _join(piece: Piece, data: memoryview) -> Iterator[Placement]:
    base = start = end = piece.first * CLUSTER
    position = piece.position
    if not any(piece.masks):
        return
    parts: list[memoryview] = []
    for mask in piece.masks:
        for first, length in _spans(mask):
            offset = base + first
            gap = offset - end
            if gap >= len(_ZEROS) or not parts:
                if parts:
                    yield Placement(start, parts, end - start)
                start, parts = offset, []
            elif gap:
                parts.append(_GAPS[gap // BLOCK])
            parts.append(data[position : position + length])
            position += length
            end = offset + length
        base += CLUSTER
    if parts:
        yield Placement(start, parts, end - start)


@lru_cache(maxsize=4096)
def _spans(mask: int) -> tuple[tuple[int, int], ...]:
    """Return what a mask stores of a cluster: pairs of an offset and a length in bytes."""
    return tuple((first * BLOCK, count * BLOCK) for first, count in block_runs(mask))


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
