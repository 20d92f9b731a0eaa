"""Compressed archives: what names and options ask for, and that other programs read them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import trio

from netlab.errors import UsageError
from netlab.process import run
from netlab.vma import Compression, create_archive
from netlab.vma.compression import choose_compression, compression_of, parse_compression
from tests.vma.archives import CONTENT, EXPECTED, MemoryDisk, contents


@pytest.mark.parametrize("kind", ["zstd", "gzip"])
async def test_a_compressed_archive_is_the_same_for_the_programs(tmp_path: Path, kind: str) -> None:
    disk = MemoryDisk(CONTENT)
    for name in ("a", "b"):
        await create_archive(tmp_path / name, contents(disk), compression=Compression(kind, 3))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    done = await run((kind, "-dc"), stdin=(tmp_path / "a").read_bytes())
    assert done.stdout == EXPECTED


def test_a_name_says_how_an_archive_is_compressed() -> None:
    assert compression_of("a.vma.zst") == parse_compression("zstd") == Compression("zstd", 3)
    assert compression_of("a.vma.gz") == parse_compression("gzip:6")
    assert compression_of("a.vma") is parse_compression("none") is None


@pytest.mark.parametrize(
    "text",
    ["lzop", "zstd:20", "zstd:0", "gzip:10", "zstd:", "zstd:-1", "", f"zstd:{'9' * 5000}"],
    ids=lambda text: text[:10],
)
def test_a_compression_that_there_is_not_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"compression '{text}'"):
        parse_compression(text)


@pytest.mark.parametrize("suffix", ["lzo", "bz2"])
def test_what_is_only_read_is_not_written(suffix: str) -> None:
    with pytest.raises(UsageError, match="read, not written"):
        compression_of(f"a.vma.{suffix}")


def test_an_option_chooses_what_a_name_leaves_open() -> None:
    assert choose_compression("a.vma.zst", None) == Compression("zstd", 3)
    assert choose_compression("a.vma.zst", "zstd:9") == Compression("zstd", 9)
    assert choose_compression("-", "gzip") == Compression("gzip", 6)
    assert choose_compression("a.vma", "none") is None


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("a.vma", "zstd", "by its name its compression is none, and zstd is asked for"),
        ("a.vma.gz", "zstd:3", "is gzip, and zstd is"),
        ("a.vma.zst", "none", "is zstd, and none is"),
    ],
)
def test_an_option_that_contradicts_a_name_is_refused(path: str, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_compression(path, text)


def test_gzip_has_no_time_in_it(tmp_path: Path) -> None:
    async def write() -> None:
        await create_archive(
            tmp_path / "a", contents(MemoryDisk(CONTENT)), compression=Compression("gzip", 1)
        )

    trio.run(write)
    data = (tmp_path / "a").read_bytes()
    assert data[4:8] == bytes(4)
    assert gzip.decompress(data) == EXPECTED
