"""Archives for tests: made of bytes in memory, by the real tool, and broken on purpose."""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from netlab.vma import Config, Contents, Device, DiskSource, Header, Range
from netlab.vma.format.extents import build_empty_extent, build_extent, find_blocks, pick_blocks
from netlab.vma.format.header import build_header
from netlab.vma.format.layout import BLOCK, CLUSTER, FIXED_HEADER, SECTOR, WRITTEN_SLOTS
from netlab.vma.source import Span

ROOT = Path(__file__).parents[2]
UUID_1 = UUID(int=1)
CREATED = 1_700_000_000
CONF = {"qemu-server.conf": b"name: r1\ncores: 2\n"}


@dataclass(frozen=True, slots=True)
class Sample:
    """An archive of Proxmox's own tool, and the SHA-256 and size of what is in it."""

    path: Path
    files: Mapping[str, tuple[str, int]]


def find_samples() -> list[Sample]:
    """Return the archives of the real tool; none where they are not."""
    default = ROOT.parent / "shared" / "vma-samples"
    folder = Path(os.environ.get("NETLAB_VMA_SAMPLES", default))
    if not folder.is_dir():
        return []
    samples: list[Sample] = []
    for line in (folder / "README.md").read_text().splitlines():
        row = re.fullmatch(
            r"\| *(\S*\.vma\S*)?.*\| *(disk )?(\S+) *\| ([0-9a-f]{64}) \| (\d+) \|", line
        )
        if row is None:
            continue
        archive, disk, name, digest, size = row.groups()
        if archive:
            samples.append(Sample(folder / archive, {}))
        device = disk or name.startswith("drive-")
        file = f"disk-{name}.raw" if device else name
        samples[-1] = Sample(samples[-1].path, {**samples[-1].files, file: (digest, int(size))})
    return samples


NO_SAMPLES = pytest.param(
    None,
    marks=pytest.mark.skip(
        reason="no archives of the real tool: NETLAB_VMA_SAMPLES is not their folder"
    ),
)
SAMPLES = [pytest.param(sample, id=sample.path.name) for sample in find_samples()] or [NO_SAMPLES]
PLAIN_SAMPLES = [
    pytest.param(sample, id=sample.path.name)
    for sample in find_samples()
    if sample.path.suffix == ".vma"
] or [NO_SAMPLES]


def make_header(disks: Mapping[str, bytes], configs: Mapping[str, bytes]) -> Header:
    return Header(
        uuid=UUID_1,
        created=CREATED,
        configs=tuple(Config(name, data) for name, data in configs.items()),
        devices=tuple(
            Device(number, name, -(-len(data) // SECTOR) * SECTOR)
            for number, (name, data) in enumerate(disks.items(), 1)
        ),
    )


def make_extents(device: int, data: bytes) -> list[bytes]:
    """Return the extents of a disk, one after the other."""
    padded = data + bytes(-len(data) % CLUSTER)
    clusters = len(padded) // CLUSTER
    extents: list[bytes] = []
    for first in range(0, clusters, WRITTEN_SLOTS):
        count = min(WRITTEN_SLOTS, clusters - first)
        part = padded[first * CLUSTER : (first + count) * CLUSTER]
        masks = find_blocks(part, count)
        header = build_extent(UUID_1.bytes, device, first, masks)
        extents.append(header + b"".join(pick_blocks(memoryview(part), masks)))
    return extents


def make_archive(disks: Mapping[str, bytes], configs: Mapping[str, bytes] = CONF) -> bytes:
    extents = [
        extent
        for number, data in enumerate(disks.values(), 1)
        for extent in make_extents(number, data)
    ]
    return build_header(make_header(disks, configs)) + b"".join(
        extents or [build_empty_extent(UUID_1.bytes)]
    )


def make_state_header(size: int, disks: Mapping[str, bytes]) -> bytes:
    """Return a header with saved memory, which is only read, and of disks behind it."""
    header = build_header(make_header({"vmstat?": bytes(size), **disks}, {}))
    return seal_header(header.replace(b"vmstat?", b"vmstate"))


def seal_header(data: bytes) -> bytes:
    """Return an archive whose header's checksum is right again."""
    result = bytearray(data)
    (length,) = struct.unpack_from(">I", result, 56)
    result[32:48] = bytes(16)
    result[32:48] = hashlib.md5(result[:length]).digest()
    return bytes(result)


def seal_extent(data: bytes) -> bytes:
    """Return an extent whose header's checksum is right again."""
    plain = data[:24] + bytes(16) + data[40:512]
    return data[:24] + hashlib.md5(plain).digest() + data[40:]


def patch(data: bytes, offset: int, new: bytes) -> bytes:
    """Return data with other bytes at a place."""
    return data[:offset] + new + data[offset + len(new) :]


def header_length(data: bytes) -> int:
    (length,) = struct.unpack_from(">I", data, 56)
    assert length > FIXED_HEADER
    return length


def pattern(*blocks: int) -> bytes:
    """Return blocks filled with numbers; 0 is a block of zeros."""
    return b"".join(bytes([number]) * BLOCK for number in blocks)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@dataclass(frozen=True, slots=True)
class MemoryDisk:
    """A disk in memory; a source that is neither a file nor a device."""

    data: bytes
    ranges: tuple[Range, ...] | None = None

    @property
    def size(self) -> int:
        return len(self.data)

    async def data_ranges(self) -> AsyncGenerator[Range]:
        for each in self.ranges or (Range(0, len(self.data)),):
            yield each

    async def read(self, *spans: Span) -> None:
        for offset, buffer in spans:
            buffer[:] = self.data[offset : offset + len(buffer)]


CONTENT = pattern(1, 0, 2) + bytes(200 * CLUSTER) + pattern(*range(1, 90)) + bytes(CLUSTER) + b"end"
EXPECTED = make_archive({"drive-scsi0": CONTENT})


def contents(disk: DiskSource, **configs: bytes) -> Contents:
    return Contents(
        disks={"drive-scsi0": disk}, configs=configs or CONF, uuid=UUID_1, created=CREATED
    )
