"""cpio.py: the same bytes for the same entries, and an archive that others read back."""

from __future__ import annotations

import random
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.errors import ImageError
from netlab.image.cpio import Entry, write
from tests.image.initrds import parse

_NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
_FORBIDDEN = {".", "..", "TRAILER!!!"}
_PATHS = st.lists(_NAMES.filter(lambda name: name not in _FORBIDDEN), min_size=1, max_size=4).map(
    "/".join
)


@given(st.dictionaries(_PATHS, st.binary(max_size=50), max_size=8), st.randoms())
def test_what_is_written_is_read_back_whatever_the_order(
    files: dict[str, bytes], shuffler: random.Random
) -> None:
    entries = {
        path: Entry(path=path, mode=stat.S_IFREG | 0o644, data=data) for path, data in files.items()
    }
    for path in files:
        for parent in (path.rsplit("/", count)[0] for count in range(1, path.count("/") + 1)):
            entries[parent] = Entry(path=parent, mode=stat.S_IFDIR | 0o755)
    shuffled = list(entries.values())
    shuffler.shuffle(shuffled)
    archive = write(shuffled)
    assert archive == write(entries.values())
    read = parse(archive)
    assert {entry.path: entry for entry in read} == entries
    places = {entry.path: number for number, entry in enumerate(read)}
    assert all(
        places[entry.path.rpartition("/")[0]] < number
        for number, entry in enumerate(read)
        if "/" in entry.path
    )


def test_links_devices_and_the_root_are_kept() -> None:
    entries = [
        Entry(path=".", mode=stat.S_IFDIR | 0o755),
        Entry(path="console", mode=stat.S_IFCHR | 0o600, device=(5, 1)),
        Entry(path="link", mode=stat.S_IFLNK | 0o777, data=b"../console"),
    ]
    assert parse(write(entries)) == entries


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "../a", "a/..", "a\0b", "TRAILER!!!"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(ImageError, match="not a path"):
        write([Entry(path=path, mode=stat.S_IFREG)])


def test_a_path_without_its_folder_is_refused() -> None:
    with pytest.raises(ImageError, match="/a/b has no folder"):
        write([Entry(path="a/b", mode=stat.S_IFREG)])


def test_a_file_is_no_folder() -> None:
    with pytest.raises(ImageError, match="/a/b has no folder"):
        write([Entry(path="a", mode=stat.S_IFREG), Entry(path="a/b", mode=stat.S_IFREG)])


def test_two_entries_of_one_path_are_refused() -> None:
    with pytest.raises(ImageError, match="two entries for /a"):
        write([Entry(path="a", mode=stat.S_IFREG), Entry(path="a", mode=stat.S_IFDIR)])


def test_a_name_that_the_kernel_would_refuse_is_refused() -> None:
    with pytest.raises(ImageError, match="too large"):
        write([Entry(path="a" * 5000, mode=stat.S_IFREG)])
