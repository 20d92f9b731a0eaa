"""Where the clusters of disks are in an archive: what its extents say, and nothing of the data."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from netlab.errors import ArchiveError
from netlab.vma.batches import BUFFER, ExtentReader
from netlab.vma.format.coverage import Coverage
from netlab.vma.format.extents import Piece
from netlab.vma.format.header import Device, Header
from netlab.vma.format.layout import BLOCK, CLUSTER
from netlab.vma.format.placement import piece_runs
from netlab.vma.source import Range
from netlab.vma.stream import Stream

MAX_RUNS = 2_000_000
"""Runs of one disk that are kept account of, 48 MB; an archive in order has one for each
extent, so that these are 7 TiB."""


@dataclass(frozen=True, slots=True)
class Run:
    """Clusters that follow each other on the disk and in the archive.

    Attributes:
        first: The first cluster.
        count: How many.
        extent: Where the header of their extent is in the archive; 0 when all are zeros.
    """

    first: int
    count: int
    extent: int


class DiskIndex:
    """The runs of one disk. They come in any order; :meth:`sort` must follow the last one."""

    def __init__(self) -> None:
        self._firsts, self._counts, self._extents = array("Q"), array("Q"), array("Q")

    def __len__(self) -> int:
        return len(self._firsts)

    def add(self, piece: Piece, extent: int) -> None:
        """Add a piece of an extent.

        Raises:
            ArchiveError: There are too many runs.
        """
        count = len(piece.masks)
        position = extent if any(piece.masks) else 0
        if not position and self._continues(piece.first):
            self._counts[-1] += count
            return
        if len(self) == MAX_RUNS:
            raise ArchiveError(
                "the clusters of this archive are too scattered for random access",
                hint="extract the disk",
            )
        self._firsts.append(piece.first)
        self._counts.append(count)
        self._extents.append(position)

    def _continues(self, first: int) -> bool:
        """Whether a cluster follows the last run, and that one is zeros."""
        if not self._firsts or self._extents[-1]:
            return False
        return self._firsts[-1] + self._counts[-1] == first

    def sort(self) -> None:
        """Bring the runs into the disk's order."""
        order = sorted(range(len(self)), key=self._firsts.__getitem__)
        for values in (self._firsts, self._counts, self._extents):
            values[:] = array("Q", (values[index] for index in order))

    def runs(self, cluster: int = 0) -> Iterator[Run]:
        """Yield runs from the one on that has a cluster."""
        for index in range(max(0, bisect_right(self._firsts, cluster) - 1), len(self)):
            yield Run(self._firsts[index], self._counts[index], self._extents[index])


class MapOfData:
    """The blocks of one disk that are stored, as ranges."""

    def __init__(self, device: Device) -> None:
        self._size = device.most_clusters * CLUSTER if device.is_saved_state else device.size
        self._starts, self._ends = array("Q"), array("Q")

    def add(self, piece: Piece) -> None:
        """Add a piece of an extent.

        Raises:
            ArchiveError: There are too many ranges.
        """
        base = piece.first * CLUSTER
        for first, count in piece_runs(piece):
            start = base + first * BLOCK
            end = min(start + count * BLOCK, self._size)
            if self._ends and self._ends[-1] == start:
                self._ends[-1] = end
            elif len(self._starts) == MAX_RUNS:
                raise ArchiveError("the data of this archive are too scattered for a map")
            else:
                self._starts.append(start)
                self._ends.append(end)

    def ranges(self) -> Iterator[Range]:
        """Yield the ranges in order, neighbours in one."""
        start = end = 0
        for index in sorted(range(len(self._starts)), key=self._starts.__getitem__):
            if self._starts[index] != end:
                if end > start:
                    yield Range(start, end - start)
                start = self._starts[index]
            end = self._ends[index]
        if end > start:
            yield Range(start, end - start)


async def scan(
    stream: Stream, header: Header, takers: Mapping[int, DiskIndex | MapOfData]
) -> dict[int, int]:
    """Read an archive's extents to the end; return by device number how many bytes there are.

    Args:
        stream: Behind the header.
        header: The archive's.
        takers: By device number, who takes its pieces.

    Raises:
        ArchiveError: The archive is damaged; it says where.
        StorageError: It cannot be read.
    """
    reader = ExtentReader(stream, header.uuid)
    coverage = Coverage(header.devices)
    scratch = memoryview(bytearray(BUFFER))

    def advance() -> int:
        count = 0
        for extent in reader.skim(scratch):
            count += 1
            for piece in coverage.accept(extent):
                taker = takers.get(piece.device)
                if isinstance(taker, DiskIndex):
                    taker.add(piece, extent.offset)
                elif taker is not None:
                    taker.add(piece)
        return count

    while await stream.run(advance):
        pass
    coverage.finish()
    return {device.number: coverage.size_of(device) for device in header.devices}
