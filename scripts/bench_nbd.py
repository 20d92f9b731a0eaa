"""Read images through netlab.nbd and with `qemu-img convert`, in turns; print ratios.

Both read all data and throw them away: qemu-img converts to a disk of QEMU's that keeps nothing.
The times include the start of a program each.

Usage: scripts/bench-nbd [--rounds 5] [--mebibytes 256]
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parent.parent))

from netlab.nbd.files import open_image
from netlab.plan.model import DiskFormat
from netlab.process import run

MIB = 1024 * 1024
IMAGES: dict[str, tuple[DiskFormat, tuple[str, ...]]] = {
    "raw": ("raw", ()),
    "qcow2": ("qcow2", ()),
    "qcow2, compressed": ("qcow2", ("-c",)),
}


async def make_image(source: Path, name: str) -> Path:
    image_format, options = IMAGES[name]
    target = source.with_name(name.replace(", ", "-"))
    argv = ("qemu-img", "convert", "-f", "raw", "-O", image_format, *options)
    await run((*argv, str(source), str(target)))
    return target


def write_source(path: Path, mebibytes: int) -> None:
    """Write a disk whose every other MiB is a hole; half of the rest can be compressed."""
    source = random.Random(1)
    with path.open("wb") as file:
        for index in range(mebibytes):
            file.seek(index * 2 * MIB)
            file.write(source.randbytes(MIB // 2) + bytes([index % 255 + 1]) * (MIB // 2))
        file.truncate(mebibytes * 2 * MIB)


async def read_with_netlab(path: Path, image_format: DiskFormat) -> int:
    total = 0
    async with open_image(path, image_format) as disk:
        async for _, data in disk.read_all():
            total += len(data)
    return total


async def read_with_qemu_img(path: Path, image_format: DiskFormat, size: int) -> None:
    target = f"driver=null-co,size={size}"
    argv = ("qemu-img", "convert", "-n", "-f", image_format, "--target-image-opts")
    await run((*argv, str(path), target))


async def measure(path: Path, name: str, mebibytes: int) -> tuple[float, float]:
    """Return the seconds of netlab and of qemu-img."""
    image_format = IMAGES[name][0]
    start = time.perf_counter()
    if await read_with_netlab(path, image_format) < mebibytes * MIB:
        raise SystemExit(f"{name}: not all data were read")
    middle = time.perf_counter()
    await read_with_qemu_img(path, image_format, mebibytes * 2 * MIB)
    return middle - start, time.perf_counter() - middle


async def compare(folder: Path, *, rounds: int, mebibytes: int) -> None:
    source = folder / "source"
    write_source(source, mebibytes)
    for name in IMAGES:
        path = await make_image(source, name)
        await measure(path, name, mebibytes)  # into the page cache
        times = [await measure(path, name, mebibytes) for _ in range(rounds)]
        ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
        print(
            f"{name:20} netlab {mebibytes / ours:6.0f} MiB/s   "
            f"qemu-img {mebibytes / theirs:6.0f} MiB/s   ratio of times {ours / theirs:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=256, help="data in each image")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trio.run(lambda: compare(Path(folder), rounds=options.rounds, mebibytes=options.mebibytes))


if __name__ == "__main__":
    main()
