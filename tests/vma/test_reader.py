"""Reading: Proxmox's own archives, whole and in parts."""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
from functools import partial
from pathlib import Path

import pytest
import trio

from netlab.errors import ArchiveError, UnknownNameError, UsageError
from netlab.process import run
from netlab.vma import Range, open_archive, verify_archive
from netlab.vma.format.extents import build_extent
from netlab.vma.format.header import build_header
from netlab.vma.format.layout import BLOCK, CLUSTER, FULL, STATE_SLACK
from tests.vma.archives import (
    SAMPLES,
    UUID_1,
    Sample,
    make_archive,
    make_header,
    make_state_header,
    names_in,
    pattern,
)
from tests.vma.reading import ARCHIVE, EXTENTS, FILES, HEAD, LENGTH, extract, read_all


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
    """As many bytes as came, zeros at the end among them, whatever the header says."""
    header = make_state_header(CLUSTER, {"drive-scsi0": pattern(1)})
    state = build_extent(UUID_1.bytes, 1, 0, [FULL, 1, 0]) + pattern(1) * 16 + pattern(2)
    disk = build_extent(UUID_1.bytes, 2, 0, [1]) + pattern(1)
    (tmp_path / "a.vma").write_bytes(header + state + disk)
    await extract(tmp_path / "a.vma", tmp_path / "out")
    memory = pattern(1) * 16 + pattern(2) + bytes(15 * BLOCK + CLUSTER)
    assert read_all(tmp_path / "out") == {
        "vmstate.bin": memory,
        "disk-drive-scsi0.raw": pattern(1),
    }
    async with open_archive(tmp_path / "a.vma") as archive:
        assert (await archive.map())["vmstate"] == (Range(0, CLUSTER + BLOCK),)
        assert archive.sizes == {"vmstate": 3 * CLUSTER, "drive-scsi0": BLOCK}
        saved = await archive.open_disk("vmstate")
        content = bytearray(saved.size)
        await saved.read((0, memoryview(content)))
        assert content == memory
    assert await verify_archive(tmp_path / "a.vma") == ()


async def test_saved_memory_far_larger_than_the_header_says_is_refused(tmp_path: Path) -> None:
    """A few bytes could be any number of them: whoever asked `list` knows better."""
    most = 2 + STATE_SLACK
    data = make_state_header(CLUSTER, {"drive-scsi0": pattern(1)})
    data += build_extent(UUID_1.bytes, 2, 0, [1]) + pattern(1)
    for first in range(0, most, 43):
        data += build_extent(UUID_1.bytes, 1, first, [0] * 43)
    (tmp_path / "whole.vma").write_bytes(data)
    assert await verify_archive(tmp_path / "whole.vma") == ()
    await extract(tmp_path / "whole.vma", tmp_path / "whole")
    assert (tmp_path / "whole/vmstate.bin").stat().st_size == most * CLUSTER
    (tmp_path / "a.vma").write_bytes(
        data + build_extent(UUID_1.bytes, 1, most, [FULL]) + bytes(CLUSTER)
    )
    message = f"vmstate: cluster {most} is too much of saved memory: the header has 1 clusters"
    with pytest.raises(ArchiveError, match=message):
        await extract(tmp_path / "a.vma", tmp_path / "out")
    async with open_archive(tmp_path / "a.vma") as archive:
        for read in (archive.map, partial(archive.open_disk, "vmstate")):
            with pytest.raises(ArchiveError, match=message):
                await read()
    (problem,) = await verify_archive(tmp_path / "a.vma")
    assert message in problem.message
    assert not (tmp_path / "out").exists()
