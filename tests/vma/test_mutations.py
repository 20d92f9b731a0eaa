"""Damaged archives: an error that says where, or what the archive says; never anything else.

More are tried by `NETLAB_MUTATIONS=20000 scripts/test -o faulthandler_timeout=0` with this file.
"""

from __future__ import annotations

import gzip
import os
import re
import tempfile
from pathlib import Path

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netlab.errors import ArchiveError, StorageError
from netlab.vma import Header, open_archive, verify_archive
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
@given(archives(), st.booleans(), st.integers(0, 2000), st.binary(max_size=4))
def test_a_damaged_archive_is_an_error_that_says_where_or_what_it_says(
    data: bytes, packed: bool, place: int, noise: bytes
) -> None:
    if packed:
        data = gzip.compress(data, 1)
        place %= len(data)
        data = data[:place] + noise + data[place + len(noise) :]
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / ("a.vma.gz" if packed else "a.vma")
        source.write_bytes(data)
        trio.run(check, source, Path(name) / "out")
        assert set(names_in(Path(name))) <= {source.name, "out"}


async def check(source: Path, folder: Path) -> None:
    problems = await verify_archive(source)
    wrong = [problem for problem in problems if not problem.warning]
    outcome = await extract(source, folder)
    if isinstance(outcome, ArchiveError):
        assert wrong
        assert re.search(r"byte \d+|cluster|both the file", outcome.message)
    elif isinstance(outcome, StorageError):
        # A size that was changed may be more than the file system has files for.
        assert outcome.path.startswith(str(folder))
    else:
        assert wrong == []
        for device in outcome.devices:
            if not device.is_saved_state:
                assert (await trio.Path(folder / device.file_name).stat()).st_size == device.size
        files = (*outcome.configs, *outcome.devices)
        assert len(names_in(folder)) == len(files)


async def extract(source: Path, folder: Path) -> Header | ArchiveError | StorageError:
    """Return what an archive says of itself, or why it cannot be extracted."""
    try:
        with trio.fail_after(60):
            async with open_archive(source) as archive:
                await archive.extract(folder)
    except (ArchiveError, StorageError) as error:
        return error
    return archive.header


def test_what_is_mutated_is_whole() -> None:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "a.vma").write_bytes(ARCHIVE)
        trio.run(check, Path(name) / "a.vma", Path(name) / "out")
        assert set(names_in(Path(name) / "out")) == {
            *CONF, "disk-drive-scsi0.raw", "disk-drive-virtio1.raw",
        }  # fmt: skip
