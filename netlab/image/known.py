"""The files of a plan whose content is known, brought to this host and looked at."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from netlab.errors import InputError
from netlab.image.download import Downloads, RemoteFile, hash_file
from netlab.image.progress import Progress, Tell
from netlab.plan.files import KnownFile, is_address, known_files, place_files
from netlab.plan.model import NodePlan, Plan

_STEPS = 10
"""How often people are told of each thing that is done: a line each in a log."""


async def bring_files(
    plan: Plan, nodes: Iterable[NodePlan], downloads: Downloads, *, tell: Tell
) -> Plan:
    """Return the plan with nodes' files all on this host, those with a digest as they should be.

    Files without a digest, and those that are not there, are not looked at.

    Args:
        plan: A plan; paths in it are absolute, or relative to where we are.
        nodes: Whose files.
        downloads: Where files of the net are kept.
        tell: Told how far it is, once for each ten percent.

    Raises:
        ImageError: A file cannot be fetched, or is something else than was asked for.
        InputError: Files of the host are not what they should be: a line for each.
        CapacityError: The disk is full.
    """
    places: dict[KnownFile, str] = {}
    wrong: list[str] = []
    for known in known_files(nodes):
        name = known.file.rpartition("/")[2]
        tell_of = _make_tell(name, tell)
        algorithm, _, digest = known.digest.partition(":")
        if is_address(known.file):
            remote = RemoteFile(url=known.file, algorithm=algorithm, digest=digest)
            places[known] = str(await downloads.ensure(remote, progress=tell_of))
            continue
        places[known] = known.file
        found = await _hash_if_there(Path(known.file), algorithm, tell_of)
        if found not in {digest, None}:
            wrong.append(f"{known.file}: its digest is {algorithm}:{found}, not {known.digest}")
    if wrong:
        raise InputError("\n".join(wrong), hint="it has changed, or the digest is another file's")
    return place_files(plan, places)


def find_paths(nodes: Iterable[NodePlan]) -> tuple[Path, ...]:
    """Return where the files of nodes are, when all are on this host."""
    given = (each.file for node in nodes for each in (*node.disks, *node.cdroms))
    return tuple(dict.fromkeys(Path(file) for file in given if file is not None))


async def _hash_if_there(path: Path, algorithm: str, tell: Tell) -> str | None:
    try:
        return await hash_file(path, algorithm, tell)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def _make_tell(name: str, tell: Tell) -> Tell:
    """Return who is told of each of many steps, and says what makes a difference to people."""
    said: tuple[str, int] | None = None

    def tell_of(progress: Progress) -> None:
        nonlocal said
        step = progress.done * _STEPS // progress.total if progress.total else 0
        if (progress.stage, step) != said:
            said = progress.stage, step
            tell(Progress(f"{progress.stage} {name}", progress.done, progress.total))

    return tell_of
