"""Files written into the file system on a disk, without root and without starting anything.

debugfs of e2fsprogs does it on the image itself. It says of most failures only that they were, and
not even that in its status: what was written is read back and compared.
"""

from __future__ import annotations

import json
import posixpath
import stat
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import trio

from netlab.errors import ImageError, InputError
from netlab.machine.identity import read_content
from netlab.plan.model import FilePlan
from netlab.process import run
from netlab.proxmox.ext4 import FileSystem

ROOT = "root"
"""The name of the partition with the root file system."""


async def write_into_disk(disk: Path, files: Sequence[FilePlan]) -> None:
    """Write files into the root file system of a raw disk of netlab's.

    Args:
        disk: The disk; its root file system is ext4, in the partition of that name.
        files: What to write, in the order in which a guest would get it: links are followed, the
            later of two at one place wins, and what is there is replaced.

    Raises:
        ImageError: The disk has no such partition, or a file is not there in the end.
        InputError: A path cannot be written: all of them are told.
        MissingProgramError: sfdisk or debugfs is not installed.
    """
    for file in files:
        if any(sign in file.path for sign in '"\n\\'):
            raise InputError(f"{file.path!r}: such a path cannot be written into a disk")
    device = _device(disk, await _find_root(disk))
    with tempfile.TemporaryDirectory(prefix="netlab-") as temporary:
        system = FileSystem(device, Path(temporary))
        places = await system.find_places([file.path for file in files])
        # Of two at one place the later one is there in the end, as in a guest that runs.
        chosen = dict(zip(places, files, strict=True))
        for index, file in enumerate(chosen.values()):
            await trio.Path(temporary, f"{index}.new").write_bytes(read_content(file))
        await system.run(_write_commands(chosen, system), writing=True)
        await system.run(f'dump "{place}" {index}.was' for index, place in enumerate(chosen))
        for index, file in enumerate(chosen.values()):
            await _compare(file, Path(temporary, f"{index}.was"), disk)


def _write_commands(files: Mapping[str, FilePlan], system: FileSystem) -> Iterable[str]:
    made: set[str] = set()
    for index, (place, file) in enumerate(files.items()):
        parent, name = posixpath.split(place)
        # What is right below the root is made and removed in the folder that debugfs is in.
        yield 'cd "/"'
        # Tried in vain, mkdir leaves an inode behind that nobody has.
        missing = [one for one in _folders(parent) if one not in made and not system.has(one)]
        yield from (f'mkdir "{folder}"' for folder in missing)
        made.update(missing)
        if system.has(place):
            yield f'rm "{place}"'
        yield f'cd "{parent}"'
        yield f'write {index}.new "{name}"'
        # By its whole path: a bare <2> would be the number of an inode. Octal as in C, which
        # Python does not write.
        yield f'set_inode_field "{place}" mode 0{stat.S_IFREG | file.mode:o}'
        yield f'set_inode_field "{place}" uid 0'
        yield f'set_inode_field "{place}" gid 0'


def _folders(path: str) -> Iterable[str]:
    """Return a path and the folders above it, but the root, from there on."""
    steps = [part for part in path.split("/") if part]
    return (f"/{'/'.join(steps[:depth])}" for depth in range(1, len(steps) + 1))


async def _compare(file: FilePlan, found: Path, disk: Path) -> None:
    path = trio.Path(found)
    if not await path.exists() or await path.read_bytes() != read_content(file):
        raise ImageError(
            f"{file.path} could not be written into {disk}",
            hint="is its file system full, or not ext4, or a file where a folder should be?",
        )


def _device(disk: Path, start: int) -> str:
    """Return what debugfs calls the file system that begins there."""
    return f"{disk.absolute()}?offset={start}"


async def _find_root(disk: Path) -> int:
    """Return where the root partition begins, in bytes."""
    done = await run(("sfdisk", "--json", str(disk)), check=False)
    if done.status == 0:
        table: dict[str, Any] = json.loads(done.stdout)["partitiontable"]
        for part in cast("list[dict[str, Any]]", table.get("partitions", [])):
            if part.get("name") == ROOT:
                return int(part["start"]) * int(table.get("sectorsize", 512))
    raise ImageError(f"{disk} has no partition {ROOT!r}: what is on it is not known")
