"""Which users there are for the files of a system that is installed: a container may have one."""

from __future__ import annotations

import os
from pathlib import Path

from netlab.errors import MissingFeatureError

_NEEDED = 1000
"""Ids that belong to a Debian system's own users: 0 to 999 (Debian Policy Manual, 9.2.2)."""

ELSEWHERE = "or build it where that is possible, and copy ~/.cache/netlab/images, which has it"
"""What can be done on a host that cannot build a system."""


def check_users(process: Path = Path("/proc/self")) -> None:
    """Refuse to install a system as a root who cannot give files to others.

    Such is root of a container or a user namespace with ids of its own that has too few of them.
    Who is not root has mmdebstrap make a namespace with subordinate ids.

    Args:
        process: Where the kernel says which ids there are: user_namespaces(7).

    Raises:
        MissingFeatureError: There are too few.
    """
    if os.geteuid() != 0:
        return
    for kind in ("uid", "gid"):
        count = count_ids((process / f"{kind}_map").read_text(encoding="ascii"))
        if count < _NEEDED:
            raise MissingFeatureError(
                f"a system cannot be installed here: its files belong to {_NEEDED} {kind}s, and"
                f" this user namespace has {count}",
                hint="give the container more ids (subuid(5), subgid(5) and newuidmap(1) on its"
                f" host, package uidmap), {ELSEWHERE}",
            )


def count_ids(table: str) -> int:
    """Return how many ids a ``uid_map`` or ``gid_map`` has: each line's third number."""
    return sum(int(line.split()[2]) for line in table.splitlines())
