"""An archive of two disks, and what its extraction gives."""

from __future__ import annotations

from pathlib import Path

from netlab.vma import open_archive
from netlab.vma.format.layout import CLUSTER
from tests.vma.archives import CONF, header_length, make_archive, make_extents, pattern

DISKS = {
    "drive-scsi0": pattern(1, 0, 2) + bytes(90 * CLUSTER) + pattern(*range(1, 40)) + b"end",
    "drive-virtio1": pattern(7) * 100,
}
ARCHIVE = make_archive(DISKS)
LENGTH = header_length(ARCHIVE)
EXTENTS = [
    extent for number, data in enumerate(DISKS.values(), 1) for extent in make_extents(number, data)
]
HEAD = ARCHIVE[:LENGTH]
FILES = {
    "qemu-server.conf": CONF["qemu-server.conf"],
    **{f"disk-{name}.raw": data + bytes(-len(data) % 512) for name, data in DISKS.items()},
}


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def extract(source: Path | str, folder: Path) -> None:
    async with open_archive(source) as archive:
        await archive.extract(folder)
