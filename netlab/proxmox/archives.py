"""Disks of archives that were imported, content-addressed, in one folder.

::

    objects/DIGEST/   the disks of one archive, raw and sparse, each called like its drive:
                      complete, never changed; DIGEST is the SHA-256 of the archive's file
    tmp/              what is being extracted; left over if nobody holds the lock
    lock              held by whoever extracts

An archive's own UUID says nothing about what is in it, and its header has no checksum of the data.
An object appears by one rename when it is on the disk. Nodes have layers of their own above.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import platformdirs
import trio

from netlab.errors import CapacityError, StorageError, UsageError
from netlab.image.build import sync_folder
from netlab.image.lock import open_lock
from netlab.proxmox.backup import Tell
from netlab.proxmox.importing import Part
from netlab.vma.blocking import explain
from netlab.vma.reader import open_archive

_CHUNK = 16 << 20
"""Bytes that are read at once, between two looks at whether we are cancelled."""


@dataclass(frozen=True, slots=True)
class _State:
    """Which file it is, and whether it was written to."""

    device: int
    inode: int
    size: int
    changed: int


class ArchiveStore:
    """The disks of archives in one folder. Safe to use from several processes at once.

    Attributes:
        folder: Where it is. It need not be there before the first import.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    @property
    def objects(self) -> Path:
        """The folder that has the folders of archives."""
        return self.folder / "objects"

    async def keep(self, archive: Path, parts: Sequence[Part], tell: Tell) -> str:
        """Extract disks of an archive, unless that was done before.

        Cancelled or failed, nothing of it is left.

        Args:
            archive: A file.
            parts: What of it.
            tell: Told what is done, how many bytes of it, and of how many.

        Returns:
            The name of its folder in :attr:`objects`.

        Raises:
            ArchiveError: It is damaged.
            CapacityError: The disk is full.
            StorageError: It cannot be read, or a disk not be written.
            UsageError: It was changed meanwhile.
        """
        with self._explain():
            state = _look_at(archive)
            digest = await _hash(archive, state.size, tell)
            if not self._has(digest, parts):
                for folder in (self.folder, self.objects, self.folder / "tmp"):
                    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                waiting = partial(tell, "waiting for another import", 0, 0)
                async with open_lock(self.folder / "lock", waiting=waiting):
                    if not self._has(digest, parts):
                        await self._extract(archive, state, digest, parts, tell)
        return digest

    def _has(self, digest: str, parts: Sequence[Part]) -> bool:
        folder = self.objects / digest
        try:
            return all((folder / part.name).stat().st_size == part.size for part in parts)
        except FileNotFoundError:
            return False

    async def _extract(
        self, archive: Path, state: _State, digest: str, parts: Sequence[Part], tell: Tell
    ) -> None:
        # We hold the lock: what is there was left by one that was killed.
        for path in (self.folder / "tmp").iterdir():
            shutil.rmtree(path)
        with tempfile.TemporaryDirectory(dir=self.folder / "tmp") as temporary:
            extracted, kept = Path(temporary) / "extracted", Path(temporary) / "kept"
            async with open_archive(archive) as opened:
                await opened.extract(
                    extracted,
                    disks=[part.device for part in parts],
                    progress=partial(tell, f"extracting {archive.name}"),
                )
            await trio.to_thread.run_sync(_finish, extracted, kept, parts)
            if _look_at(archive) != state:
                raise UsageError(f"{archive} was written to while it was read")
            # What is there and not whole was damaged by somebody.
            shutil.rmtree(self.objects / digest, ignore_errors=True)
            kept.rename(self.objects / digest)
            sync_folder(self.objects)

    @contextmanager
    def _explain(self) -> Generator[None]:
        """Turn what the file system refuses into an error that says what to do."""
        hint = "XDG_CACHE_HOME says where else to put it"
        try:
            with explain(str(self.folder)):
                yield
        except StorageError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                message = f"no space left for the disks of archives in {self.folder}"
                raise CapacityError(message, hint=hint) from error
            raise


def open_archives(folder: Path | None = None) -> ArchiveStore:
    """Return the store of archives' disks.

    Args:
        folder: Where it is; ``netlab/archives`` in the user's cache folder when None.
    """
    return ArchiveStore(folder or platformdirs.user_cache_path("netlab") / "archives")


def _look_at(path: Path) -> _State:
    with explain(str(path)):
        found = path.stat()
    return _State(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


async def _hash(path: Path, size: int, tell: Tell) -> str:
    digest = hashlib.sha256()
    done = 0
    with explain(str(path)), path.open("rb", buffering=0) as file:
        while chunk := await trio.to_thread.run_sync(file.read, _CHUNK):
            await trio.to_thread.run_sync(digest.update, chunk)
            done += len(chunk)
            tell(f"reading {path.name}", done, size)
    return digest.hexdigest()


def _finish(extracted: Path, kept: Path, parts: Sequence[Part]) -> None:
    """Bring disks to the disk, under the names of their drives."""
    kept.mkdir()
    for part in parts:
        path = (extracted / f"disk-{part.device}.raw").rename(kept / part.name)
        with path.open("r+b") as file:
            file.truncate(part.size)
            os.fsync(file.fileno())
        path.chmod(0o444)
    sync_folder(kept)
