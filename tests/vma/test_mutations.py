"""Damaged archives: an error that says where, or what the archive says; never anything else.

More are tried by `NETLAB_MUTATIONS=20000 scripts/test -o faulthandler_timeout=0` with this file.
"""

from __future__ import annotations

import bz2
import gzip
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.vma.archives import (
    CONF,
    header_length,
    make_archive,
    make_extents,
    names_in,
    pattern,
    seal_extent,
    seal_header,
)
from tests.vma.checking import Checker, open_checker

MUTATIONS = int(os.environ.get("NETLAB_MUTATIONS", "300"))

DISKS = {
    "drive-scsi0": pattern(1, 0, 2) + bytes(60 * 65536) + pattern(3, 0, 0, 4) + b"end",
    "drive-virtio1": pattern(5, 6),
}
ARCHIVE = make_archive(DISKS)
LENGTH = header_length(ARCHIVE)
EXTENTS = [
    extent for number, data in enumerate(DISKS.values(), 1) for extent in make_extents(number, data)
]


def _lzop(data: bytes) -> bytes:
    return subprocess.run(["lzop", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    ".gz": partial(gzip.compress, compresslevel=1),
    ".bz2": partial(bz2.compress, compresslevel=1),
    # In one frame, with the checksum that `zstd` writes.
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    **({".lzo": _lzop} if shutil.which("lzop") else {}),
}
SUFFIXES = ["", *PACKERS]


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    with open_checker() as opened:
        yield opened


assert ARCHIVE[LENGTH:] == b"".join(EXTENTS)

# Where a changed byte does something: fields, pointers, devices, names; and everywhere else.
header_places = st.one_of(
    st.integers(0, 63),
    st.integers(2044, 2056),
    st.integers(3068, 3080),
    st.integers(4096, 4096 + 4 * 32),
    st.integers(12288, LENGTH - 1),
    st.integers(0, LENGTH - 1),
)
extent_places = st.one_of(st.integers(0, 48), st.integers(40, 511))


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    header = bytearray(ARCHIVE[:LENGTH])
    for place in draw(st.lists(header_places, max_size=4)):
        header[place] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        header[56:60] = ARCHIVE[56:60]
        return seal_header(bytes(header))
    return bytes(header)


@st.composite
def extents(draw: st.DrawFn) -> bytes:
    extent = bytearray(draw(st.sampled_from(EXTENTS)))
    for place in draw(st.lists(extent_places, max_size=4)):
        extent[place] = draw(st.integers(0, 255))
    return seal_extent(bytes(extent)) if draw(st.booleans()) else bytes(extent)


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    header = draw(st.one_of(st.just(ARCHIVE[:LENGTH]), headers()))
    body = draw(
        st.one_of(st.just(EXTENTS), st.lists(st.one_of(st.sampled_from(EXTENTS), extents())))
    )
    data = header + b"".join(body) + draw(st.one_of(st.just(b""), st.binary(max_size=600)))
    cut = draw(st.one_of(st.just(0), st.integers(0, len(data))))
    return data[: len(data) - cut]


@settings(
    max_examples=MUTATIONS,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(archives(), st.sampled_from(SUFFIXES), st.integers(0, 2000), st.binary(max_size=4))
def test_a_damaged_archive_is_an_error_that_says_where_or_what_it_says(
    checker: Checker, data: bytes, suffix: str, place: int, noise: bytes
) -> None:
    if suffix:
        data = PACKERS[suffix](data)
        place %= len(data)
        data = data[:place] + noise + data[place + len(noise) :]
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / f"a.vma{suffix}"
        source.write_bytes(data)
        checker.check(source, Path(name) / "out")
        assert set(names_in(Path(name))) <= {source.name, "out"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_mutated_is_whole(checker: Checker, tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"a.vma{suffix}"
    source.write_bytes(PACKERS[suffix](ARCHIVE) if suffix else ARCHIVE)
    checker.check(source, tmp_path / "out")
    assert set(names_in(tmp_path / "out")) == {
        *CONF, "disk-drive-scsi0.raw", "disk-drive-virtio1.raw",
    }  # fmt: skip


def test_another_error_than_those_of_archives_is_told(checker: Checker, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="an archive is a file or a pipe"):
        checker.check(tmp_path, tmp_path / "out")
