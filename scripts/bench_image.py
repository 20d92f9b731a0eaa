"""Boot the micro image as it is, and without one of its choices at a time; print ratios.

The variants are booted in turns, one machine at a time, under TCG. What counts is the processor
time of QEMU until the agent has answered: it hardly depends on what else the machine does. The
figures in netlab/docs/images.md are from here.

Usage: scripts/bench-image [--rounds 5] [--memory 256]
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parent.parent))

from netlab.image import lz4
from netlab.image.store import Image, Store, open_store
from netlab.image.unpack import unpack
from tests.image.guest import open_guest

TICKS = os.sysconf("SC_CLK_TCK")


def make_variants(store: Store, image: Image, folder: Path) -> Iterator[tuple[str, Image]]:
    """Yield what is compared: a name, and an image."""
    yield "as it is", image
    kernel = folder / "bzImage"
    kernel.write_bytes(trio.run(read_bzimage, store))
    yield "kernel as packaged (bzImage)", replace(image, kernel=kernel)
    archive = lz4.decompress(image.initrd.read_bytes())
    for name, data in (
        ("initrd compressed with gzip", gzip.compress(archive, mtime=0)),
        ("initrd not compressed", archive),
    ):
        path = folder / name.replace(" ", "-")
        path.write_bytes(data)
        yield name, replace(image, initrd=path)
    for word in image.append.split():
        # Nobody reads the console here: a guest that is not quiet would wait for that.
        if not word.startswith(("console", "quiet", "rootfstype")):
            words = (each for each in image.append.split() if each != word)
            yield f"without {word}", replace(image, append=" ".join(words))


async def read_bzimage(store: Store) -> bytes:
    """Return the kernel as its package has it."""
    (package,) = (store.folder / "apt/archives").glob("linux-image-[0-9]*.deb")
    tree = await unpack(package)
    return next(entry.data for path, entry in tree.items() if path.startswith("boot/vmlinuz"))


def measure(image: Image, memory: int) -> float:
    """Return the seconds of processor time to the agent's first answer."""
    with open_guest(image, memory=memory) as guest:
        guest.sync()
        fields = Path(f"/proc/{guest.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=int, default=256, help="MiB; some variants need more")
    options = parser.parse_args()
    store = open_store()
    image = trio.run(store.ensure, "micro")
    with tempfile.TemporaryDirectory() as folder:
        variants = list(make_variants(store, image, Path(folder)))
        times: dict[str, list[float]] = {name: [] for name, _ in variants}
        for _ in range(options.rounds):
            for name, variant in variants:
                times[name].append(measure(variant, options.memory))
    usual = statistics.median(times["as it is"])
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        print(f"{name:45} {middle:6.2f} s  {middle / usual:5.2f}  best {min(seconds):.2f} s")


if __name__ == "__main__":
    main()
