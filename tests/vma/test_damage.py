"""Archives that lie, are cut, or change: told with the place, and nothing is left."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pytest
import trio
import zstandard

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


@pytest.mark.parametrize("shift", [0, 100])
async def test_the_next_extent_is_found_behind_a_hole_that_is_not_read(
    tmp_path: Path, shift: int
) -> None:
    """Reading the hole would take a quarter of an hour at 1 GiB/s."""
    header = bytearray(HEAD + bytes(shift))
    header[56:60] = (LENGTH + shift).to_bytes(4, "big")
    far = LENGTH + shift + (1 << 40)
    with (tmp_path / "a.vma").open("wb") as file:
        file.write(seal_header(bytes(header)) + EXTENTS[0] + b"junk")
        file.seek(far)
        file.write(b"".join(EXTENTS[1:]) + b"tail")
    with trio.fail_after(30):
        problems = await verify_archive(tmp_path / "a.vma")
    assert [(each.offset, each.message.partition(":")[0]) for each in problems] == [
        (LENGTH + shift + len(EXTENTS[0]), "no extent begins here"),
        (far + sum(map(len, EXTENTS[1:])), "the archive ends after 4 bytes of an extent's header"),
    ]


async def test_what_looks_like_an_extent_and_is_none_is_searched_through(tmp_path: Path) -> None:
    """Places at which an extent may begin, and others; another archive's; one that is broken."""
    other = build_extent(bytes(16), 1, 0, [0])
    broken = patch(EXTENTS[1][:512], 100, b"\xff")
    noise = b"VMAE" * 1024 + other * 3000 + b"x" * 512 + broken
    (tmp_path / "a.vma").write_bytes(HEAD + EXTENTS[0] + noise + b"".join(EXTENTS[1:]))
    problems = await verify_archive(tmp_path / "a.vma")
    start = LENGTH + len(EXTENTS[0])
    assert [(each.offset, each.extent) for each in problems] == [
        (start, 1), (start + len(noise) - 512, 2),
    ]  # fmt: skip


def make_zeros(gibibytes: int) -> bytes:
    """Return a frame of zstd that is so many bytes of zeros, 4 bytes for each 128 KiB."""
    block = 131072 << 3 | 1 << 1
    blocks = [block] * (gibibytes * 8192 - 1) + [block | 1]
    return b"\x28\xb5\x2f\xfd\x00\x38" + b"".join(
        each.to_bytes(3, "little") + b"\0" for each in blocks
    )


async def test_a_search_for_the_next_extent_is_quick_and_can_be_given_up(tmp_path: Path) -> None:
    """It takes a second for 2 GiB; 512 bytes at a time took 12."""
    packed = zstandard.ZstdCompressor(write_checksum=True).compress(ARCHIVE)
    (tmp_path / "short.vma.zst").write_bytes(packed + make_zeros(2))
    with trio.fail_after(8):
        assert len(await verify_archive(tmp_path / "short.vma.zst")) == 1
    (tmp_path / "a.vma.zst").write_bytes(packed + make_zeros(200))
    with trio.fail_after(5), trio.move_on_after(0.3) as scope:
        await verify_archive(tmp_path / "a.vma.zst")
    assert scope.cancelled_caught


async def test_verify_keeps_only_so_many_problems(tmp_path: Path) -> None:
    wrong = build_extent(UUID_1.bytes, 9, 0, [0])
    (tmp_path / "a.vma").write_bytes(ARCHIVE + wrong * 1500)
    problems = await verify_archive(tmp_path / "a.vma")
    assert len(problems) == 1001
    assert str(problems[-1]) == "and 500 more"


async def test_missing_clusters_that_are_too_many_are_counted_in_an_instant(tmp_path: Path) -> None:
    """Telling each of them took minutes in which no Ctrl-C was heard."""
    clusters = 1 << 21
    header = build_header(make_header({"a": bytes(CLUSTER)}, {}))
    size = (clusters * CLUSTER).to_bytes(8, "big")
    slots = [1 << 32 | cluster for cluster in range(0, clusters, 2)]
    with (tmp_path / "a.vma").open("wb") as file:
        file.write(seal_header(patch(header, 4096 + 32 + 8, size)))
        for first in range(0, len(slots), 59):
            listed = struct.pack(
                ">59Q", *slots[first : first + 59], *[0] * (first + 59 - len(slots))
            )
            file.write(seal_extent(build_extent(UUID_1.bytes, 1, 0, [0])[:40] + listed))
    turns: list[float] = []
    problems = await verify_archive(
        tmp_path / "a.vma", progress=lambda _done, _total: turns.append(time.monotonic())
    )
    assert time.monotonic() - turns[-1] < 2
    assert [str(problem) for problem in problems[:2]] == [
        f"a: cluster 1 of {clusters} is missing", f"a: cluster 3 of {clusters} is missing",
    ]  # fmt: skip
    assert len(problems) == 1001
    assert str(problems[-1]) == f"and {clusters // 2 - 1000} more"
