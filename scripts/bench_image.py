"""Boot an image as it is, and without one of its choices at a time; print ratios.

The variants are booted in turns, one machine at a time, under TCG. What counts is the processor
time of QEMU until the agent has answered: it hardly depends on what else the machine does. The
figures in netlab/docs/images.md are from here.

Usage: scripts/bench-image [--image micro|debian] [--rounds 5] [--memory 256]
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parent.parent))

from netlab.image import lz4
from netlab.image.store import Image, open_store
from netlab.image.system import DEBIAN
from netlab.machine.argv import DISPLAYS
from tests.image.guest import open_guest

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Variant:
    """What is compared: an image, and devices that a machine has beside the usual ones."""

    name: str
    image: Image
    devices: tuple[str, ...] = ()


def make_system_variants(image: Image, _: Path) -> Iterator[Variant]:
    """Yield what is compared of an image on a disk."""
    words = DEBIAN.handed.split()
    for name, left_out in (
        ("as it is", []),
        *((f"without {word}", [word]) for word in words),
        ("without all of them", words),
    ):
        append = " ".join(word for word in image.append.split() if word not in left_out)
        yield Variant(name, replace(image, append=append))


def make_micro_variants(image: Image, folder: Path) -> Iterator[Variant]:
    """Yield what is compared of an image in memory."""
    yield Variant("as it is", image)
    packed = replace(image, kernel=image.packed_kernel)
    yield Variant("kernel as packaged (bzImage)", packed)
    screen = replace(packed, append=f"console=tty0 {image.append} nokaslr")
    for display, device in DISPLAYS.items():
        yield Variant(f"display: {display}", screen, (device,))
    archive = lz4.decompress(image.initrd.read_bytes())
    for name, data in (
        ("initrd compressed with gzip", gzip.compress(archive, mtime=0)),
        ("initrd not compressed", archive),
    ):
        path = folder / name.replace(" ", "-")
        path.write_bytes(data)
        yield Variant(name, replace(image, initrd=path))
    for word in image.append.split():
        # Nobody reads the console here: a guest that is not quiet would wait for that.
        if not word.startswith(("console", "quiet", "rootfstype")):
            words = (each for each in image.append.split() if each != word)
            yield Variant(f"without {word}", replace(image, append=" ".join(words)))


VARIANTS = {"micro": make_micro_variants, "debian": make_system_variants}


def measure(variant: Variant, memory: int) -> float:
    """Return the seconds of processor time to the agent's first answer."""
    with open_guest(variant.image, memory=memory, devices=variant.devices) as guest:
        guest.sync()
        fields = Path(f"/proc/{guest.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", choices=VARIANTS, default="micro")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=int, default=256, help="MiB; some variants need more")
    options = parser.parse_args()
    image = trio.run(open_store().ensure, options.image)
    with tempfile.TemporaryDirectory() as folder:
        variants = list(VARIANTS[options.image](image, Path(folder)))
        times: dict[str, list[float]] = {variant.name: [] for variant in variants}
        for _ in range(options.rounds):
            for variant in variants:
                times[variant.name].append(measure(variant, options.memory))
    usual = statistics.median(times["as it is"])
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        print(f"{name:45} {middle:6.2f} s  {middle / usual:5.2f}  best {min(seconds):.2f} s")


if __name__ == "__main__":
    main()
