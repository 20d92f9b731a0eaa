"""Files written into the file system on a disk, without root and without starting anything.

debugfs of e2fsprogs does it on the image itself. It says of most failures only that they were, and
not even that in its status: what was written is read back and compared.
"""

from __future__ import annotations

import json
import posixpath
import stat
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import trio

from netlab.errors import ImageError, InputError
from netlab.machine.identity import read_content
from netlab.plan.model import FilePlan
from netlab.process import run

ROOT = "root"
"""The name of the partition with the root file system."""


async def write_into_disk(disk: Path, files: Sequence[FilePlan]) -> None:
    """Write files into the root file system of a raw disk of netlab's.

    Args:
        disk: The disk; its root file system is ext4, in the partition of that name.
        files: What to write; what is there is replaced.

    Raises:
        ImageError: The disk has no such partition, or a file is not there in the end.
        InputError: A path cannot be written this way.
        MissingProgramError: sfdisk or debugfs is not installed.
    """
    for file in files:
        if any(sign in file.path for sign in '"\n\\'):
            raise InputError(f"{file.path!r}: such a path cannot be written into a disk")
    device = f"{disk}?offset={await _find_root(disk)}"
    with tempfile.TemporaryDirectory(prefix="netlab-") as temporary:
        folder = Path(temporary)
        for index, file in enumerate(files):
            await trio.Path(folder / f"{index}.new").write_bytes(read_content(file))
        await _debugfs(device, _write_commands(files, folder), folder, writing=True)
        dumps = [f'dump "{file.path}" {folder}/{index}.was' for index, file in enumerate(files)]
        await _debugfs(device, dumps, folder, writing=False)
        for index, file in enumerate(files):
            await _compare(file, folder / f"{index}.was", disk)


def _write_commands(files: Iterable[FilePlan], folder: Path) -> Iterable[str]:
    for index, file in enumerate(files):
        parent, name = posixpath.split(file.path)
        steps = [part for part in parent.split("/") if part]
        for depth in range(1, len(steps) + 1):
            # One that is there already is no harm.
            yield f'mkdir "/{"/".join(steps[:depth])}"'
        yield f'cd "{parent}"'
        yield f'rm "{name}"'
        yield f'write {folder}/{index}.new "{name}"'
        yield f'set_inode_field "{name}" mode {stat.S_IFREG | file.mode:#o}'
        yield f'set_inode_field "{name}" uid 0'
        yield f'set_inode_field "{name}" gid 0'


async def _debugfs(device: str, commands: Iterable[str], folder: Path, *, writing: bool) -> None:
    script = folder / "commands"
    await trio.Path(script).write_text("".join(f"{command}\n" for command in commands))
    await run(("debugfs", *(["-w"] if writing else []), "-f", str(script), device))


async def _compare(file: FilePlan, found: Path, disk: Path) -> None:
    path = trio.Path(found)
    if not await path.exists() or await path.read_bytes() != read_content(file):
        raise ImageError(
            f"{file.path} could not be written into {disk}",
            hint="is its file system full, or not ext4?",
        )


async def _find_root(disk: Path) -> int:
    """Return where the root partition begins, in bytes."""
    done = await run(("sfdisk", "--json", str(disk)), check=False)
    if done.status == 0:
        table: dict[str, Any] = json.loads(done.stdout)["partitiontable"]
        for part in cast("list[dict[str, Any]]", table.get("partitions", [])):
            if part.get("name") == ROOT:
                return int(part["start"]) * int(table.get("sectorsize", 512))
    raise ImageError(f"{disk} has no partition {ROOT!r}: what is on it is not known")
