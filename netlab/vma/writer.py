"""Writing an archive: one thread reads disks into buffers, another writes extents.

They hand buffers to each other; Trio has a turn for a batch of them, and not for each. With a turn
for each, a thread waits for the processor twice where both processors are busy, Trio's thread
first.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import trio

from netlab.errors import ArchiveError
from netlab.scopes import open_tasks
from netlab.vma.blocking import Handover, run_woken
from netlab.vma.compression import Compression
from netlab.vma.format.extents import (
    build_empty_extent,
    build_extent,
    build_zero_extents,
    find_blocks,
    pick_blocks,
)
from netlab.vma.format.header import Config, Device, Header, build_header
from netlab.vma.format.layout import BLOCK, CLUSTER, SECTOR, WRITTEN_SLOTS
from netlab.vma.progress import Progress, ThreadProgress, ignore
from netlab.vma.sink import Part, Sink, open_sink
from netlab.vma.source import DiskSource, Range, ThreadSource

_GROUP = WRITTEN_SLOTS * CLUSTER
"""Bytes of a disk that go from one thread to the other at once: what one extent lists."""

_SHORT_HOLE = 32 << 10
"""Bytes of a hole that is read with the data around it: that costs less than another call."""

_BUFFERS = 4
"""Buffers of a group: they fit in a processor's caches, and neither thread waits for long."""

_BATCH = 64
"""Groups that are read without a turn of Trio's."""

