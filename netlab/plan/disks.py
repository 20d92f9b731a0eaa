"""What disks a machine has: the image's, files of the host's, empty ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

from netlab.plan.catalogue import IMAGES, MAXIMUM_DISKS, MISTAKEN, NO_IMAGE, ImageFacts
from netlab.plan.images import find_own
from netlab.plan.model import Bus, CdromPlan, DiskFormat, DiskPlan, DiskSource
from netlab.topology.hardware import NO_DISK, Cdrom, Disk
from netlab.topology.recipe import is_recipe
from netlab.topology.source import Mistakes, Path, quote


def plan_disks(
    facts: ImageFacts,
    root: tuple[Disk | None, Path],
    others: tuple[tuple[Disk, ...], Path],
    mistakes: Mistakes,
    *,
    installer: bool,
) -> tuple[DiskPlan, ...]:
    """Return a node's disks, the root disk first.

    Args:
        facts: What is known of its image.
        root: What the file says of its root disk, and where.
        others: The other disks, and where they stand.
        mistakes: Told of what cannot be.
        installer: Whether something else boots that can fill an empty root disk.
    """
    known = facts is not MISTAKEN
    disks = [*_root(facts, *root, mistakes, installer=installer)] if known else []
    places = [root[1]] * len(disks)
    for index, disk in enumerate(others[0]):
        place = (*others[1], index)
        if disk.netboot is not None:
            disks.append(_netboot(disk, disk.netboot, place, mistakes))
            places.append(place)
            continue
        if disk.file is None and (disk.size is None or disk.read_only):
            message = "an empty disk that can only be read" if disk.size else "a disk of no size"
            mistakes.add(place, message, "give it size: 2 GiB, or file and format")
        disks.append(_plan(disk, "empty" if disk.file is None else "file"))
        places.append(place)
    _check(disks, places, facts, mistakes)
    return tuple(disks)


def _root(
    facts: ImageFacts, root: Disk | None, place: Path, mistakes: Mistakes, *, installer: bool
) -> Iterator[DiskPlan]:
    if root is NO_DISK:
        _check_none(facts, place, mistakes, installer=installer)
    elif root is not None and root.netboot is not None:
        message = "what others boot from is no root disk"
        mistakes.add((*place, "netboot"), message, "put it into disks")
    elif facts.disk:
        root = root or Disk()
        if root.file is not None:
            message = "the image has a root disk already"
            mistakes.add((*place, "file"), message, "put this file into disks")
        yield _plan(root, "image")
    elif root is not None and facts is NO_IMAGE:
        empty = root.file is None
        if empty and not (installer and root.size is not None and not root.read_only):
            message = "there is no image whose disk this could be"
            hint = (
                "give it file and format, or size and the node cdroms or boot: network to fill it"
            )
            mistakes.add(place, message, hint, key=True)
        yield _plan(root, "empty" if empty else "file")
    elif root is not None:
        message = "the image has its root in memory, and no disk"
        mistakes.add(place, message, "use disks for others", key=True)


def _check_none(facts: ImageFacts, place: Path, mistakes: Mistakes, *, installer: bool) -> None:
    """Find whose root cannot be in memory."""
    if facts is NO_IMAGE and not installer:
        message = "without an image a node boots from its disk's file"
        mistakes.add(place, message, "write disk: {file: …, format: raw}", key=True)
    elif facts.disk:
        message = "the image has its root file system on its disk, and not in memory"
        mistakes.add(place, message, "leave disk out: what is written goes with the lab", key=True)


def _netboot(disk: Disk, name: str, place: Path, mistakes: Mistakes) -> DiskPlan:
    place = (*place, "netboot")
    own = is_recipe(name)
    image, facts = find_own(name, place, mistakes) if own else (name, IMAGES.get(name))
    if facts is None or "network" not in facts.boots:
        known = ", ".join(known for known, one in IMAGES.items() if "network" in one.boots)
        message = f"there is no image {quote(name)} that boots from the network"
        mistakes.add(place, message, f"there is {known}, and a recipe whose base that is")
    return replace(_plan(disk, "netboot"), format="raw", read_only=True, image=image)


def plan_cdroms(
    facts: ImageFacts,
    cdroms: tuple[tuple[Cdrom, ...], Path],
    disks: Sequence[DiskPlan],
    mistakes: Mistakes,
) -> tuple[CdromPlan, ...]:
    """Return a node's CD-ROMs; they come behind the disks of their bus.

    Args:
        facts: What is known of its image.
        cdroms: What the file says of them, and where.
        disks: Its disks.
        mistakes: Told of what cannot be.
    """
    counts = Counter(disk.bus for disk in disks)
    usual: Bus = "sata" if "sata" in facts.buses else "scsi"
    planned: list[CdromPlan] = []
    for index, cdrom in enumerate(cdroms[0]):
        place = (*cdroms[1], index)
        bus = cast("Bus", cdrom.bus or usual)
        if bus not in facts.buses:
            others = [other for other in ("scsi", "sata") if other in facts.buses]
            hint = f"use {others[0]}" if others else "debian has one for scsi"
            mistakes.add(place, f"the image has no driver for CD-ROMs on {bus}", hint)
        counts[bus] += 1
        if counts[bus] == MAXIMUM_DISKS[bus] + 1:
            message = f"more disks and CD-ROMs on {bus} than a machine takes"
            mistakes.add(place, message, f"it takes {MAXIMUM_DISKS[bus]}")
        planned.append(CdromPlan(file=cdrom.file, bus=bus, digest=cdrom.digest))
    return tuple(planned)


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
        digest=disk.digest,
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
