"""Writing: the same bytes everywhere, from any source, and nothing left when it fails."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from dissect.archive.vma import VMA
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netlab.errors import ArchiveError, StorageError, UsageError
from netlab.vma import (
    Contents,
    DiskSource,
    Range,
    create_archive,
    open_archive,
    open_disk,
    verify_archive,
)
from netlab.vma.format.layout import CLUSTER
from netlab.vma.source import Span
from tests.vma.archives import (
    CONF,
    CONTENT,
    CREATED,
    EXPECTED,
    UUID_1,
    MemoryDisk,
    contents,
    make_archive,
    names_in,
    pattern,
)
from tests.vma.conftest import Mount


async def test_a_dense_file_a_sparse_file_and_a_source_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "dense").write_bytes(CONTENT)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(len(CONTENT))
        for start in range(0, len(CONTENT), 4096):
            block = CONTENT[start : start + 4096]
            if block.strip(b"\0"):
                file.seek(start)
                file.write(block)
    assert (tmp_path / "sparse").stat().st_blocks < (tmp_path / "dense").stat().st_blocks
    for name in ("dense", "sparse"):
        async with open_disk(tmp_path / name) as disk:
            await create_archive(tmp_path / f"{name}.vma", contents(disk))
        assert (tmp_path / f"{name}.vma").read_bytes() == EXPECTED
    end = len(CONTENT)
    for number, ranges in enumerate([
        (Range(0, end),),
        (Range(0, 12288), Range(200 * CLUSTER, end - 200 * CLUSTER)),
        (Range(0, 4096), Range(8192, 4096), Range(8000 * 16, end - 8000 * 16)),
    ]):
        target = tmp_path / f"source-{number}.vma"
        await create_archive(target, contents(MemoryDisk(CONTENT, ranges)))
        assert target.read_bytes() == EXPECTED


async def test_a_block_device_gives_the_same_bytes(
    tmp_path: Path, block_device: Callable[[bytes], Path]
) -> None:
    content = CONTENT + bytes(-len(CONTENT) % 4096)
    async with open_disk(block_device(content)) as disk:
        assert disk.size == len(content)
        await create_archive(tmp_path / "a.vma", contents(disk))
    assert (tmp_path / "a.vma").read_bytes() == make_archive({"drive-scsi0": content})


@pytest.mark.parametrize("kind", ["ramfs", "tmpfs", "loop"])
async def test_every_file_system_gets_the_same_bytes(mount: Mount, kind: str) -> None:
    folder = mount(kind)
    (folder / "disk.raw").write_bytes(CONTENT)
    async with open_disk(folder / "disk.raw") as disk:
        await create_archive(folder / "a.vma", contents(disk))
    assert (folder / "a.vma").read_bytes() == EXPECTED
    async with open_archive(folder / "a.vma") as archive:
        await archive.extract(folder / "out")
    assert (folder / "out/disk-drive-scsi0.raw").read_bytes()[: len(CONTENT)] == CONTENT
    assert names_in(folder) == sorted({
        "a.vma", "disk.raw", "out", *({"lost+found"} if kind == "loop" else ()),
    })  # fmt: skip


async def test_a_pipe_gets_the_same_bytes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    await create_archive(tmp_path / "pipe", contents(MemoryDisk(CONTENT)))
    await trio.to_thread.run_sync(reader.join)
    assert received == [EXPECTED]


async def test_an_archive_goes_through_pipes_from_end_to_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    async def read() -> None:
        async with open_archive(tmp_path / "pipe") as archive:
            await archive.extract(tmp_path / "out")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await create_archive(tmp_path / "pipe", contents(MemoryDisk(CONTENT)))
    assert (tmp_path / "out/disk-drive-scsi0.raw").read_bytes()[: len(CONTENT)] == CONTENT


blocks = st.lists(
    st.sampled_from([(0, 1), (1, 1), (0, 40), (7, 40), (0, 2000), (9, 900)]), min_size=1, max_size=8
).map(lambda runs: pattern(*(number for number, count in runs for _ in range(count))))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(blocks, min_size=1, max_size=3), st.integers(0, 4095))
def test_disks_come_back_as_they_were(disks: list[bytes], cut: int) -> None:
    disks[0] = (disks[0] + bytes(CLUSTER + 4096))[: -cut or None]

    async def pass_through(folder: trio.Path) -> None:
        named = {f"drive-scsi{number}": MemoryDisk(data) for number, data in enumerate(disks)}
        await create_archive(Path(folder / "a.vma"), Contents(disks=named, configs=CONF))
        assert await verify_archive(Path(folder / "a.vma")) == ()
        async with open_archive(Path(folder / "a.vma")) as archive:
            await archive.extract(Path(folder / "out"))
            for name, disk in named.items():
                found = await (folder / "out" / f"disk-{name}.raw").read_bytes()
                assert found == disk.data + bytes(-len(disk.data) % 512)
                await compare(await archive.open_disk(name), found)

    with tempfile.TemporaryDirectory() as folder:
        trio.run(pass_through, trio.Path(folder))


async def compare(disk: DiskSource, expected: bytes) -> None:
    """Read a disk as the writer does: what is outside of its ranges must be zeros."""
    found = bytearray(disk.size)
    async for each in disk.data_ranges():
        part = memoryview(found)[each.offset : each.end]
        await disk.read((each.offset, part))
    assert bytes(found) == expected
    for offset in (0, 511, len(expected) // 2):
        length = min(70_000, len(expected) - offset)
        part = memoryview(bytearray(length))
        await disk.read((offset, part))
        assert bytes(part) == expected[offset : offset + length]


async def test_another_implementation_reads_what_is_written(tmp_path: Path) -> None:
    disks = {"drive-scsi0": MemoryDisk(CONTENT), "drive-virtio1": MemoryDisk(pattern(5) * 3)}
    await create_archive(tmp_path / "a.vma", Contents(disks=disks, configs=CONF, uuid=UUID_1))
    with (tmp_path / "a.vma").open("rb") as file:
        archive = VMA(file)
        assert archive.uuid == UUID_1
        assert archive.config("qemu-server.conf") == CONF["qemu-server.conf"]
        found = {device.name: device.open().read() for device in archive.devices()}
    assert found == {name: disk.data + bytes(-len(disk.data) % 512) for name, disk in disks.items()}


async def test_an_archive_may_hold_configurations_alone(tmp_path: Path) -> None:
    await create_archive(tmp_path / "a.vma", Contents(configs=CONF, uuid=UUID_1, created=CREATED))
    assert (tmp_path / "a.vma").read_bytes() == make_archive({})
    assert await verify_archive(tmp_path / "a.vma") == ()


async def test_a_disk_of_an_archive_is_a_source_of_another(tmp_path: Path) -> None:
    (tmp_path / "a.vma").write_bytes(EXPECTED)
    async with open_archive(tmp_path / "a.vma") as archive:
        disk = await archive.open_disk("drive-scsi0")
        await create_archive(tmp_path / "b.vma", contents(disk))
    assert (tmp_path / "b.vma").read_bytes() == EXPECTED


async def test_progress_grows_up_to_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netlab.vma.progress.PERIOD", 0)
    told: list[tuple[int, int]] = []
    disk = MemoryDisk(CONTENT)
    await create_archive(
        tmp_path / "a.vma", contents(disk), progress=lambda done, total: told.append((done, total))
    )
    assert len(told) > 2
    assert told == sorted(told)
    assert told[-1] == (len(CONTENT), len(CONTENT))


async def test_a_progress_that_fails_ends_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netlab.vma.progress.PERIOD", 0)

    def fail(done: int, total: int) -> None:
        raise BrokenPipeError(f"{done} of {total}")

    with pytest.raises(BrokenPipeError, match="of"):
        await create_archive(
            tmp_path / "a.vma", contents(MemoryDisk(pattern(1) * 8000)), progress=fail
        )
    assert names_in(tmp_path) == []


async def test_more_archives_than_trio_has_threads_are_written_at_once(tmp_path: Path) -> None:
    count = int(trio.to_thread.current_default_thread_limiter().total_tokens) + 10
    async with trio.open_nursery() as nursery:
        for number in range(count):
            path = tmp_path / f"{number}.vma"
            nursery.start_soon(create_archive, path, contents(MemoryDisk(CONTENT)))
    names = names_in(tmp_path)
    assert len(names) == count
    assert {(tmp_path / name).read_bytes() for name in names} == {EXPECTED}


async def test_a_full_disk_leaves_nothing_and_is_named(mount: Mount) -> None:
    folder = mount("tiny")
    with pytest.raises(StorageError, match="No space left on device") as caught:
        await create_archive(folder / "a.vma", contents(MemoryDisk(pattern(1) * 1000)))
    assert (caught.value.path, caught.value.errno) == (str(folder / "a.vma"), errno.ENOSPC)
    assert caught.value.exit_code == 3
    assert names_in(folder) == []


async def test_a_full_disk_leaves_nothing_of_an_extraction(mount: Mount, tmp_path: Path) -> None:
    (tmp_path / "a.vma").write_bytes(make_archive({"drive-scsi0": pattern(1) * 1000}))
    folder = mount("tiny")
    async with open_archive(tmp_path / "a.vma") as archive:
        with pytest.raises(StorageError) as caught:
            await archive.extract(folder / "out")
    assert caught.value.path == str(folder / "out/disk-drive-scsi0.raw")
    assert caught.value.errno == errno.ENOSPC
    assert names_in(folder) == []


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (Contents(), "needs a disk or a configuration"),
        (Contents(disks={"a": MemoryDisk(b"")}), "it is empty"),
        (Contents(disks={"a": MemoryDisk(b"x" * 65000)}), "every disk is smaller"),
        (Contents(disks={"a/b": MemoryDisk(CONTENT)}), "it has a slash"),
        (Contents(disks={"vmstate": MemoryDisk(CONTENT)}), "the name is that of saved memory"),
        (Contents(configs={"a": b"x" * 65536}), "65535 at most"),
        (Contents(disks={str(n): MemoryDisk(CONTENT) for n in range(255)}), "too many"),
    ],
)
async def test_what_cannot_be_is_said_before_the_first_byte(
    tmp_path: Path, archive: Contents, message: str
) -> None:
    with pytest.raises(ArchiveError, match=message):
        await create_archive(tmp_path / "a.vma", archive)
    assert names_in(tmp_path) == []


async def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.vma").write_bytes(b"precious")
    (tmp_path / "link.vma").symlink_to(tmp_path / "nowhere")
    for name in ("a.vma", "link.vma"):
        with pytest.raises(UsageError, match=f"{name}: it is there already"):
            await create_archive(tmp_path / name, contents(MemoryDisk(CONTENT)))
    assert (tmp_path / "a.vma").read_bytes() == b"precious"
    assert names_in(tmp_path) == ["a.vma", "link.vma"]


async def test_a_file_that_comes_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.vma"

    def come(_done: int, _total: int) -> None:
        path.write_text("mine")

    with pytest.raises(UsageError, match=r"a\.vma: it is there already"):
        await create_archive(path, contents(MemoryDisk(CONTENT)), progress=come)
    assert path.read_text() == "mine"
    assert names_in(tmp_path) == ["a.vma"]


async def test_a_file_system_without_links_takes_archives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    await create_archive(tmp_path / "a.vma", contents(MemoryDisk(CONTENT)))
    assert names_in(tmp_path) == ["a.vma"]
    assert await verify_archive(tmp_path / "a.vma") == ()


async def test_an_archive_without_a_name_is_refused() -> None:
    with pytest.raises(UsageError, match="an archive needs a name"):
        await create_archive("", contents(MemoryDisk(CONTENT)))


async def test_a_folder_that_is_not_there_is_told_with_errno(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file or directory") as caught:
        await create_archive(tmp_path / "no/a.vma", contents(MemoryDisk(CONTENT)))
    assert caught.value.errno == errno.ENOENT


class _Failing(MemoryDisk):
    """Fails in its middle, or waits there for ever."""

    async def read(self, *spans: Span) -> None:
        if spans[0][0] > 0:
            await self.fail()
        await super().read(*spans)

    async def fail(self) -> None:
        raise StorageError("somewhere", errno.EIO, "it broke")


class _Waiting(_Failing):
    async def fail(self) -> None:
        await trio.sleep_forever()


async def test_a_source_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="it broke"):
        await create_archive(tmp_path / "a.vma", contents(_Failing(pattern(1) * 8000)))
    assert names_in(tmp_path) == []


async def test_a_cancelled_archive_leaves_nothing(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    del autojump_clock
    with trio.move_on_after(5) as scope:
        await create_archive(tmp_path / "a.vma", contents(_Waiting(pattern(1) * 8000)))
    assert scope.cancelled_caught
    assert names_in(tmp_path) == []


async def test_a_pipe_that_nobody_empties_can_be_given_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with trio.move_on_after(0.3) as scope:
            await create_archive(tmp_path / "pipe", contents(MemoryDisk(pattern(1) * 3000)))
        assert scope.cancelled_caught
    finally:
        os.close(reader)


async def test_a_pipe_that_is_closed_is_a_broken_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    threading.Thread(target=lambda: (tmp_path / "pipe").open("rb").close()).start()
    with pytest.raises(BrokenPipeError):
        await create_archive(tmp_path / "pipe", contents(MemoryDisk(pattern(1) * 3000)))


async def test_a_disk_that_shrinks_is_told(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(CONTENT)
    async with open_disk(tmp_path / "disk.raw") as disk:
        os.truncate(tmp_path / "disk.raw", 100_000)
        with pytest.raises(StorageError, match="it became shorter"):
            await disk.read((0, memoryview(bytearray(len(CONTENT)))))


async def test_what_was_cut_off_of_a_disk_is_no_hole(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(CONTENT)
    async with open_disk(tmp_path / "disk.raw") as disk:
        os.truncate(tmp_path / "disk.raw", 0)
        with pytest.raises(StorageError, match="it became shorter"):
            await create_archive(tmp_path / "a.vma", contents(disk))
    assert names_in(tmp_path) == ["disk.raw"]


@pytest.mark.parametrize(
    "ranges",
    [
        (Range(0, 10), Range(5, 10)),
        (Range(20, 10), Range(0, 10)),
        (Range(0, 0),),
        (Range(len(CONTENT) - 5, 10),),
    ],
)
async def test_a_source_that_contradicts_itself_is_refused(
    tmp_path: Path, ranges: tuple[Range, ...]
) -> None:
    with pytest.raises(ArchiveError, match="says that data are at"):
        await create_archive(tmp_path / "a.vma", contents(MemoryDisk(CONTENT, ranges)))
    assert names_in(tmp_path) == []
