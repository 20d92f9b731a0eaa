"""What disks a machine has: the image's, files of the host's, empty ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import cast

from netlab.plan.catalogue import MAXIMUM_DISKS, NO_IMAGE, ImageFacts
from netlab.plan.model import Bus, DiskFormat, DiskPlan, DiskSource
from netlab.topology.hardware import NO_DISK, Disk
from netlab.topology.source import Mistakes, Path, quote


def plan_disks(
    facts: ImageFacts,
    root: tuple[Disk | None, Path],
    others: tuple[tuple[Disk, ...], Path],
    mistakes: Mistakes,
) -> tuple[DiskPlan, ...]:
    """Return a node's disks, the root disk first.

    Args:
        facts: What is known of its image.
        root: What the file says of its root disk, and where.
        others: The other disks, and where they stand.
        mistakes: Told of what cannot be.
    """
    disks = [*_root(facts, *root, mistakes)]
    places = [root[1]] * len(disks)
    for index, disk in enumerate(others[0]):
        place = (*others[1], index)
        if disk.file is None and (disk.size is None or disk.read_only):
            message = "an empty disk that can only be read" if disk.size else "a disk of no size"
            mistakes.add(place, message, "give it size: 2 GiB, or file and format")
        disks.append(_plan(disk, "empty" if disk.file is None else "file"))
        places.append(place)
    _check(disks, places, facts, mistakes)
    return tuple(disks)


def _root(
    facts: ImageFacts, root: Disk | None, place: Path, mistakes: Mistakes
) -> Iterator[DiskPlan]:
    if root is NO_DISK:
        _check_none(facts, place, mistakes)
    elif facts.disk:
        root = root or Disk()
        if root.file is not None:
            message = "the image has a root disk already"
            mistakes.add((*place, "file"), message, "put this file into disks")
        yield _plan(root, "image")
    elif root is not None and facts is NO_IMAGE:
        if root.file is None:
            message = "there is no image whose disk this could be"
            mistakes.add(place, message, "give it file and format", key=True)
        yield _plan(root, "file")
    elif root is not None:
        message = "the image has its root in memory, and no disk"
        mistakes.add(place, message, "use disks for others", key=True)


def _check_none(facts: ImageFacts, place: Path, mistakes: Mistakes) -> None:
    """Find whose root cannot be in memory."""
    if facts is NO_IMAGE:
        message = "without an image a node boots from its disk's file"
        mistakes.add(place, message, "write disk: {file: …, format: raw}", key=True)
    elif facts.disk:
        message = "the image has its root file system on its disk, and not in memory"
        mistakes.add(place, message, "leave disk out: what is written goes with the lab", key=True)


def _plan(disk: Disk, source: DiskSource) -> DiskPlan:
    return DiskPlan(
        source=source,
        file=disk.file,
        format=cast("DiskFormat | None", disk.format),
        size=disk.size,
        bus=cast("Bus", disk.bus),
        serial=disk.serial,
        discard=disk.discard,
        read_only=disk.read_only,
        persist=disk.persist,
    )


def _check(
    disks: list[DiskPlan], places: list[Path], facts: ImageFacts, mistakes: Mistakes
) -> None:
    counts: Counter[Bus] = Counter()
    serials: set[str] = set()
    for disk, place in zip(disks, places, strict=True):
        if disk.bus not in facts.buses:
            message = f"the image has no driver for disks on {disk.bus}"
            mistakes.add((*place, "bus"), message, f"use {', '.join(facts.buses)}")
        counts[disk.bus] += 1
        if counts[disk.bus] == MAXIMUM_DISKS[disk.bus] + 1:
            limits = ", ".join(f"{bus} {limit}" for bus, limit in MAXIMUM_DISKS.items())
            message = f"more disks on {disk.bus} than a machine takes"
            mistakes.add(place, message, f"it takes {limits}")
        if disk.serial is not None and disk.serial in serials:
            message = f"the serial number {quote(disk.serial)} is another disk's too"
            mistakes.add((*place, "serial"), message)
        serials.add(disk.serial or "")
