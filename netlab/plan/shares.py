"""Folders of the host's for a guest: where they may be, and who gives way where two would be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from netlab.plan.catalogue import MAXIMUM_SHARES
from netlab.plan.parts import ShareDriver, SharePlan
from netlab.topology.shares import Share
from netlab.topology.source import Mistakes, Path, quote

KERNEL = ("/proc", "/sys", "/dev")
"""What the kernel shows a guest: nothing can be there or below."""

WRITTEN = ("/etc/hosts", "/etc/hostname")
"""What netlab writes in a guest."""

NEEDED = (
    *("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib64", "/bin", "/sbin", "/lib", "/lib64"),
    *("/run", "/var/run", "/tmp"),
)
"""What agent, shell and netlab's commands live by; folders below can be shared."""

SYSTEM = frozenset((
    *("bin", "boot", "etc", "home", "lib", "lib32", "lib64", "libx32", "nix", "opt", "root"),
    *("sbin", "snap", "usr", "var"),
))
"""The folders of the root in which a system has its files (hier(7); two are NixOS's and snap's).
What is in others, such as /mnt and /srv, is its administrator's."""


def plan_shares(
    shares: tuple[Sequence[Share], Path],
    drivers: tuple[ShareDriver, ...],
    files: Mapping[str, Path],
    mistakes: Mistakes,
    *,
    whole: bool,
) -> tuple[SharePlan, ...]:
    """Return a node's shares.

    A path of a guest comes from one source. Where that would be two, it is a mistake; but a system
    that is whole by itself keeps what it has, and the share is off, unless it says ``shadow``.

    Args:
        shares: What the file says of them, and where.
        drivers: Those of its image.
        files: The places of the files that the node gets, by path.
        mistakes: Told of what cannot be.
        whole: Whether its system is on a disk of its own, or comes over the network.
    """
    planned: list[SharePlan] = []
    for index, share in enumerate(shares[0]):
        place = (*shares[1], index)
        if index == MAXIMUM_SHARES:
            mistakes.add(place, f"more shares than the {MAXIMUM_SHARES} that a machine takes")
        hidden = whole and not share.shadow and share.target.split("/")[1] in SYSTEM
        _check_needed(share.target, (*place, "target"), mistakes)
        planned.append(
            SharePlan(
                tag=share.tag or f"share{index}",
                source=share.source,
                target=share.target,
                writable=share.writable,
                drivers=_drivers(share, drivers, place, mistakes),
                provided_by="image" if hidden else "share",
            )
        )
    _check_tags(planned, shares[1], mistakes)
    _check_sources(planned, shares[1], files, mistakes)
    return tuple(planned)


def _drivers(
    share: Share, known: tuple[ShareDriver, ...], place: Path, mistakes: Mistakes
) -> tuple[ShareDriver, ...]:
    if share.driver == "auto":
        return known
    driver = cast("ShareDriver", share.driver)
    if driver not in known:
        message = f"the image has no driver for shares over {driver}"
        mistakes.add((*place, "driver"), message, f"use {', '.join(known)}")
    return (driver,)


def _check_needed(target: str, place: Path, mistakes: Mistakes) -> None:
    """Find a share in the place of something without which there is no node."""
    if any(_is_inside(target, path) for path in KERNEL):
        mistakes.add(place, f"{quote(target)} is the kernel's", "share it below /mnt")
        return
    lost = next((path for path in (*WRITTEN, *NEEDED) if _is_inside(path, target)), None)
    if lost is not None:
        what = "netlab writes" if lost in WRITTEN else "the guest needs"
        mistakes.add(place, f"a share at {quote(target)} hides {lost}, which {what}")


def _check_tags(planned: Sequence[SharePlan], place: Path, mistakes: Mistakes) -> None:
    first: dict[str, int] = {}
    for index, share in enumerate(planned):
        other = first.setdefault(share.tag, index)
        if other != index:
            hint = f"it is at {mistakes.source.place((*place, other))}"
            mistakes.add(
                (*place, index), f"the tag {quote(share.tag)} is another share's too", hint
            )


def _check_sources(
    planned: Sequence[SharePlan], place: Path, files: Mapping[str, Path], mistakes: Mistakes
) -> None:
    """Find paths that would have two sources."""
    for index, share in enumerate(planned):
        if not share.on:
            continue
        others = _others(planned[:index], place, files)
        meeting = ((each, at) for each, at in others if _meet(share.target, each))
        if (found := next(meeting, None)) is not None:
            message = f"{_relation(share.target, found[0])} a source already"
            hint = f"at {mistakes.source.place(found[1])}; leave one out"
            mistakes.add((*place, index, "target"), message, hint)


def _meet(path: str, other: str) -> bool:
    return _is_inside(path, other) or _is_inside(other, path)


def _relation(path: str, other: str) -> str:
    if path == other:
        return f"{quote(path)} has"
    how = "is inside" if _is_inside(path, other) else "holds"
    return f"{quote(path)} {how} {quote(other)}, which has"


def _others(
    shares: Sequence[SharePlan], place: Path, files: Mapping[str, Path]
) -> Iterator[tuple[str, Path]]:
    for index, share in enumerate(shares):
        if share.on:
            yield share.target, (*place, index, "target")
    yield from files.items()


def _is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
