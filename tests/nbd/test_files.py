"""Image files, read through QEMU's own servers, against what qemu-img makes of them."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from netlab.errors import ImageError, MissingProgramError, NBDError
from netlab.nbd.client import Disk, open_export
from netlab.nbd.files import open_image
from netlab.plan.model import DiskFormat
from netlab.process import run

MIB = 1024 * 1024
CLUSTER = 65536


def scatter(size: int, *, seed: int) -> dict[int, bytes]:
    """Data for a few places of a disk, some of a sector, some over the edges of clusters."""
    source = random.Random(seed)
    return {
        source.randrange(size // 512 - 1024) * 512: source.randbytes(
            source.choice((512, 5120, 200_192))
        )
        for _ in range(12)
    }


def write(path: Path, size: int, parts: dict[int, bytes]) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in parts.items():
            file.seek(offset)
            file.write(data)
    return path


async def convert(source: Path, target: Path, target_format: str, *options: str) -> Path:
    known = "qcow2" if source.suffix == ".qcow2" else "raw"
    await run([
        "qemu-img", "convert", "-q", "-f", known, "-O", target_format, *options,
        str(source), str(target),
    ])  # fmt: skip
    return target


async def create_over(base: Path, base_format: str, path: Path, *size: str) -> Path:
    backing = ("-b", str(base), "-F", base_format)
    await run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(path), *size])
    return path


async def make_chain(folder: Path) -> Path:
    """A layer over a compressed layer over a raw file; each hides some of the one below."""
    raw = write(folder / "base.raw", 24 * MIB, scatter(24 * MIB, seed=1))
    middle = await create_over(raw, "raw", folder / "middle.qcow2")
    top = await create_over(middle, "qcow2", folder / "top.qcow2", str(40 * MIB + 512))
    commands: list[str] = []
    for index in range(6):
        commands += ["-c", f"write -c -P {index + 1} {index * 3}M 64k"]
    await run(["qemu-io", "-f", "qcow2", *commands, str(middle)])
    changes = ("write -P 77 1M 100k", "write -z 3M 1M", "write -z 15M 64k", "write -P 9 39M 1k")
    await run(["qemu-io", "-f", "qcow2", *(w for c in changes for w in ("-c", c)), str(top)])
    return top


async def make_compressed(folder: Path) -> Path:
    raw = write(folder / "plain.raw", 16 * MIB, scatter(16 * MIB, seed=2))
    return await convert(raw, folder / "compressed.qcow2", "qcow2", "-c")


async def make_holes(folder: Path) -> Path:
    raw = write(folder / "plain.raw", 16 * MIB, scatter(16 * MIB, seed=3))
    return await convert(raw, folder / "holes.qcow2", "qcow2")


async def make_raw(folder: Path) -> Path:
    return write(folder / "odd, name=x.raw", 8 * MIB + 512, scatter(8 * MIB, seed=4))


MAKERS = {"chain": make_chain, "compressed": make_compressed, "holes": make_holes, "raw": make_raw}


@asynccontextmanager
async def open_with_daemon(path: Path, image_format: DiskFormat) -> AsyncGenerator[Disk]:
    async with open_image(path, image_format) as disk:
        yield disk


@asynccontextmanager
async def open_with_qemu_nbd(path: Path, image_format: DiskFormat) -> AsyncGenerator[Disk]:
    address = path.with_name("socket")
    # Returns when the socket is there; the server ends with its only client.
    await run([
        "qemu-nbd", "--fork", "--read-only", f"--format={image_format}", "--export-name=disk",
        f"--socket={address}", str(path),
    ])  # fmt: skip
    async with open_export(address, "disk") as disk:
        yield disk


SERVERS = {"qemu-storage-daemon": open_with_daemon, "qemu-nbd": open_with_qemu_nbd}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("maker", MAKERS)
async def test_what_is_read_is_what_qemu_img_converts(
    maker: str, server: str, tmp_path: Path
) -> None:
    path = await MAKERS[maker](tmp_path)
    image_format: DiskFormat = "qcow2" if path.suffix == ".qcow2" else "raw"
    expected = (await convert(path, tmp_path / "expected", "raw")).read_bytes()
    async with SERVERS[server](path, image_format) as disk:
        assert disk.size == len(expected)
        whole = bytearray(disk.size)
        read = 0
        async for offset, data in disk.read_all(memory=2 * MIB):
            assert offset >= read
            whole[offset : offset + len(data)] = data
            read = offset + len(data)
        assert whole == expected
        assert await disk.read(0, disk.size) == expected
        assert await disk.read(1_000_001, 70_001) == expected[1_000_001:][:70_001]
        extents = [extent async for extent in disk.extents()]
    zeros = [extent for extent in extents if extent.kind == "zero"]
    assert sum(extent.length for extent in extents) == len(expected)
    assert sum(extent.length for extent in zeros) > len(expected) // 4
    for extent in zeros:
        assert not any(expected[extent.offset : extent.offset + extent.length])


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
async def test_a_large_disk_with_little_on_it_is_read_by_what_is_on_it(
    image_format: DiskFormat, tmp_path: Path
) -> None:
    path = write(tmp_path / "large.raw", 64 << 30, {0: b"begin", (64 << 30) - 512: b"end"})
    if image_format == "qcow2":
        path = await convert(path, tmp_path / "large.qcow2", "qcow2")
    async with open_image(path, image_format) as disk:
        assert disk.size == 64 << 30
        parts = [(offset, data.strip(b"\x00")) async for offset, data in disk.read_all()]
        # Not a matter of time: a reader of the zeros would have thousands of parts.
        assert len(parts) == 2
        assert [data for _, data in parts] == [b"begin", b"end"]


async def test_nothing_is_left_of_the_server_when_the_block_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than the path of a socket may be.
    folder = tmp_path / ("temporary-" * 12)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    path = await make_raw(tmp_path)
    before = descriptors()
    async with open_image(path, "raw"):
        (inside,) = folder.iterdir()
        assert inside.stat().st_mode & 0o777 == 0o700
        assert len(find_servers(path)) == 1
    assert list(folder.iterdir()) == []
    assert find_servers(path) == []
    assert descriptors() == before


def descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


def find_servers(path: Path) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended meanwhile, as those of other tests do
        if b"qemu-storage-daemon" in words and os.fsencode(path) in words:
            found.append(int(entry.name))
    return found


async def test_cancelled_in_the_middle_nothing_is_left_of_the_server(tmp_path: Path) -> None:
    path = await make_raw(tmp_path)
    with trio.CancelScope() as scope:
        async with open_image(path, "raw") as disk:
            async for _ in disk.read_all():
                scope.cancel()
                await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert find_servers(path) == []


async def read_until_killed(path: Path) -> None:
    async with open_image(path, "raw") as disk:
        assert len(await disk.read(0, 512)) == 512
        os.kill(find_servers(path)[0], signal.SIGKILL)
        # The first may still find the daemon alive.
        for _ in range(1000):
            await disk.read(0, 512)


async def test_a_server_that_is_killed_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = await make_raw(tmp_path)
    with pytest.raises(NBDError, match="qemu-storage-daemon was killed by SIGKILL") as caught:
        await read_until_killed(path)
    assert (caught.value.export, caught.value.offset) == (str(path), 0)
    assert "qemu-storage-daemon --blockdev" in (caught.value.evidence or "")


async def test_an_error_of_another_disk_passes_as_it_is(tmp_path: Path) -> None:
    path = await make_raw(tmp_path)
    error = NBDError("the server closed the connection", export="another", offset=0)
    with pytest.raises(NBDError) as caught:
        async with open_image(path, "raw"):
            raise error
    assert caught.value is error


async def test_a_file_of_another_format_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="not in qcow2 format") as caught:
        async with open_image(await make_raw(tmp_path), "qcow2"):
            pass
    assert caught.value.exit_code == 4
    image = await make_holes(tmp_path)
    async with open_image(image, "raw") as disk:
        assert (await disk.read(0, 4)) == b"QFI\xfb"


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="none: there is no such image file"):
        async with open_image(tmp_path / "none", "raw"):
            pass
    path = await make_chain(tmp_path)
    (tmp_path / "base.raw").unlink()
    with pytest.raises(ImageError, match=r"base\.raw: there is no such image file"):
        async with open_image(path, "qcow2"):
            pass


async def test_a_name_that_is_not_utf_8_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    path = write(tmp_path / "\udcff.raw", 512, {})
    with pytest.raises(ImageError, match="in UTF-8 alone"):
        async with open_image(path, "raw"):
            pass


@pytest.mark.parametrize("below", ["raw", "vmdk"])
async def test_a_layer_that_does_not_say_a_known_format_below_is_refused(
    below: str, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    await run(["qemu-img", "create", "-q", "-f", below, str(base), "1M"])
    path = await create_over(base, below, tmp_path / "top.qcow2")
    if below == "raw":
        # As images from before QEMU 6.1 are: the header has no format of the base.
        data = path.read_bytes()
        path.write_bytes(data.replace(b"\xe2\x79\x2a\xca", b"\xe2\x79\x2a\xcb"))
    with pytest.raises(ImageError, match="is unsaid" if below == "raw" else "is vmdk") as caught:
        async with open_image(path, "qcow2"):
            pass
    assert "qemu-img rebase" in (caught.value.hint or "")


async def test_a_layer_over_what_is_no_file_is_refused(tmp_path: Path) -> None:
    base = await make_holes(tmp_path)
    path = await create_over(base, "qcow2", tmp_path / "top.qcow2")
    for name in ("nbd://localhost/x", "json:{}"):
        rebase = ("rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", name)
        await run(["qemu-img", *rebase, str(path)])
        with pytest.raises(ImageError, match="over what is no file here"):
            async with open_image(path, "qcow2"):
                pass


async def test_a_layer_over_itself_is_refused(tmp_path: Path) -> None:
    path = await make_holes(tmp_path)
    await run([
        "qemu-img",
        "rebase",
        "-u",
        "-f",
        "qcow2",
        "-F",
        "qcow2",
        "-b",
        str(path),
        str(path),
    ])
    with pytest.raises(ImageError, match="a layer over itself"):
        async with open_image(path, "qcow2"):
            pass


async def test_an_image_with_its_data_in_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.qcow2"
    option = f"data_file={tmp_path / 'data'}"
    await run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", option, str(path), "1M"])
    with pytest.raises(ImageError, match="its data are in another file"):
        async with open_image(path, "qcow2"):
            pass


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
async def test_a_file_that_somebody_writes_to_is_an_error(tmp_path: Path, kind: DiskFormat) -> None:
    path, address = tmp_path / f"disk.{kind}", tmp_path / "socket"
    await run(["qemu-img", "create", "-q", "-f", kind, str(path), "1M"])
    await run(["qemu-nbd", "--fork", f"--format={kind}", f"--socket={address}", str(path)])
    async with open_export(address):
        with pytest.raises(
            ImageError, match=rf"disk\.{kind}: Failed to get shared .write. lock"
        ) as caught:
            async with open_image(path, kind):
                pass
        assert "Is another process using the image" in (caught.value.evidence or "")


async def test_a_missing_daemon_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await make_raw(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgramError, match=r"apt-get install .* qemu-system-common"):
        async with open_image(path, "raw"):
            pass
