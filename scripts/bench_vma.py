"""Time archives beside what copies the same data: `cp --sparse=always`, and `zstd` for compression.

The image is half zeros and half noise, in turns of 1 MiB, its zeros being holes or not (--zeros).
Everything is in the page cache before the clock starts; what is compared is done in turns, on the
same file system, and of several rounds the fastest of each counts. An archive is brought to the
disk before it gets its name, and a copy is not: `cp, sync` is the copy that is, and `create, not
synced` the archive that is not. `fio, direct` writes as many bytes as the archive has past the
page cache to the disk, with 1, 4, 16 or 64 writes at once; the quickest is what the disk itself
takes.
`qemu-img, direct` is what copies the same image, drops its zeros, and ends when it is on the disk.
`zstd` has the options -3 -T2. Each step of ours is a process of its own, whose clock begins when
Python is up and whose peak memory is shown.

Usage: scripts/bench-vma [--size 2048] [--rounds 5] [--folder DIR] [--zeros hole|stored]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from netlab.vma import Contents, create_archive, open_archive, open_disk, verify_archive
from netlab.vma.compression import parse_compression

MIB = 1 << 20
WARMED = 1536 * MIB
# Writes under way at once, of 16 MiB together, of which the quickest is the bound of the disk.
DEPTHS = (1, 4, 16, 64)
CONFIG = {"qemu-server.conf": b"name: bench\n"}


@dataclass(frozen=True)
class Figure:
    """Seconds, and MiB at the peak; 0 of what is not ours."""

    seconds: float
    memory: int = 0


Work = Callable[[], Figure]


def perform(words: list[str]) -> None:
    """Do one step of ours, as a process of its own, and print its figure."""

    async def work() -> None:
        step, source, target, *rest = words
        if step in {"create", "create-unsynced"}:
            if step == "create-unsynced":
                leave_to_the_kernel()
            async with open_disk(source) as disk:
                contents = Contents(disks={"drive-scsi0": disk}, configs=CONFIG)
                await create_archive(target, contents, compression=parse_compression(rest[0]))
        elif step == "extract":
            async with open_archive(source) as archive:
                await archive.extract(Path(target))
        else:
            assert await verify_archive(source) == ()

    warm_memory(Path(words[1]).parent)
    begin = time.perf_counter()
    trio.run(work)
    seconds = time.perf_counter() - begin
    # ru_maxrss would have that of the process that started us.
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert peak is not None
    print(json.dumps([seconds, int(peak[1]) // 1024]))


def leave_to_the_kernel() -> None:
    """Let nothing of ours be brought to the disk, as nothing that `cp` writes is."""

    def ignore(*_: int) -> None:
        """Stand in for what would begin or wait."""

    os.fsync = ignore
    os.posix_fadvise = ignore


def run_ours(step: str, source: Path, target: Path, *rest: str) -> Figure:
    remove(target)
    os.sync()
    argv = [sys.executable, __file__, "--step", step, str(source), str(target), *rest]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE)
    return Figure(*json.loads(done.stdout))


def run_program(*commands: list[str], target: Path) -> Figure:
    remove(target)
    os.sync()
    warm_memory(target.parent)
    begin = time.perf_counter()
    for command in commands:
        subprocess.run(command, check=True)
    return Figure(time.perf_counter() - begin)


def warm_memory(folder: Path) -> None:
    """Write and remove a file of more bytes than are going to be written, right before the clock.

    In a virtual machine the host takes back what is free, at once, and gives it anew at a price
    that is nobody's who is measured: without this the same extraction took from 0.4 to 2.0 s. It
    has to be memory of the kind that is going to be used: with 6 GiB of a process it still did so.
    """
    piece = bytes(MIB)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(WARMED // MIB):
            file.write(piece)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def copy(source: Path, target: Path, *, sync: bool) -> Figure:
    commands = [["cp", "--sparse=always", str(source), str(target)]]
    commands += [["sync", str(target)]] if sync else []
    return run_program(*commands, target=target)


def write_directly(size: int, depth: int, target: Path) -> Figure:
    """Let fio write so many bytes past the page cache to the disk, with so many writes at once.

    fio takes its time to begin and to report; what counts is its own clock of the writes.
    """
    remove(target)
    os.sync()
    warm_memory(target.parent)
    words = ["--name=bound", f"--filename={target}", "--rw=write", f"--size={size}"]
    words += ["--ioengine=libaio", f"--iodepth={depth}", f"--bs={(16 << 10) // depth}k"]
    words += ["--direct=1", "--end_fsync=1", "--output-format=json"]
    done = subprocess.run(["fio", *words], check=True, stdout=subprocess.PIPE)
    return Figure(json.loads(done.stdout)["jobs"][0]["job_runtime"] / 1000)


def convert(source: Path, target: Path) -> Figure:
    """Let qemu-img copy an image to the disk, with eight parts under way in any order."""
    words = ["qemu-img", "convert", "-f", "raw", "-O", "raw", "-t", "none", "-W", "-m", "8"]
    return run_program([*words, str(source), str(target)], target=target)


def compress(source: Path, target: Path, *, sync: bool) -> Figure:
    commands = [["zstd", "-q", "-3", "-T2", str(source), "-o", str(target)]]
    commands += [["sync", str(target)]] if sync else []
    return run_program(*commands, target=target)


def fastest(rounds: int, *works: Work) -> list[Figure]:
    """Return the fastest round of each; they take turns."""
    figures = [[work() for work in works] for _ in range(rounds)]
    return [min(column, key=lambda each: each.seconds) for column in zip(*figures, strict=True)]


def show(title: str, size: int, figure: Figure, *others: tuple[str, float]) -> None:
    """Print a row: seconds, rate of the image's bytes, memory, and what it is compared with."""
    compared = "  ".join(
        f"{name} {seconds:.2f} s, ratio {figure.seconds / seconds:.2f}" for name, seconds in others
    )
    memory = f"{figure.memory} MiB" if figure.memory else ""
    rate = size / figure.seconds
    print(f"{title:<26} {figure.seconds:6.2f} s {rate:7.0f} MiB/s {memory:>8}  {compared}")


