"""One disk of an archive at any place, without extracting it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from functools import partial
from uuid import UUID

from netlab.errors import ArchiveError
from netlab.vma.format.extents import Piece, parse_extent
from netlab.vma.format.header import Device
from netlab.vma.format.layout import BLOCK, CLUSTER, EXTENT_HEADER
from netlab.vma.format.placement import piece_runs
from netlab.vma.format.problems import naming
from netlab.vma.index import DiskIndex, Run
from netlab.vma.source import Range, Span
from netlab.vma.stream import Stream


class ArchivedDisk:
    """A disk in an archive that is open; it can be the source of another archive's disk.

    Attributes:
        device: What the archive says of it.
    """

    def __init__(self, stream: Stream, uuid: UUID, device: Device, index: DiskIndex) -> None:
        self.device = device
        self._stream = stream
        self._uuid = uuid.bytes
        self._index = index

    @property
    def size(self) -> int:
        """Bytes."""
        return self.device.size

    async def data_ranges(self) -> AsyncGenerator[Range]:
        """Yield where data may be: runs of clusters that are not all zeros."""
        for run in self._index.runs():
            if run.extent:
                start = run.first * CLUSTER
                end = min(start + run.count * CLUSTER, self.size)
                yield Range(start, end - start)

    async def read(self, *spans: Span) -> None:
        """Fill buffers with what is at their places; none reaches behind the end.

        Raises:
            ArchiveError: The archive has changed since it was opened.
            StorageError: It cannot be read.
            ValueError: A buffer reaches behind the end.
        """
        for offset, buffer in spans:
            if offset < 0 or offset + len(buffer) > self.size:
                raise ValueError(f"{len(buffer)} bytes at {offset} are not in {self.size} bytes")
        with naming(self._stream.name):
            await self._stream.run(partial(self._read, spans))

    def _read(self, spans: Sequence[Span]) -> None:
        for offset, buffer in spans:
            self._read_span(offset, buffer)

    def _read_span(self, offset: int, buffer: memoryview) -> None:
        end = offset + len(buffer)
        buffer[:] = bytes(len(buffer))
        for run in self._index.runs(offset // CLUSTER):
            if run.first * CLUSTER >= end:
                break
            if run.extent:
                self._read_run(run, offset, buffer)

    def _read_run(self, run: Run, offset: int, buffer: memoryview) -> None:
        piece = self._find_piece(run)
        position = run.extent + EXTENT_HEADER + piece.position
        for first, count in piece_runs(piece):
            start = run.first * CLUSTER + first * BLOCK
            begin = max(start, offset)
            end = min(start + count * BLOCK, offset + len(buffer))
            if begin < end:
                self._read_data(position + begin - start, buffer[begin - offset : end - offset])
            position += count * BLOCK

    def _find_piece(self, run: Run) -> Piece:
        header = bytearray(EXTENT_HEADER)
        self._read_data(run.extent, memoryview(header))
        extent = parse_extent(bytes(header), self._uuid, 0, run.extent)
        for piece in extent.pieces if extent else ():
            if (piece.device, piece.first) == (self.device.number, run.first):
                return piece
        raise ArchiveError(f"byte {run.extent}: the archive has changed", offset=run.extent)

    def _read_data(self, position: int, buffer: memoryview) -> None:
        if self._stream.read_at(position, buffer) < len(buffer):
            raise ArchiveError(f"byte {position}: the archive has become shorter", offset=position)
