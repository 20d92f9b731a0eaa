"""Writing an archive: one task reads disks into buffers, another writes extents."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import trio

from netlab.errors import ArchiveError
from netlab.scopes import open_tasks
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
from netlab.vma.progress import Progress, ignore
from netlab.vma.sink import Part, Sink, open_sink
from netlab.vma.source import DiskSource, Range

_GROUP_CLUSTERS = 4 * WRITTEN_SLOTS
"""Clusters that go from one task to the other at once: with fewer, turns cost more than work."""

_GROUP = _GROUP_CLUSTERS * CLUSTER

_SHORT_HOLE = 32 << 10
"""Bytes of a hole that is read with the data around it: that costs less than another call."""

_BUFFERS = 2
"""One that is filled, and one that is written: a third is in the way of both in their caches."""

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
    header = build_header(contents.header())
    async with open_sink(str(target), compression) as sink:
        await sink.write(lambda: [header])
        if not contents.disks:
            await sink.write(lambda: [build_empty_extent(contents.uuid.bytes)])
        await _write_disks(sink, contents, progress)


@dataclass(frozen=True, slots=True)
class _Group:
    """Clusters that follow each other; without a buffer they are zeros, and may be many.

    Attributes:
        device: The device's number.
        first: The first cluster.
        count: How many.
        buffer: What is in them, where the masks say that something is.
        masks: For each cluster, which of its blocks are not zero.
    """

    device: int
    first: int
    count: int
    buffer: bytearray | None = None
    masks: Sequence[int] = ()


async def _write_disks(sink: Sink, contents: Contents, progress: Progress) -> None:
    total = sum(disk.size for disk in contents.disks.values())
    done = 0
    filled, groups = trio.open_memory_channel[_Group](0)
    returned, free = trio.open_memory_channel[bytearray](_BUFFERS)
    for _ in range(_BUFFERS):
        returned.send_nowait(bytearray(_GROUP))
    async with open_tasks() as nursery:
        nursery.start_soon(_read_disks, contents, filled, free)
        async with groups:
            async for group in groups:
                await sink.write(partial(_encode, contents.uuid.bytes, group))
                if group.buffer is not None:
                    returned.send_nowait(group.buffer)
                done += group.count * CLUSTER
                progress(min(done, total), total)


def _encode(uuid: bytes, group: _Group) -> list[Part]:
    if group.buffer is None:
        return [build_zero_extents(uuid, group.device, group.first, group.count)]
    view = memoryview(group.buffer)
    parts: list[Part] = []
    for start in range(0, group.count, WRITTEN_SLOTS):
        listed = group.masks[start : start + WRITTEN_SLOTS]
        parts.append(build_extent(uuid, group.device, group.first + start, listed))
        parts += pick_blocks(view[start * CLUSTER :], listed)
    return parts


async def _read_disks(
    contents: Contents,
    filled: trio.MemorySendChannel[_Group],
    free: trio.MemoryReceiveChannel[bytearray],
) -> None:
    async with filled:
        for device, source in zip(contents.header().devices, contents.disks.values(), strict=True):
            async with aclosing(_read_disk(device, source, free)) as groups:
                async for group in groups:
                    await filled.send(group)


async def _read_disk(
    device: Device, source: DiskSource, free: trio.MemoryReceiveChannel[bytearray]
) -> AsyncGenerator[_Group]:
    """Yield all clusters of a disk in order."""
    done = 0
    async with aclosing(_find_groups(source)) as groups:
        async for first, parts in groups:
            for zeros in _zero_groups(device.number, done, first):
                yield zeros
            count = min(_GROUP_CLUSTERS, device.clusters - first)
            buffer = await free.receive()
            spans = await _fill(source, first * CLUSTER, parts, memoryview(buffer))
            masks = await trio.to_thread.run_sync(find_blocks, buffer, count, spans)
            yield _Group(device.number, first, count, buffer, masks)
            done = first + count
    for zeros in _zero_groups(device.number, done, device.clusters):
        yield zeros


def _zero_groups(device: int, first: int, end: int) -> list[_Group]:
    step = _ZERO_GROUPS * WRITTEN_SLOTS
    return [_Group(device, start, min(step, end - start)) for start in range(first, end, step)]


async def _find_groups(source: DiskSource) -> AsyncGenerator[tuple[int, list[Range]]]:
    """Yield the groups that have data: the first cluster, and where data are in it."""
    found: list[Range] = []
    async with aclosing(_find_parts(source)) as parts:
        async for part in parts:
            if found and part.offset // _GROUP != found[0].offset // _GROUP:
                yield found[0].offset // _GROUP * _GROUP_CLUSTERS, found
                found = []
            if found and part.offset - found[-1].end <= _SHORT_HOLE:
                part = Range(found[-1].offset, part.end - found.pop().offset)
            found.append(part)
    if found:
        yield found[0].offset // _GROUP * _GROUP_CLUSTERS, found


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


async def _fill(
    source: DiskSource, base: int, parts: Sequence[Range], buffer: memoryview
) -> list[tuple[int, int]]:
    """Read a group's data; return where they are in the buffer, with zeros to whole blocks."""
    spans: list[tuple[int, int]] = []
    for part in parts:
        start, end = part.offset - base, part.end - base
        first, last = start // BLOCK * BLOCK, -(-end // BLOCK) * BLOCK
        buffer[first:start] = bytes(start - first)
        buffer[end:last] = bytes(last - end)
        spans.append((first, last))
    await source.read(
        *((part.offset, buffer[part.offset - base : part.end - base]) for part in parts)
    )
    return spans