_ZERO_GROUPS = 2048
"""Extents without data that are written at once: 1 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What an archive is made of.

    Attributes:
        disks: By name, such as ``drive-scsi0``, in the order of their numbers.
        configs: By name, such as ``qemu-server.conf``.
        uuid: Ties extents to the header.
        created: Seconds since the epoch, UTC.
    """

    disks: Mapping[str, DiskSource] = field(default_factory=dict[str, DiskSource])
    configs: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    uuid: UUID = field(default_factory=uuid4)
    created: int = field(default_factory=lambda: int(time.time()))

    def header(self) -> Header:
        """Return the archive's header. Sizes are rounded up to 512 bytes, as QEMU does."""
        return Header(
            uuid=self.uuid,
            created=self.created,
            configs=tuple(Config(name, data) for name, data in self.configs.items()),
            devices=tuple(
                Device(number, name, -(-disk.size // SECTOR) * SECTOR)
                for number, (name, disk) in enumerate(self.disks.items(), 1)
            ),
        )


async def create_archive(
    target: str | Path,
    contents: Contents,
    *,
    compression: Compression | None = None,
    progress: Progress = ignore,
) -> None:
    """Write an archive: the same contents, UUID and time give the same bytes.

    Nothing is written before everything that can be known to be wrong has been looked for.
    Cancelled or failed, nothing of a file is left.

    Args:
        target: A file that is not there yet, a pipe, or ``-`` for standard output.
        contents: Disks and configurations.
        compression: How to compress; :func:`netlab.vma.compression.compression_of` has what a
            file's name asks for.
        progress: Told how far it is.

    Raises:
        ArchiveError: The format has no room for it, or Proxmox could not restore it.
        StorageError: A disk cannot be read, or the archive not be written.
        UsageError: There is a file of that name already.
    """
    header = contents.header()
    start = build_header(header)
    async with open_sink(str(target), compression) as sink:
        await sink.write([[start]])
        if not contents.disks:
            await sink.write([[build_empty_extent(contents.uuid.bytes)]])
        await _write_disks(sink, header, tuple(contents.disks.values()), progress)


@dataclass(frozen=True, slots=True)
class _Place:
    """Clusters that follow each other on a disk.

    Attributes:
        device: The device's number.
        first: The first cluster.
        count: How many: of a group at most, or of zeros as many as there are.
        parts: Where data are in them; nowhere in zeros.
    """

    device: int
    first: int
    count: int
    parts: Sequence[Range] = ()


@dataclass(frozen=True, slots=True)
class _Group:
    """What is at a place.

    Attributes:
        place: The place.
        buffer: What is there, where the masks say that something is. Zeros have one, too, so that
            no more of them wait than there are buffers.
        masks: For each cluster, which of its blocks are not zero.
    """

    place: _Place
    buffer: bytearray
    masks: Sequence[int] = ()


class _Belt:
    """Carries full buffers from the thread that reads to the one that writes, and empty ones back.

    Attributes:
        free: Buffers that nothing is in.
        filled: Groups in the order of the archive.
    """

    def __init__(self) -> None:
        self.free: Handover[bytearray] = Handover()
        self.filled: Handover[_Group] = Handover()
        for _ in range(_BUFFERS):
            self.free.put(bytearray(_GROUP))


async def _write_disks(
    sink: Sink, header: Header, sources: Sequence[DiskSource], progress: Progress
) -> None:
    told = ThreadProgress(progress, sum(source.size for source in sources))
    belt = _Belt()
    async with open_tasks() as nursery:
        nursery.start_soon(_read_disks, zip(header.devices, sources, strict=True), belt)
        await sink.write(_encode_groups(header, belt, told), belt.filled.wake)
    told.finish()


def _encode_groups(header: Header, belt: _Belt, progress: ThreadProgress) -> Generator[list[Part]]:
    """Yield in the thread that writes what all clusters become."""
    rest = sum(device.clusters for device in header.devices)
    while rest:
        group = belt.filled.get()
        yield _encode(header.uuid.bytes, group)
        belt.free.put(group.buffer)
        rest -= group.place.count
        progress.add(group.place.count * CLUSTER)


def _encode(uuid: bytes, group: _Group) -> list[Part]:
    place = group.place
    if not place.parts:
        return [build_zero_extents(uuid, place.device, place.first, place.count)]
    extent = build_extent(uuid, place.device, place.first, group.masks)
    return [extent, *pick_blocks(memoryview(group.buffer), group.masks)]


async def _read_disks(disks: Iterable[tuple[Device, DiskSource]], belt: _Belt) -> None:
    """Read all disks; a failure is told in its order, by the thread that writes."""
    with belt.filled.failures():
        for device, source in disks:
            async with (
                aclosing(_find_places(device, source)) as places,
                aclosing(_batch(places)) as batches,
            ):
                async for batch in batches:
                    await run_woken(partial(_read_places, source, batch, belt), belt.free.wake)


async def _batch(places: AsyncGenerator[_Place]) -> AsyncGenerator[list[_Place]]:
    batch: list[_Place] = []
    async for place in places:
        batch.append(place)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _read_places(source: DiskSource, places: Sequence[_Place], belt: _Belt) -> None:
    """Read in a thread of :func:`run_woken`."""
    for place in places:
        buffer = belt.free.get()
        masks: Sequence[int] = ()
        if place.parts:
            spans = _fill(source, place, memoryview(buffer))
            masks = find_blocks(buffer, place.count, spans)
        belt.filled.put(_Group(place, buffer, masks))


async def _find_places(device: Device, source: DiskSource) -> AsyncGenerator[_Place]:
    """Yield all clusters of a disk in order."""
    done = 0
    async with aclosing(_find_groups(source)) as groups:
        async for first, parts in groups:
            for zeros in _zero_places(device.number, done, first):
                yield zeros
            count = min(WRITTEN_SLOTS, device.clusters - first)
            yield _Place(device.number, first, count, parts)
            done = first + count
    for zeros in _zero_places(device.number, done, device.clusters):
        yield zeros


def _zero_places(device: int, first: int, end: int) -> list[_Place]:
    step = _ZERO_GROUPS * WRITTEN_SLOTS
    return [_Place(device, start, min(step, end - start)) for start in range(first, end, step)]


async def _find_groups(source: DiskSource) -> AsyncGenerator[tuple[int, list[Range]]]:
    """Yield the groups that have data: the first cluster, and where data are in it."""
    found: list[Range] = []
    async with aclosing(_find_parts(source)) as parts:
        async for part in parts:
            if found and part.offset // _GROUP != found[0].offset // _GROUP:
                yield found[0].offset // _GROUP * WRITTEN_SLOTS, found
                found = []
            if found and part.offset - found[-1].end <= _SHORT_HOLE:
                part = Range(found[-1].offset, part.end - found.pop().offset)
            found.append(part)
    if found:
        yield found[0].offset // _GROUP * WRITTEN_SLOTS, found


async def _find_parts(source: DiskSource) -> AsyncGenerator[Range]:
    """Yield where a source has data, cut at the borders of groups."""
    end = 0
    async with aclosing(source.data_ranges()) as ranges:
        async for each in ranges:
            _check(each, end, source)
            end = each.end
            start = each.offset
            while start < end:
                border = min(end, (start // _GROUP + 1) * _GROUP)
                yield Range(start, border - start)
                start = border


def _check(each: Range, end: int, source: DiskSource) -> None:
    if each.length < 1 or each.offset < end or each.end > source.size:
        raise ArchiveError(
            f"a source of {source.size} bytes says that data are at {each.offset}, "
            f"{each.length} bytes, behind {end}"
        )


def _fill(source: DiskSource, place: _Place, buffer: memoryview) -> list[tuple[int, int]]:
    """Read a group's data; return where they are in the buffer, with zeros to whole blocks."""
    base = place.first * CLUSTER
    spans: list[tuple[int, int]] = []
    for part in place.parts:
        start, end = part.offset - base, part.end - base
        first, last = start // BLOCK * BLOCK, -(-end // BLOCK) * BLOCK
        buffer[first:start] = bytes(start - first)
        buffer[end:last] = bytes(last - end)
        spans.append((first, last))
    wanted = [(part.offset, buffer[part.offset - base : part.end - base]) for part in place.parts]
    if isinstance(source, ThreadSource):
        source.read_in_thread(*wanted)
    else:
        trio.from_thread.run(source.read, *wanted)
    return spans
