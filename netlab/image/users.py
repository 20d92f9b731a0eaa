"""Which users there are for the files of a system that is installed: a container may have one."""

from __future__ import annotations

import os
from pathlib import Path

from netlab.errors import MissingFeatureError
from netlab.process import find_program

_NEEDED = 1000
"""Ids that belong to a Debian system's own users: 0 to 999 (Debian Policy Manual, 9.2.2)."""

_SELF = Path("/proc/self")

REMEMBERED = {"FAKEROOTDONTTRYCHOWN": "1"}
"""The environment in which fakeroot remembers whose files are, and does not try to give them away.

It would try, and takes EPERM for an answer, but not EINVAL, which says that there is no such user.
"""


def choose_mode(process: Path = _SELF, device: Path = Path("/dev/null")) -> str:
    """Return the mode in which mmdebstrap installs a system here (mmdebstrap(1)).

    Root gives files to others. Who is not root makes a namespace with subordinate ids for that, and
    where there are none, mmdebstrap runs under fakechroot(1) by itself. It knows nothing of a root
    of a container or a user namespace that has too few ids: there this is said.

    What packages run then sees the host's ``/dev`` (fakechroot(1), FAKECHROOT_EXCLUDE_PATH), where
    systemd-tmpfiles sets permissions.

    Args:
        process: Where the kernel says which ids there are: user_namespaces(7).
        device: A device of the host's.

    Raises:
        MissingFeatureError: It may not be, as devices would be changed.
        MissingProgramError: fakechroot is needed and not installed.
    """
    if os.geteuid() != 0 or has_users(process):
        return "auto"
    if device.stat().st_uid == 0:
        raise MissingFeatureError(
            "a system cannot be installed by a root who has too few ids to give its files to, and"
            " who has the devices of this host",
            hint=f"give this namespace at least {_NEEDED} ids (user_namespaces(7)), or make it as"
            " another user than root",
        )
    find_program("fakechroot")
    return "fakechroot"


def has_users(process: Path = _SELF) -> bool:
    """Say whether a process has an id for each of a system's own users and groups."""
    tables = ((process / f"{kind}_map").read_text(encoding="ascii") for kind in ("uid", "gid"))
    return all(count_ids(table) >= _NEEDED for table in tables)


def count_ids(table: str) -> int:
    """Return how many ids a ``uid_map`` or ``gid_map`` has: each line's third number."""
    return sum(int(line.split()[2]) for line in table.splitlines())