def write_image(path: Path, size: int, *, stored: bool) -> None:
    with path.open("wb") as file:
        for number in range(size):
            if number % 2:
                file.write(os.urandom(MIB))
            elif stored:
                file.write(bytes(MIB))
            else:
                file.seek(MIB, os.SEEK_CUR)
        file.truncate(size * MIB)


def write_blocks(path: Path, size: int, *, zeros: bool) -> None:
    """Write noise of which every other 4 KiB are zeros, or noise alone."""
    with path.open("wb") as file:
        for _ in range(size):
            noise = bytearray(os.urandom(MIB))
            if zeros:
                for start in range(0, MIB, 8192):
                    noise[start : start + 4096] = bytes(4096)
            file.write(noise)


def write_large(path: Path) -> None:
    """64 GiB with 100 times 1 MiB of data."""
    with path.open("wb") as file:
        for number in range(100):
            file.seek(number * 655 * MIB)
            file.write(os.urandom(MIB))
        file.truncate(65536 * MIB)


def compare_creation(image: Path, archive: Path, other: Path, size: int, rounds: int) -> None:
    length = -(-archive.stat().st_size // 4096) * 4096
    ours, unsynced, plain, synced, peer, *direct = fastest(
        rounds,
        partial(run_ours, "create", image, archive, "none"),
        partial(run_ours, "create-unsynced", image, archive, "none"),
        partial(copy, image, other, sync=False),
        partial(copy, image, other, sync=True),
        partial(convert, image, other),
        *(partial(write_directly, length, depth, other) for depth in DEPTHS),
    )
    bound = min(each.seconds for each in direct)
    others = (
        ("cp, sync", synced.seconds),
        ("qemu-img, direct", peer.seconds),
        ("fio, direct", bound),
        ("cp", plain.seconds),
    )
    show("bound: fio, direct", size, Figure(bound), others[-1])
    show("create", size, ours, *others)
    show("create, not synced", size, unsynced, others[-1])


def compare_copies(folder: Path, size: int, rounds: int, *, stored: bool) -> None:
    image, archive, out, other = (folder / name for name in ("image", "a.vma", "out", "other"))
    write_image(image, size, stored=stored)
    run_ours("create", image, archive, "none")
    compare_creation(image, archive, other, size, rounds)
    ours, plain = fastest(
        rounds,
        partial(run_ours, "extract", archive, out),
        partial(copy, image, other, sync=False),
    )
    show("extract", size, ours, ("cp", plain.seconds))
    (ours,) = fastest(rounds, partial(run_ours, "verify", archive, out))
    show("verify", size, ours)
    ours, plain, synced = fastest(
        rounds,
        partial(run_ours, "create", image, folder / "a.vma.zst", "zstd:3"),
        partial(compress, image, other, sync=False),
        partial(compress, image, other, sync=True),
    )
    show("create zstd:3", size, ours, ("zstd", plain.seconds), ("zstd, sync", synced.seconds))
    (ours,) = fastest(rounds, partial(run_ours, "extract", folder / "a.vma.zst", out))
    show("extract zstd", size, ours)
    for path in (image, archive, out, other, folder / "a.vma.zst"):
        remove(path)


def compare_blocks(folder: Path, size: int, rounds: int) -> None:
    dense, blocks = folder / "dense", folder / "blocks"
    write_blocks(dense, size, zeros=False)
    write_blocks(blocks, size, zeros=True)
    made = [folder / f"{path.name}.vma" for path in (dense, blocks)]
    pair = fastest(
        rounds,
        *(
            partial(run_ours, "create", source, target, "none")
            for source, target in zip((dense, blocks), made, strict=True)
        ),
    )
    show("create 4 KiB in turns", size, pair[1], ("dense", pair[0].seconds))
    pair = fastest(
        rounds, *(partial(run_ours, "extract", source, folder / "out") for source in made)
    )
    show("extract 4 KiB in turns", size, pair[1], ("dense", pair[0].seconds))
    for path in (dense, blocks, *made, folder / "out"):
        remove(path)


def time_large(folder: Path, rounds: int) -> None:
    image, archive = folder / "large", folder / "large.vma"
    write_large(image)
    (ours,) = fastest(rounds, partial(run_ours, "create", image, archive, "none"))
    show("create 64 GiB, 100 MiB", 65536, ours)
    (ours,) = fastest(rounds, partial(run_ours, "extract", archive, folder / "out"))
    show("extract 64 GiB, 100 MiB", 65536, ours)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2048, help="MiB of the image")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where files go; a temporary folder")
    parser.add_argument("--zeros", choices=("hole", "stored"), default="stored")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        perform(asked.step)
        return
    if shutil.which("fio") is None:
        sys.exit(
            "the bound of the disk is measured by fio, which is not installed: apt-get install fio"
        )
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        compare_copies(folder, asked.size, asked.rounds, stored=asked.zeros == "stored")
        compare_blocks(folder, asked.size // 2, asked.rounds)
        time_large(folder, asked.rounds)


if __name__ == "__main__":
    main()
