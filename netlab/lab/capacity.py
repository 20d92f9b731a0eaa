"""What a plan asks for against what the host has, said before anything starts."""

from __future__ import annotations

import os
from pathlib import Path

from netlab.errors import CapacityError
from netlab.plan.architectures import ARCHITECTURES
from netlab.plan.model import NodePlan, Plan

OVERHEAD = 112
"""MiB that a QEMU needs beside its guest's memory: its own code and heap, and TCG's translations. A
router of topologies/ring.yaml, 128 MiB, came to 216 MiB of its own in half a minute
(Private_Dirty in /proc/PID/smaps_rollup)."""

DISPLAY = 16
"""MiB that a graphics card adds: its own memory, of which a text console uses next to nothing."""

_MIB = 1 << 20


def memory_needed(plan: Plan) -> int:
    """Return the MiB that all machines of a plan may come to use."""
    displays = sum(node.display != "none" for node in plan.nodes)
    flashes = sum(map(_flash, plan.nodes))
    return sum(node.memory + OVERHEAD for node in plan.nodes) + displays * DISPLAY + flashes


def _flash(node: NodePlan) -> int:
    """Return the MiB of a node's UEFI firmware: little on x86_64, much on aarch64."""
    uefi = ARCHITECTURES[node.arch].uefi
    return uefi.flash if uefi and node.firmware.kind == "uefi" else 0


def memory_available(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the MiB that can still be used: the kernel's estimate, and no more than the cgroup's.

    Args:
        proc: Where procfs is mounted (``meminfo``'s MemAvailable, proc(5)).
        cgroups: Where cgroup v2 is mounted (``memory.max`` and ``memory.current``).
    """
    meminfo = (proc / "meminfo").read_text()
    available = next(
        int(line.split()[1]) // 1024
        for line in meminfo.splitlines()
        if line.startswith("MemAvailable:")
    )
    return min([available, *_cgroup_rooms(proc, cgroups)])


def memory_used(proc: Path, pid: int) -> int:
    """Return the MiB that a process and its children have for themselves (``statm``, proc(5))."""
    try:
        fields = (proc / f"{pid}/statm").read_text().split()
        children = [
            int(child)
            for file in (proc / f"{pid}/task").glob("*/children")
            for child in file.read_text().split()
        ]
    except (OSError, ValueError):
        return 0  # it has ended
    own = (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE") // _MIB
    return own + sum(memory_used(proc, child) for child in children)


def _cgroup_rooms(proc: Path, cgroups: Path) -> list[int]:
    """The room left in our cgroup and each of its parents, in MiB; empty without cgroup v2."""
    own = next(
        (
            line[3:]
            for line in (proc / "self/cgroup").read_text().splitlines()
            if line.startswith("0::")
        ),
        None,
    )
    if own is None:
        return []
    rooms: list[int] = []
    folder = cgroups / own.strip("/")
    for place in (folder, *folder.parents):
        if not place.is_relative_to(cgroups):
            break
        try:
            limit = (place / "memory.max").read_text().strip()
            used = int((place / "memory.current").read_text())
        except OSError:
            continue
        if limit != "max":
            rooms.append((int(limit) - used) // _MIB)
    return rooms


def check_capacity(plan: Plan, available: int) -> None:
    """Refuse a plan that the host cannot hold.

    Args:
        plan: What will be started.
        available: MiB, from :func:`memory_available`.

    Raises:
        CapacityError: It asks for more memory than there is.
    """
    needed = memory_needed(plan)
    if needed > available:
        raise CapacityError(
            f"{len(plan.nodes)} nodes need {needed} MiB of memory "
            f"(with {OVERHEAD} MiB each for QEMU itself); {available} MiB are available",
            hint="lower `memory:`, start fewer nodes with --node-filter, or end other programs; "
            "--overcommit starts them all the same",
        )
