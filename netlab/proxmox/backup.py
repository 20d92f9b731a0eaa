"""Backups in a folder: archives with what lies beside them, all of them or none."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal

from netlab.errors import HostError, UsageError
from netlab.proxmox.configuration import NAME, Configuration, write
from netlab.proxmox.names import BackupName
from netlab.vma.compression import Compression
from netlab.vma.source import DiskSource
from netlab.vma.writer import Contents, create_archive

Tell = Callable[[str, int, int], None]
"""Takes a node's name, how many bytes of its disks are done, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine that becomes a backup.

    Attributes:
        node: The node that it was.
        vmid: Its number on Proxmox.
        configuration: What it is there.
        disks: What is on its drives, by drive, such as ``scsi0``.
        notes: What people read in the list of backups.
        remarks: What the log says beside that.
    """

    node: str
    vmid: int
    configuration: Configuration
    disks: Mapping[str, DiskSource]
    notes: str
    remarks: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of its disks."""
        return sum(source.size for source in self.disks.values())

    def contents(self, time: datetime) -> Contents:
        """Return what its archive is made of.

        Args:
            time: When it was as it is there.
        """
        return Contents(
            disks={f"drive-{drive}": source for drive, source in self.disks.items()},
            configs={NAME: write(self.configuration).encode()},
            created=int(time.timestamp()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup that was written.

    Attributes:
        node: The node that it was.
        vmid: Its number on Proxmox.
        archive: The archive.
        size: Bytes of the archive.
        disks: Bytes of the disks in it.
    """

    node: str
    vmid: int
    archive: Path
    size: int
    disks: int


@dataclass(slots=True)
class BackupFolder:
    """A folder that gets backups; made by :func:`open_folder`.

    Attributes:
        path: Where it is.
    """

    path: Path
    _made: list[Path] = field(default_factory=list[Path])

    def add_text(self, name: str, text: str) -> Path:
        """Write a small file.

        Raises:
            UsageError: There is one of that name.
            HostError: It cannot be written.
        """
        path = self.path / name
        with _explain(path), path.open("x", encoding="utf-8") as file:
            self._made.append(path)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        return path

    async def add(
        self,
        machine: Machine,
        *,
        time: datetime,
        compression: Compression | None,
        tell: Tell,
    ) -> Backup:
        """Write a machine's backup.

        Args:
            machine: The machine.
            time: When it was as it is there.
            compression: How its archive is compressed.
            tell: Told how far it is.

        Raises:
            ArchiveError: The format has no room for it.
            StorageError: A disk cannot be read, or the archive not be written.
            UsageError: There is one of that name.
        """
        name = BackupName(vmid=machine.vmid, time=time, compression=_suffix(compression))
        archive = self.path / name.archive
        started = datetime.now()
        progress = partial(tell, machine.node)
        await create_archive(
            archive, machine.contents(time), compression=compression, progress=progress
        )
        self._made.append(archive)
        self.add_text(name.notes, machine.notes)
        backup = Backup(
            node=machine.node,
            vmid=machine.vmid,
            archive=archive,
            size=archive.stat().st_size,
            disks=machine.size,
        )
        self.add_text(name.log, _log(backup, machine, time, started))
        return backup

    def take_back(self) -> None:
        """Remove what was written."""
        for path in self._made:
            with suppress(OSError):
                path.unlink()


def check_folder(path: Path, names: Iterable[str]) -> None:
    """Refuse a folder that backups cannot go to, before there is anything to go there.

    Args:
        path: The folder; it need not be there.
        names: Of files that are to be new in it.

    Raises:
        HostError: It cannot be looked at.
        UsageError: It is something else than a folder, or there is a file of such a name.
    """
    with _explain(path):
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is no folder", hint="name one, or one that can be made")
        for name in names:
            if os.path.lexists(path / name):
                hint = "remove it first, or name another folder"
                raise UsageError(f"{path / name} is there already", hint=hint)


@contextmanager
def open_folder(path: Path) -> Generator[BackupFolder]:
    """Write backups into a folder; when the block fails, none of them is left.

    Raises:
        HostError: It cannot be made.
        UsageError: It is something else than a folder.
    """
    check_folder(path, ())
    with _explain(path):
        made = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
    folder = BackupFolder(path)
    try:
        yield folder
    except BaseException:
        folder.take_back()
        with suppress(OSError):
            for each in made:
                each.rmdir()
        raise


@contextmanager
def _explain(path: Path) -> Generator[None]:
    """Turn what the file system refuses into an error that says what to do."""
    try:
        yield
    except FileExistsError as error:
        raise UsageError(f"{path} is there already", hint="remove it first") from error
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from error


def _suffix(compression: Compression | None) -> Literal["", "zst", "gz"]:
    if compression is None:
        return ""
    return "zst" if compression.kind == "zstd" else "gz"


def _log(backup: Backup, machine: Machine, time: datetime, started: datetime) -> str:
    """Return the log that Proxmox shows for a backup."""
    lines: Sequence[tuple[datetime, str]] = (
        (time, f"{machine.node} as it was, as VM {machine.vmid}"),
        *((time, remark) for remark in machine.remarks),
        *((time, f"{drive}: {source.size} bytes") for drive, source in machine.disks.items()),
        (started, f"writing {backup.archive.name}"),
        (datetime.now(), f"{backup.size} bytes of {backup.disks} written"),
    )
    return "".join(f"{when:%Y-%m-%d %H:%M:%S} INFO: {text}\n" for when, text in lines)
