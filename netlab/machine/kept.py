"""Disks that outlive their lab: each a layer in the user's state folder, used by one lab at a time.

Beside each is a record of what it was made from. It is the disk's lock, too: who uses the disk
holds it, and the kernel lets go of it when that process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import quote, unquote

import trio
from platformdirs import PlatformDirs

from netlab.errors import InputError, explain_storage
from netlab.machine.boot import Layer

_DISK, _RECORD = ".qcow2", ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptDisk:
    """A disk that outlives its lab.

    Attributes:
        lab: Whose lab's it is.
        node: Whose node's.
        serial: Which of the node's.
        path: Its layer.
        base: What that is a layer over; None for a disk that was empty.
        size: Bytes that it takes on the host.
    """

    lab: str
    node: str
    serial: str
    path: Path
    base: str | None
    size: int

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.lab}/{self.node}/{self.serial}"


def kept_folder() -> Path:
    """Return the folder of this user's disks: in it one for each lab, in that one for each node."""
    return PlatformDirs("netlab", appauthor=False).user_state_path / "disks"


def kept_name(serial: str) -> str:
    """Return the name of a disk's file: any serial number can be one."""
    return f"{quote(serial, safe='')}{_DISK}"


@asynccontextmanager
async def open_kept(
    path: Path, layer: Layer, make: Callable[[Layer, Path], Awaitable[object]]
) -> AsyncGenerator[None]:
    """Use a disk, made if it is not there; nobody else does for the block's length.

    Args:
        path: The disk.
        layer: What it is a layer over.
        make: Makes it.

    Raises:
        InputError: Somebody uses it, or it was made from something else.
        StorageError: Its folder cannot be written.
    """
    with _hold(path) as record:
        with explain_storage(path):
            wanted = _identify(layer)
            if await trio.Path(path).exists():
                _check(path, _read(record), wanted)
            else:
                # What is there was made by somebody who did not get to its end.
                unfinished = path.with_suffix(".new")
                unfinished.unlink(missing_ok=True)
                await make(layer, unfinished)
                os.truncate(record, 0)
                os.pwrite(record, json.dumps(wanted).encode(), 0)
                unfinished.rename(path)
        yield


def list_kept(folder: Path) -> list[KeptDisk]:
    """Return the disks in a folder of :func:`kept_folder`'s kind, by name."""
    return [_describe(path) for path in sorted(folder.glob(f"*/*/*{_DISK}"))]


def is_used(disk: KeptDisk) -> bool:
    """Say whether a lab uses a disk now."""
    with disk.path.with_suffix(_RECORD).open("rb") as record:
        return not _lock(record.fileno())


def remove_kept(disk: KeptDisk) -> None:
    """Remove a disk with all that is on it.

    Raises:
        InputError: A lab uses it.
        StorageError: It cannot be removed.
    """
    with _hold(disk.path), explain_storage(disk.path):
        disk.path.unlink(missing_ok=True)
        disk.path.with_suffix(_RECORD).unlink(missing_ok=True)
        for folder in (disk.path.parent, disk.path.parents[1]):
            if not any(folder.iterdir()):
                folder.rmdir()


@contextmanager
def _hold(path: Path) -> Generator[int]:
    """Hold a disk's lock; yield the descriptor of its record."""
    with explain_storage(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        record = os.open(path.with_suffix(_RECORD), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Removed between its opening and its lock, it is nobody's lock any more.
        if not _lock(record) or not os.fstat(record).st_nlink:
            raise InputError(
                f"{path}: this disk is in use",
                hint="`netlab status --all` lists the labs that are up; another --name has others",
            )
        yield record
    finally:
        os.close(record)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _identify(layer: Layer) -> dict[str, object]:
    """Return what a layer is made from, so that it can be told from anything else."""
    status = None if layer.base is None else Path(layer.base).stat()
    return {
        "base": layer.base,
        "format": layer.format,
        "size": layer.size,
        "bytes": status and status.st_size,
        "time": status and status.st_mtime_ns,
    }


def _check(path: Path, found: dict[str, object], wanted: dict[str, object]) -> None:
    changed = [key for key, value in wanted.items() if found.get(key) != value]
    if changed:
        below = found.get("base") or "nothing"
        raise InputError(
            f"{path}: this disk is a layer over {below} as it was: changed is {', '.join(changed)}",
            hint=f"put that back, or `netlab disk rm {_describe(path).name}`, and what is on it",
        )


def _read(record: int) -> dict[str, object]:
    try:
        value = cast("object", json.loads(os.pread(record, 1 << 16, 0)))
    except ValueError:
        value = None
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _describe(path: Path) -> KeptDisk:
    *_, lab, node, name = path.parts
    with path.with_suffix(_RECORD).open("rb") as record:
        base = _read(record.fileno()).get("base")
    return KeptDisk(
        lab=lab,
        node=node,
        serial=unquote(name.removesuffix(_DISK)),
        path=path,
        base=None if base is None else str(base),
        size=path.stat().st_blocks * 512,
    )
