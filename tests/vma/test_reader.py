"""Reading: Proxmox's own archives, every compression, and archives that lie."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import os
import resource
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trio
import zstandard

from netlab.errors import ArchiveError, StorageError, UnknownNameError, UsageError
from netlab.process import run
from netlab.vma import Range, index, open_archive, verify_archive
from netlab.vma.format.extents import build_extent, build_zero_extents
from netlab.vma.format.header import build_header
from netlab.vma.format.layout import BLOCK, CLUSTER, FULL
from tests.vma.archives import (
    CONF,
    SAMPLES,
    UUID_1,
    Sample,
    header_length,
    make_archive,
    make_extents,
    make_header,
    names_in,
    patch,
    pattern,
    seal_extent,
    seal_header,
)

DISKS = {
    "drive-scsi0": pattern(1, 0, 2) + bytes(90 * CLUSTER) + pattern(*range(1, 40)) + b"end",
    "drive-virtio1": pattern(7) * 100,
}
ARCHIVE = make_archive(DISKS)
LENGTH = header_length(ARCHIVE)
FILES = {
    "qemu-server.conf": CONF["qemu-server.conf"],
    **{f"disk-{name}.raw": data + bytes(-len(data) % 512) for name, data in DISKS.items()},
}


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def extract(source: Path | str, folder: Path) -> None:
    async with open_archive(source) as archive:
        await archive.extract(folder)


@pytest.mark.parametrize("sample", SAMPLES)
async def test_archives_of_the_real_tool_are_read_to_the_last_byte(
    sample: Sample, tmp_path: Path
) -> None:
    problems = await verify_archive(sample.path)
    assert [problem for problem in problems if not problem.warning] == []
    await extract(sample.path, tmp_path / "out")
    found = {
        name: (hashlib.sha256(data).hexdigest(), len(data))
        for name, data in read_all(tmp_path / "out").items()
    }
    assert found == sample.files


@pytest.mark.parametrize("sample", SAMPLES)
async def test_disks_of_the_real_tool_are_read_at_any_place(sample: Sample, tmp_path: Path) -> None:
    source = sample.path
    if source.suffix == ".zst":
        source = tmp_path / "plain.vma"
        source.write_bytes((await run(("zstd", "-dc", str(sample.path)))).stdout)
    async with open_archive(source) as archive:
        for device in archive.header.devices:
            disk = await archive.open_disk(device.name)
            content = bytearray(disk.size)
            for offset in range(0, disk.size, 100_000):
                await disk.read((offset, memoryview(content)[offset : offset + 100_000]))
            assert hashlib.sha256(content).hexdigest() == sample.files[device.file_name][0]


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
    packers = {"gz": gzip.compress, "bz2": bz2.compress, "zst": zstandard.compress}
    packed = (
        packers[suffix](archive)
        if suffix in packers
        else (await run(("lzop", "-c"), stdin=archive)).stdout
    )
    for number, damaged in enumerate([
        packed[: len(packed) // 2],
        patch(packed, len(packed) // 2, bytes(2000)),
        b"what is this",
        b"",
    ]):
        source = tmp_path / f"{number}.vma.{suffix}"
        source.write_bytes(damaged)
        with pytest.raises(ArchiveError, match=r"(byte \d+|lzop cannot|archive ends)"):
            await extract(source, tmp_path / "out")
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


async def test_one_disk_out_of_several_is_extracted_with_the_configurations(tmp_path: Path) -> None:
    (tmp_path / "a.vma").write_bytes(ARCHIVE)
    (tmp_path / "a.vma.gz").write_bytes(gzip.compress(ARCHIVE))
    for name in ("a.vma", "a.vma.gz"):
        async with open_archive(tmp_path / name) as archive:
            await archive.extract(tmp_path / f"{name}.out", disks=["drive-virtio1"])
        expected = {name: FILES[name] for name in ("qemu-server.conf", "disk-drive-virtio1.raw")}
        assert read_all(tmp_path / f"{name}.out") == expected


async def test_a_disk_that_is_asked_for_twice_is_extracted_once(tmp_path: Path) -> None:
    (tmp_path / "a.vma").write_bytes(ARCHIVE)
    async with open_archive(tmp_path / "a.vma") as archive:
        await archive.extract(tmp_path / "out", disks=["drive-scsi0", "drive-scsi0"])
    assert names_in(tmp_path / "out") == ["disk-drive-scsi0.raw", "qemu-server.conf"]


async def test_an_unknown_disk_names_those_that_there_are(tmp_path: Path) -> None:
    (tmp_path / "a.vma").write_bytes(ARCHIVE)
    async with open_archive(tmp_path / "a.vma") as archive:
        with pytest.raises(UnknownNameError, match="drive-scsi0, drive-virtio1"):
            await archive.extract(tmp_path / "out", disks=["drive-scsi1"])
        with pytest.raises(UnknownNameError, match="has no disk 'drive-scsi1'"):
            await archive.open_disk("drive-scsi1")
    assert not (tmp_path / "out").exists()


async def test_holes_stay_holes(tmp_path: Path) -> None:
    (tmp_path / "a.vma").write_bytes(make_archive({"a": bytes(900 * CLUSTER) + pattern(1)}))
    await extract(tmp_path / "a.vma", tmp_path / "out")
    assert (tmp_path / "out/disk-a.raw").stat().st_blocks * 512 < 2 * CLUSTER


async def test_a_map_says_what_is_stored(tmp_path: Path) -> None:
    (tmp_path / "a.vma").write_bytes(ARCHIVE)
    (tmp_path / "a.vma.gz").write_bytes(gzip.compress(ARCHIVE))
    start = 3 * BLOCK + 90 * CLUSTER
    for name in ("a.vma", "a.vma.gz"):
        async with open_archive(tmp_path / name) as archive:
            assert await archive.map() == {
                "drive-scsi0": (
                    Range(0, BLOCK), Range(2 * BLOCK, BLOCK), Range(start, 39 * BLOCK + 512),
                ),
                "drive-virtio1": (Range(0, 100 * BLOCK),),
            }  # fmt: skip


async def test_an_archive_can_be_read_again_and_a_pipe_cannot(tmp_path: Path) -> None:
    (tmp_path / "a.vma.gz").write_bytes(gzip.compress(ARCHIVE))
    async with open_archive(tmp_path / "a.vma.gz") as archive:
        await archive.extract(tmp_path / "one")
        await archive.extract(tmp_path / "two")
        with pytest.raises(UsageError, match="only be read in order"):
            await archive.open_disk("drive-scsi0")
    assert read_all(tmp_path / "one") == read_all(tmp_path / "two") == FILES
    os.mkfifo(tmp_path / "pipe")
    threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(ARCHIVE)).start()
    async with open_archive(tmp_path / "pipe") as archive:
        await archive.extract(tmp_path / "three")
        with pytest.raises(UsageError, match="can be read only once"):
            await archive.map()
    assert read_all(tmp_path / "three") == FILES


async def test_a_silent_pipe_can_be_given_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        os.write(writer, ARCHIVE[: LENGTH + 1000])
        async with open_archive(tmp_path / "pipe") as archive:
            with trio.move_on_after(0.3) as scope:
                await archive.extract(tmp_path / "out")
        assert scope.cancelled_caught
    finally:
        os.close(writer)
    assert names_in(tmp_path) == ["pipe"]


async def test_what_is_no_archive_is_told_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").write_bytes(b"QFI\xfb" + bytes(20_000))
    with pytest.raises(ArchiveError, match=r"disk\.qcow2: byte 0: this is not a VMA archive"):
        await extract(tmp_path / "disk.qcow2", tmp_path / "out")
    with pytest.raises(StorageError, match="No such file"):
        await extract(tmp_path / "nothing.vma", tmp_path / "out")
    with pytest.raises(UsageError, match="a file or a pipe"):
        await extract(tmp_path, tmp_path / "out")


async def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.vma").write_bytes(ARCHIVE)
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="it is there already"):
        await extract(tmp_path / "a.vma", tmp_path / "out")
    assert names_in(tmp_path / "out") == []


@pytest.mark.parametrize("name", [".", "/", ""])
async def test_a_folder_without_a_name_of_its_own_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.vma").write_bytes(ARCHIVE)
    with pytest.raises(UsageError, match="it is there already"):
        await extract("a.vma", Path(name))
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


EXTENTS = [
    extent for number, data in enumerate(DISKS.values(), 1) for extent in make_extents(number, data)
]
HEAD = ARCHIVE[:LENGTH]
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


async def test_clusters_may_come_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "a.vma").write_bytes(HEAD + b"".join(reversed(EXTENTS)))
    await extract(tmp_path / "a.vma", tmp_path / "out")
    assert read_all(tmp_path / "out") == FILES
    async with open_archive(tmp_path / "a.vma") as archive:
        disk = await archive.open_disk("drive-scsi0")
        content = bytearray(disk.size)
        await disk.read((0, memoryview(content)))
        assert content == FILES["disk-drive-scsi0.raw"]
        assert [each.offset for each in [item async for item in disk.data_ranges()]] == [
            0, 58 * CLUSTER,
        ]  # fmt: skip


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


async def test_what_is_behind_the_end_of_a_disk_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.vma").write_bytes(ARCHIVE)
    async with open_archive(tmp_path / "a.vma") as archive:
        disk = await archive.open_disk("drive-virtio1")
        for offset in (-1, disk.size):
            with pytest.raises(ValueError, match="are not in 409600 bytes"):
                await disk.read((offset, memoryview(bytearray(1))))


async def test_zeros_and_padding_that_are_stored_all_the_same_are_taken(tmp_path: Path) -> None:
    size = CLUSTER + 512
    disk = make_header({"a": bytes(size)}, {})
    extent = build_extent(UUID_1.bytes, 1, 0, [FULL, FULL]) + bytes(CLUSTER) + b"\xff" * CLUSTER
    (tmp_path / "a.vma").write_bytes(build_header(disk) + extent)
    await extract(tmp_path / "a.vma", tmp_path / "out")
    assert read_all(tmp_path / "out") == {"disk-a.raw": bytes(CLUSTER) + b"\xff" * 512}


async def test_saved_memory_is_a_file_of_its_own(tmp_path: Path) -> None:
    header = make_header({"vmstate": bytes(CLUSTER), "drive-scsi0": pattern(1)}, {})
    state = build_extent(UUID_1.bytes, 1, 0, [FULL, 1]) + pattern(1) * 16 + pattern(2)
    disk = build_extent(UUID_1.bytes, 2, 0, [1]) + pattern(1)
    (tmp_path / "a.vma").write_bytes(build_header(header) + state + disk)
    await extract(tmp_path / "a.vma", tmp_path / "out")
    assert read_all(tmp_path / "out") == {
        "vmstate.bin": pattern(1) * 16 + pattern(2),
        "disk-drive-scsi0.raw": pattern(1),
    }


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


@pytest.mark.parametrize("wanted", [None, "other"])
async def test_turns_are_short_however_much_is_passed_over(
    tmp_path: Path, wanted: str | None
) -> None:
    """Between two of them it is told how far it is, and a cancellation is heard."""
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
    assert len(told) == 3


async def test_verify_keeps_only_so_many_problems(tmp_path: Path) -> None:
    wrong = build_extent(UUID_1.bytes, 9, 0, [0])
    (tmp_path / "a.vma").write_bytes(ARCHIVE + wrong * 1500)
    problems = await verify_archive(tmp_path / "a.vma")
    assert len(problems) == 1001
    assert str(problems[-1]) == "and 500 more"


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
