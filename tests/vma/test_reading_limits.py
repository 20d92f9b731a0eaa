"""Compressed archives, and those that promise much: read in bounded memory and short turns."""

from __future__ import annotations

import bz2
import gzip
import os
import re
import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from netlab.errors import ArchiveError
from netlab.process import run
from netlab.vma import open_archive, verify_archive
from netlab.vma.format.extents import build_extent, build_zero_extents
from netlab.vma.format.header import build_header
from netlab.vma.format.layout import CLUSTER, FULL
from tests.vma.archives import UUID_1, make_archive, make_header, names_in, patch, seal_header
from tests.vma.reading import ARCHIVE, FILES, extract, read_all


async def test_every_compression_is_read_by_suffix(tmp_path: Path) -> None:
    half = len(ARCHIVE) // 2
    parts = (ARCHIVE[:half], ARCHIVE[half:])
    packed = {
        "a.vma": ARCHIVE,
        "a.vma.gz": b"".join(map(gzip.compress, parts)),
        "a.vma.bz2": b"".join(map(bz2.compress, parts)),
        # Two frames, as `zstd` may write them.
        "a.vma.zst": b"".join(map(zstandard.ZstdCompressor().compress, parts)),
        "a.vma.lzo": (await run(("lzop", "-c"), stdin=ARCHIVE)).stdout,
    }
    for name, data in packed.items():
        (tmp_path / name).write_bytes(data)
        await extract(tmp_path / name, tmp_path / f"{name}.out")
        assert read_all(tmp_path / f"{name}.out") == FILES
        assert await verify_archive(tmp_path / name) == ()


