"""Extents in order, as many at once as a buffer takes."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from uuid import UUID

from netlab.vma.format.extents import MAGIC, Extent, parse_extent
from netlab.vma.format.layout import EXTENT_HEADER, MAX_EXTENT
from netlab.vma.format.problems import Problem, Report, refuse
from netlab.vma.stream import Stream

BUFFER = MAX_EXTENT + (256 << 10)
"""Bytes of a buffer: any extent fits."""

_MAX_EXTENTS = 2048
"""Extents of one batch, so that a cancellation is heard."""

_MAX_PASSED = 64 << 20
"""Bytes that are passed over in one batch: what is compressed has to be unpacked for that."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An extent with its data in the batch's buffer; there is something else when passed over."""

    extent: Extent
    data: memoryview


class ExtentReader:
    """Reads a stream's extents. Its functions are called in a thread.

    Attributes:
        offset: Where the next extent begins.
    """

    def __init__(self, stream: Stream, uuid: UUID, report: Report = refuse) -> None:
        self.offset = stream.position
        self._stream = stream
        self._uuid = uuid.bytes
        self._report = report
        self._number = 0
        self._waiting: Extent | None = None

    def read_batch(self, buffer: memoryview, wanted: Container[int]) -> list[Stored]:
        """Return the next extents and their data, none at the end.

        Args:
            buffer: Takes the data: at least :data:`BUFFER` bytes.
            wanted: The numbers of the devices whose data are read.

        Raises:
            ArchiveError: What the report raises, or the compressed data are damaged.
            StorageError: It cannot be read.
        """
        batch: list[Stored] = []
        used = passed = 0
        while len(batch) < _MAX_EXTENTS and passed < _MAX_PASSED:
            extent = self._waiting or self._read_header()
            self._waiting = None
            if extent is None:
                break
            if used + extent.size > len(buffer):
                self._waiting = extent
                break
            data = buffer[used : used + extent.size]
            if any(piece.device in wanted for piece in extent.pieces):
                self._follow(extent, self._stream.read_into(data))
                used += extent.size
            else:
                self._follow(extent, self._stream.skip(extent.size, data))
                passed += extent.size
            batch.append(Stored(extent, data))
        return batch

    def skim(self, scratch: memoryview) -> Iterator[Extent]:
        """Yield extents and pass over their data; so many of them that a cancellation is heard.

        Raises:
            ArchiveError: What the report raises, or the compressed data are damaged.
            StorageError: It cannot be read.
        """
        passed = 0
        for _ in range(_MAX_EXTENTS):
            extent = self._read_header()
            if extent is None:
                return
            self._follow(extent, self._stream.skip(extent.size, scratch))
            yield extent
            passed += extent.size
            if passed >= _MAX_PASSED:
                return

    def _read_header(self) -> Extent | None:
        """Return the next extent's header; None at the end."""
        data = self._stream.read(EXTENT_HEADER)
        while data:
            extent = self._parse(data)
            if extent is not None:
                return extent
            data = self._find_next()
        return None

    def _parse(self, data: bytes) -> Extent | None:
        number, self._number = self._number, self._number + 1
        return parse_extent(data, self._uuid, number, self.offset, self._report)

    def _find_next(self) -> bytes:
        """Return the next header behind one that cannot be trusted; empty at the end.

        Extents are multiples of 512 bytes long.
        """
        while self._stream.find(MAGIC, EXTENT_HEADER):
            self.offset = self._stream.position
            data = self._stream.read(EXTENT_HEADER)
            if len(data) == EXTENT_HEADER and data[8:24] == self._uuid:
                return data
        return b""

    def _follow(self, extent: Extent, found: int) -> None:
        """Go on behind an extent of whose data so many bytes were found."""
        end = self.offset + EXTENT_HEADER + found
        if found < extent.size:
            message = f"the archive ends after {found} of {extent.size} bytes of an extent's data"
            self._report(Problem(message, end, extent.number))
        self.offset = end
