"""Where paths of a guest lead, which follows symbolic links as a kernel does: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from netlab.errors import InputError

_MAX_LINKS = 40
"""Links that the kernel follows in one path (MAXSYMLINKS in include/linux/namei.h of Linux)."""

_IN_MEMORY = ("/dev", "/proc", "/run", "/sys")
"""Folders over which a running system has file systems in memory."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is at a place: a type in debugfs's words, empty for nothing, and a link's target."""

    type: str = ""
    target: str = ""


NOTHING = Place()


@dataclass(frozen=True, slots=True)
class Unknown:
    """Places that have to be looked at before it is known where a path leads."""

    places: tuple[str, ...]


def follow(
    path: str, known: Mapping[str, Place], other: Place | None = None
) -> str | Unknown | InputError:
    """Return where a path leads, or what has to be known for that, or why it leads nowhere.

    A link that leads out of the disk, to where a running system has its memory, is itself where
    its path leads: what was written behind it would never be seen.

    Args:
        path: An absolute one.
        known: What is at places whose folders are no links.
        other: What is at those that are not in there; None if nobody knows.
    """
    pending = _split(path)
    real: list[str] = []
    last_link = ""
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            del real[-1:]
            continue
        place = _join([*real, part])
        entry = known.get(place, other)
        if entry is None:
            # Most paths have no link: what would follow is asked in one go.
            return Unknown(tuple(_expect(place, pending)))
        if entry.type != "symlink":
            if pending and entry.type not in {"", "directory"}:
                return InputError(f"{path} cannot be written: {place} is no folder")
            real.append(part)
            continue
        links += 1
        if links > _MAX_LINKS or any(sign in entry.target for sign in '"\n\\'):
            return InputError(f"{path} cannot be written: the link {place} leads nowhere")
        last_link = last_link if pending else place
        real = [] if entry.target.startswith("/") else real
        pending += _split(entry.target)
    return _decide(path, _join(real), last_link, known)


def _decide(path: str, place: str, last_link: str, known: Mapping[str, Place]) -> str | InputError:
    if last_link and f"{place}/".startswith(tuple(f"{folder}/" for folder in _IN_MEMORY)):
        return last_link
    if place == "/" or known.get(place, NOTHING).type == "directory":
        return InputError(f"{path} cannot be written: it is a folder")
    return place


def _split(path: str) -> list[str]:
    """Return the parts of a path, the first at last."""
    return [part for part in reversed(path.split("/")) if part not in {"", "."}]


def _join(parts: Sequence[str]) -> str:
    return f"/{'/'.join(parts)}"


def _expect(place: str, pending: Sequence[str]) -> Iterable[str]:
    yield place
    for part in reversed(pending):
        if part == "..":
            return
        place = f"{place}/{part}"
        yield place