@pytest.mark.parametrize("suffix", ["gz", "bz2", "zst", "lzo"])
async def test_damaged_compression_says_where_and_leaves_nothing(
    tmp_path: Path, suffix: str
) -> None:
    noise = os.urandom(300_000)
    archive = make_archive({"drive-scsi0": noise})
    packers = {
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    }
    packed = (
        packers[suffix](archive)
        if suffix in packers
        else (await run(("lzop", "-c"), stdin=archive)).stdout
    )
    end = len(archive)
    for name, damaged, start in [
        ("cut", packed[: len(packed) // 2], 0),
        ("begun", packed[:40], 0),
        ("patched", patch(packed, len(packed) // 2, bytes(2000)), 0),
        ("grown", packed + b"what is this", end),
        ("second", packed + packed[:-9], end),
        ("other", b"what is this", 0),
        ("empty", b"", 0),
    ]:
        source = tmp_path / f"{name}.vma.{suffix}"
        source.write_bytes(damaged)
        message = rf"^{re.escape(str(source))}: (.*at )?byte (\d+): "
        with pytest.raises(ArchiveError, match=message) as caught:
            await extract(source, tmp_path / "out")
        place = re.match(message, caught.value.message)
        assert place is not None
        assert start <= int(place[2]) <= 2 * end
        assert "ioctl" not in caught.value.message
        assert name != "begun" or "the compressed data are damaged" in caught.value.message
        assert any(not problem.warning for problem in await verify_archive(source))
    assert not (tmp_path / "out").exists()
    assert not [name for name in names_in(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("missing", [1, 4, 6])
async def test_an_end_within_a_frame_of_zstd_is_told_even_when_all_data_are_there(
    tmp_path: Path, missing: int
) -> None:
    packer = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    # What ends the frame is an empty block and the checksum.
    packed = packer.compress(ARCHIVE) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    packed += packer.flush()
    (tmp_path / "a.vma.zst").write_bytes(packed[:-missing])
    assert await verify_archive(tmp_path / "a.vma.zst") != ()
    with pytest.raises(ArchiveError, match="the compressed data are damaged"):
        await extract(tmp_path / "a.vma.zst", tmp_path / "out")
    assert names_in(tmp_path) == ["a.vma.zst"]


@pytest.mark.parametrize(
    "frame",
    [b"\x50", b"\x50\x2a\x4d\x18\x10\x00", b"\x5f\x2a\x4d\x18\x00\x01\x00\x00" + bytes(100)],
)
async def test_an_end_within_a_frame_of_zstd_that_is_passed_over_is_told(
    tmp_path: Path, frame: bytes
) -> None:
    packed = zstandard.ZstdCompressor(write_checksum=True).compress(ARCHIVE)
    whole = b"\x5f\x2a\x4d\x18\x64\x00\x00\x00" + bytes(100)
    (tmp_path / "whole.vma.zst").write_bytes(whole + packed + whole)
    assert await verify_archive(tmp_path / "whole.vma.zst") == ()
    (tmp_path / "a.vma.zst").write_bytes(packed + frame)
    (problem,) = await verify_archive(tmp_path / "a.vma.zst")
    assert str(problem) == (
        f"byte {len(ARCHIVE)}: the compressed data are damaged: the file ends too early"
    )


@pytest.mark.parametrize("wanted", [None, "other"])
async def test_turns_are_short_however_much_is_passed_over(
    tmp_path: Path, wanted: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two of them it is told how far it is, and a cancellation is heard."""
    monkeypatch.setattr("netlab.vma.progress.PERIOD", 0)
    clusters = 58 * 40  # 145 MiB
    header = make_header({"a": bytes(CLUSTER), "other": bytes(CLUSTER)}, {})
    data = seal_header(patch(build_header(header), 4136, struct.pack(">Q", clusters * CLUSTER)))
    packer = zstandard.ZstdCompressor().compressobj()
    with (tmp_path / "a.vma.zst").open("wb") as file:
        file.write(packer.compress(data))
        for first in range(0, clusters, 58):
            extent = build_extent(UUID_1.bytes, 1, first, [FULL] * 58) + bytes(58 * CLUSTER)
            file.write(packer.compress(extent))
        file.write(packer.compress(build_extent(UUID_1.bytes, 2, 0, [0])) + packer.flush())
    told: list[int] = []
    if wanted is None:
        await verify_archive(tmp_path / "a.vma.zst", progress=lambda done, _: told.append(done))
    else:
        async with open_archive(tmp_path / "a.vma.zst") as archive:
            await archive.extract(
                tmp_path / "out", disks=[wanted], progress=lambda done, _: told.append(done)
            )
    assert len(set(told)) == 3


MEASURE = """
import re, sys, trio
from pathlib import Path
from netlab.errors import NetlabError
from netlab.vma import open_archive, verify_archive

async def main():
    problems = await verify_archive(sys.argv[1])
    try:
        async with open_archive(sys.argv[1]) as archive:
            await archive.extract(Path(sys.argv[2]))
    except NetlabError as error:
        print(type(error).__name__)
    # ru_maxrss would have that of the process that started us.
    status = Path("/proc/self/status").read_text()
    print(len(problems), int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) // 1024)

trio.run(main)
"""


def measure(source: Path, folder: Path) -> list[str]:
    """Verify and extract in a process whose address space is limited; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, source, folder],
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30)),
    )
    return done.stdout.split()


def test_a_header_that_promises_more_than_there_is_costs_no_memory(tmp_path: Path) -> None:
    giant = make_header({f"d{number}": bytes(CLUSTER) for number in range(254)}, {})
    data = bytearray(build_header(giant))
    for number in range(1, 255):
        struct.pack_into(">Q", data, 4096 + 32 * number + 8, 1 << 48)
    (tmp_path / "a.vma").write_bytes(seal_header(bytes(data)))
    error, problems, mebibytes = measure(tmp_path / "a.vma", tmp_path / "out")
    # The file system has no files of 256 TiB, or clusters are missing: it depends on it.
    assert error in {"StorageError", "ArchiveError"}
    assert int(problems) == 254
    assert int(mebibytes) < 200
    assert names_in(tmp_path) == ["a.vma"]


def test_a_bomb_of_zstd_takes_bounded_memory(tmp_path: Path) -> None:
    clusters = 1 << 19  # 32 GiB of zeros, some of which are stored as data
    header = make_header({"a": bytes(CLUSTER)}, {})
    data = seal_header(patch(build_header(header), 4136, struct.pack(">Q", clusters * CLUSTER)))
    packer = zstandard.ZstdCompressor().compressobj()
    with (tmp_path / "a.vma.zst").open("wb") as file:
        file.write(packer.compress(data))
        for first in range(0, 58 * 50, 58):
            extent = build_extent(UUID_1.bytes, 1, first, [FULL] * 58) + bytes(58 * CLUSTER)
            file.write(packer.compress(extent))
        rest = build_zero_extents(UUID_1.bytes, 1, 58 * 50, clusters - 58 * 50)
        file.write(packer.compress(rest) + packer.flush())
    assert (tmp_path / "a.vma.zst").stat().st_size < 1 << 20
    problems, mebibytes = measure(tmp_path / "a.vma.zst", tmp_path / "out")
    assert int(problems) == 0
    assert int(mebibytes) < 200
    assert (tmp_path / "out/disk-a.raw").stat().st_size == clusters * CLUSTER


async def test_a_window_of_zstd_that_takes_too_much_memory_is_refused(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28, compression_level=1)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    (tmp_path / "a.vma.zst").write_bytes(packer.compress(ARCHIVE) + packer.flush())
    with pytest.raises(ArchiveError, match="memory"):
        await extract(tmp_path / "a.vma.zst", tmp_path / "out")
