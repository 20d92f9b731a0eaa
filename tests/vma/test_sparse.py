"""What is read of disks: no holes, in bounded memory, and the same whatever they are."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pytest

from netlab.errors import StorageError, UsageError
from netlab.vma import Compression, create_archive, open_disk
from netlab.vma.format.layout import BLOCK, CLUSTER
from tests.vma.archives import CONTENT, EXPECTED, contents, pattern


def write_sparse(file: BinaryIO, content: bytes) -> None:
    """Write what is not zeros; the rest are holes."""
    file.truncate(len(content))
    for start in range(0, len(content), BLOCK):
        block = content[start : start + BLOCK]
        if block.strip(b"\0"):
            file.seek(start)
            file.write(block)


@pytest.fixture
def disks(tmp_path: Path) -> tuple[Path, Path]:
    """The same content without holes and with them."""
    dense, sparse = tmp_path / "dense", tmp_path / "sparse"
    dense.write_bytes(CONTENT)
    with sparse.open("wb") as file:
        write_sparse(file, CONTENT)
    assert sparse.stat().st_blocks < dense.stat().st_blocks
    return dense, sparse


@pytest.mark.parametrize("kind", ["zstd", "gzip"])
async def test_a_compressed_archive_is_the_same_with_holes_and_without(
    tmp_path: Path, disks: tuple[Path, Path], kind: str
) -> None:
    """What is handed to the compressor at once differs, and must make no difference."""
    packed: list[bytes] = []
    for number, path in enumerate(disks):
        target = tmp_path / f"{number}.vma"
        async with open_disk(path) as disk:
            await create_archive(target, contents(disk), compression=Compression(kind, 1))
        packed.append(target.read_bytes())
    assert packed[0] == packed[1]
    assert len(packed[0]) < len(EXPECTED)


async def test_holes_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk of 64 GiB would take a minute."""
    read = os.preadv
    count = 0

    def watch(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        nonlocal count
        count += sum(map(len, buffers))
        return read(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", watch)
    with (tmp_path / "disk").open("wb") as file:
        file.truncate(64 << 30)
        for place in (0, 1 << 30, (64 << 30) - BLOCK):
            file.seek(place)
            file.write(pattern(7))
    async with open_disk(tmp_path / "disk") as disk:
        found = [each async for each in disk.data_ranges()]
        assert sum(each.length for each in found) < 16 * CLUSTER
        await create_archive(tmp_path / "a.vma", contents(disk))
    assert 3 * BLOCK <= count < 16 * CLUSTER


PACK = """
import os, re, sys, trio
from pathlib import Path
from netlab.vma import Compression, Contents, create_archive, open_disk

os.sched_getaffinity = lambda _: set(range(64))

async def main():
    async with open_disk(sys.argv[1]) as disk:
        level = Compression("zstd", int(sys.argv[2]))
        await create_archive("/dev/null", Contents(disks={"a": disk}), compression=level)

trio.run(main)
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.parametrize("level", [3, 9, 15])
def test_compression_takes_bounded_memory_at_any_level_with_any_processors(
    tmp_path: Path, level: int
) -> None:
    (tmp_path / "disk").write_bytes(os.urandom(64 << 20))
    words = [sys.executable, "-c", PACK, tmp_path / "disk", str(level)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    assert int(done.stdout) < 200 << 10


WRITE = """
import re, sys, trio
from contextlib import AsyncExitStack
from pathlib import Path
from netlab.vma import Contents, create_archive, open_disk

async def main():
    async with AsyncExitStack() as stack:
        disks = {
            f"d{number}": await stack.enter_async_context(open_disk(sys.argv[1 + (number > 0)]))
            for number in range(254)
        }
        await create_archive(sys.argv[3], Contents(disks=disks))

trio.run(main)
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def test_many_disks_and_a_large_one_take_bounded_memory_to_write(tmp_path: Path) -> None:
    """Blocks of data in 64 GiB of holes, and 253 disks more."""
    for name, size, step in (("large", 64 << 30, 8 << 20), ("small", 64 << 20, 1 << 20)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
            for place in range(0, size, step):
                file.seek(place)
                file.write(pattern(7))
    limit = 1 << 30
    done = subprocess.run(
        [sys.executable, "-c", WRITE, tmp_path / "large", tmp_path / "small", "/dev/null"],
        stdout=subprocess.PIPE, text=True, timeout=120, check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert int(done.stdout) < 100 << 10


async def test_what_is_no_disk_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UsageError, match="a disk is a raw image or a block device"):
            async with open_disk(path):
                pass
    with pytest.raises(StorageError, match="No such file"):
        async with open_disk(tmp_path / "nothing"):
            pass
