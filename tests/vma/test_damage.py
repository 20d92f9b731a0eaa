"""Archives that lie, are cut, or change: told with the place, and nothing is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from netlab.errors import ArchiveError, StorageError, UsageError
from netlab.vma import index, open_archive, verify_archive
from netlab.vma.format.extents import build_extent
from netlab.vma.format.header import build_header
from netlab.vma.format.layout import BLOCK, CLUSTER
from tests.vma.archives import (
    UUID_1,
    make_archive,
    make_header,
    names_in,
    patch,
    pattern,
    seal_extent,
    seal_header,
)
from tests.vma.reading import ARCHIVE, DISKS, EXTENTS, HEAD, LENGTH, extract


async def test_what_is_no_archive_is_told_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").write_bytes(b"QFI\xfb" + bytes(20_000))
    with pytest.raises(ArchiveError, match=r"disk\.qcow2: byte 0: this is not a VMA archive"):
        await extract(tmp_path / "disk.qcow2", tmp_path / "out")
    with pytest.raises(StorageError, match="No such file"):
        await extract(tmp_path / "nothing.vma", tmp_path / "out")
    with pytest.raises(UsageError, match="a file or a pipe"):
        await extract(tmp_path, tmp_path / "out")


async def test_of_two_damages_the_first_is_told(tmp_path: Path) -> None:
    """Who reads ahead meets the second while the first is being written."""
    full = bytes([1]) * (58 * CLUSTER)
    header = make_header({"drive-scsi0": bytes(58 * 2 * CLUSTER)}, {})
    twice = build_extent(UUID_1.bytes, 1, 0, [1]) + bytes(BLOCK)
    cut = build_extent(UUID_1.bytes, 1, 58, [0xFFFF] * 58) + bytes(BLOCK)
    first = build_extent(UUID_1.bytes, 1, 0, [0xFFFF] * 58) + full
    (tmp_path / "a.vma").write_bytes(build_header(header) + first + twice + cut)
    with pytest.raises(ArchiveError, match=r"a\.vma: extent 1 .*cluster 0 is there twice"):
        await extract(tmp_path / "a.vma", tmp_path / "out")
    assert names_in(tmp_path) == ["a.vma"]


def evil(name: bytes, new: bytes) -> bytes:
    return seal_header(patch(ARCHIVE, ARCHIVE.index(name), new))


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (evil(b"qemu-server.conf", b"../evil-one.conf"), "its name '../evil-one.conf' is not safe"),
        (evil(b"qemu-server.conf", b"/tmp/evil12.conf"), "its name '/tmp/evil12.conf' is not safe"),
        (evil(b"drive-scsi0", b"a/../../evi"), "its name 'a/../../evi' is not safe"),
    ],
)
async def test_a_name_that_leads_out_is_never_written(
    tmp_path: Path, archive: bytes, message: str
) -> None:
    folder = tmp_path / "a/b"
    folder.mkdir(parents=True)
    (folder / "evil.vma").write_bytes(archive)
    with pytest.raises(ArchiveError, match=message):
        await extract(folder / "evil.vma", folder / "out")
    assert [names_in(each) for each in (tmp_path, tmp_path / "a", folder)] == [
        ["a"], ["b"], ["evil.vma"],
    ]  # fmt: skip


END = len(ARCHIVE)


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (HEAD, "drive-scsi0: clusters 0 to 92 of 93 are missing"),
        (HEAD + EXTENTS[0] + EXTENTS[2], "drive-scsi0: clusters 58 to 92 of 93 are missing"),
        (ARCHIVE + EXTENTS[0], f"extent 3 at byte {END}: drive-scsi0: cluster 0 is there twice"),
        (ARCHIVE + b"x", f"extent 3 at byte {END}: the archive ends after 1 bytes of an extent's"),
        (ARCHIVE + bytes(4096), f"extent 3 at byte {END}: no extent begins here"),
        (
            ARCHIVE[:-1],
            f"extent 2 at byte {END - 1}: the archive ends after 409599 of 409600 bytes",
        ),
        (ARCHIVE[: LENGTH + 100], "extent 0 at byte 12800: the archive ends after 100 bytes"),
        (ARCHIVE[: LENGTH - 1], "byte 12799: the archive ends in its header"),
        (ARCHIVE[:1000], "byte 1000: the archive ends in its header"),
        (b"", "byte 0: this is not a VMA archive"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_archive_that_is_cut_or_grown_says_where(
    tmp_path: Path, archive: bytes, message: str
) -> None:
    (tmp_path / "a.vma").write_bytes(archive)
    with pytest.raises(ArchiveError, match=message):
        await extract(tmp_path / "a.vma", tmp_path / "out")
    assert names_in(tmp_path) == ["a.vma"]
    problems = await verify_archive(tmp_path / "a.vma")
    assert any(message in str(problem) for problem in problems)


@pytest.mark.parametrize("limited", [0, 1])
async def test_clusters_that_are_too_scattered_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limited: int
) -> None:
    monkeypatch.setattr(index, "MAX_RUNS", 1)
    (tmp_path / "a.vma").write_bytes(ARCHIVE)
    async with open_archive(tmp_path / "a.vma") as archive:
        with pytest.raises(ArchiveError, match="too scattered for"):
            await (archive.map() if limited else archive.open_disk("drive-scsi0"))


async def test_an_archive_that_changes_while_it_is_open_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.vma").write_bytes(ARCHIVE)
    async with open_archive(tmp_path / "a.vma") as archive:
        disk = await archive.open_disk("drive-virtio1")
        part = memoryview(bytearray(BLOCK))
        os.truncate(tmp_path / "a.vma", END - BLOCK)
        await disk.read((0, part))
        with pytest.raises(ArchiveError, match=f"byte {END - BLOCK}: the archive has become"):
            await disk.read((99 * BLOCK, part))
        other = make_archive(dict.fromkeys(DISKS, DISKS["drive-scsi0"]))
        (tmp_path / "a.vma").write_bytes(patch(other, END - 410_112, EXTENTS[0][:512]))
        with pytest.raises(ArchiveError, match="the archive has changed"):
            await disk.read((0, part))


async def test_verify_tells_everything_and_goes_on_behind_what_is_broken(tmp_path: Path) -> None:
    header = make_header({"a": bytes(400 * CLUSTER)}, {})
    extents = [
        build_extent(UUID_1.bytes, 1, first, [1] * 50) + pattern(9) * 50
        for first in range(0, 400, 50)
    ]
    extents[1] = patch(extents[1], 60, b"\xff\xff")
    extents[3] = seal_extent(patch(extents[3], 8, b"another"))
    extents[5] = extents[4]
    extents.insert(7, build_extent(UUID_1.bytes, 3, 0, [0]))
    (tmp_path / "a.vma").write_bytes(build_header(header) + b"".join(extents) + b"tail")
    problems = [str(each).split(": ", 1)[1] for each in await verify_archive(tmp_path / "a.vma")]
    assert problems == [
        "the checksum of the extent's header is wrong",
        "the extent belongs to another archive: its UUID differs",
        "a: cluster 200 is there twice",
        "cluster 0 is of device 3, which there is not",
        "the archive ends after 4 bytes of an extent's header",
        "clusters 50 to 99 of 400 are missing",
        "clusters 150 to 199 of 400 are missing",
        "clusters 250 to 299 of 400 are missing",
    ]


async def test_a_search_for_the_next_extent_can_be_given_up(tmp_path: Path) -> None:
    (tmp_path / "a.vma").write_bytes(ARCHIVE)
    os.truncate(tmp_path / "a.vma", 1 << 40)
    with trio.move_on_after(0.3) as scope:
        await verify_archive(tmp_path / "a.vma")
    assert scope.cancelled_caught


async def test_verify_keeps_only_so_many_problems(tmp_path: Path) -> None:
    wrong = build_extent(UUID_1.bytes, 9, 0, [0])
    (tmp_path / "a.vma").write_bytes(ARCHIVE + wrong * 1500)
    problems = await verify_archive(tmp_path / "a.vma")
    assert len(problems) == 1001
    assert str(problems[-1]) == "and 500 more"
