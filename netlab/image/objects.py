"""The files of the store: objects by their digests, and the names that they have.

An object is there as a whole or not at all: it appears by one rename and goes by one. Who uses one
for longer than a moment holds it (:func:`~netlab.image.lock.share`), and it stays.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

from netlab.image.build import (
    DISK,
    INITRD,
    KERNEL,
    PACKED_KERNEL,
    RECORD,
    Record,
    read_record,
    sync_folder,
)
from netlab.image.lock import seize

_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What a machine boots from.

    Attributes:
        name: Its name, such as ``micro``; one of the user's own has a digest of its recipe behind.
        digest: SHA-256 of everything that it is made of, 64 hexadecimal digits.
        arch: The guest's architecture, as QEMU names it.
        kernel: For QEMU's ``-kernel``.
        packed_kernel: The same as its package has it, for machines with a display or with UEFI.
        initrd: For QEMU's ``-initrd``.
        append: For QEMU's ``-append``.
        disk: A disk with the whole system and a boot loader, qcow2, only ever read; or None.
        size: Bytes of its files.
        built: When, in UTC, ISO 8601.
        packages: What it is made of, as ``name=version``, sorted.
        base: The image of netlab's that it is, or is made of.
        memory: MiB that it needs beside what its base needs.
        recipe: The file of its recipe when it was built; empty for an image of netlab's.
    """

    name: str
    digest: str
    arch: str
    kernel: Path
    packed_kernel: Path
    initrd: Path
    append: str
    disk: Path | None
    size: int
    built: str
    packages: tuple[str, ...]
    base: str = ""
    memory: int = 0
    recipe: str = ""

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.kernel.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """Which object a name is.

    Attributes:
        recipe: The digest of the recipe that it was made of.
        digest: The object's.
        previous: That of the one before, from which labs may still start; or empty.
        file: Where the recipe was, for one of the user's own; or empty.
    """

    recipe: str
    digest: str
    previous: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects and names of one folder. Who changes something there holds the store's lock."""

    folder: Path

    def make_folders(self) -> None:
        """Make all that there has to be."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for name in ("objects", "refs", "tmp", "apt"):
            (self.folder / name).mkdir(exist_ok=True)

    def clear_leftovers(self) -> None:
        """Remove what a killed build left: the lock is held, so nobody is at work there."""
        for path in (self.folder / "tmp").iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    @contextmanager
    def open_new(self) -> Generator[Path]:
        """Make a folder to build an object in; what is there in the end goes."""
        with tempfile.TemporaryDirectory(dir=self.folder / "tmp") as temporary:
            folder = Path(temporary) / "object"
            folder.mkdir()
            yield folder

    def keep(self, folder: Path, key: str) -> None:
        """Let what was built in a folder be the object of that digest."""
        final = self.path(key)
        # What is there and could not be read is damaged.
        shutil.rmtree(final, ignore_errors=True)
        folder.rename(final)
        sync_folder(final.parent)

    def path(self, key: str) -> Path:
        """Return where an object is, or would be."""
        return self.folder / "objects" / key

    def read(self, key: str) -> Record | None:
        """Return the record of an object that is complete, or None."""
        folder = self.path(key)
        try:
            record = read_record((folder / RECORD).read_bytes())
            sizes = {name: (folder / name).stat().st_size for name in record.sizes}
        except (OSError, ValueError):
            return None
        return record if sizes == record.sizes and record.digest == key else None

    def names(self) -> tuple[str, ...]:
        """Return every name that there is, sorted."""
        return tuple(sorted(path.stem for path in self.folder.glob("refs/*.json")))

    def read_ref(self, name: str) -> Ref | None:
        """Return which object a name is; None if it is none, or damaged."""
        if not _NAME.fullmatch(name):
            return None
        try:
            values = cast("dict[str, str]", json.loads(self._ref_path(name).read_bytes()))
            ref = Ref(**values)
        except (OSError, ValueError, TypeError):
            return None
        return ref if _DIGEST.fullmatch(ref.digest) else None

    def refs(self) -> dict[str, Ref]:
        """Return which object each name is."""
        found = {name: self.read_ref(name) for name in self.names()}
        return {name: ref for name, ref in found.items() if ref is not None}

    def named_at(self, name: str) -> int:
        """Return when a name was last made an object; 0 if it is none."""
        path = self._ref_path(name)
        return path.stat().st_mtime_ns if path.exists() else 0

    def point(self, name: str, ref: Ref) -> None:
        """Let a name be an object; the one that it was before is its previous one."""
        before = self.read_ref(name)
        if before is not None and not ref.previous:
            same = before.digest == ref.digest
            ref = replace(ref, previous=before.previous if same else before.digest)
        self._write_ref(name, ref)

    def drop(self, name: str) -> None:
        """Let a name be nothing."""
        self._ref_path(name).unlink(missing_ok=True)

    def forget_previous(self) -> None:
        """Let no name have an object that it was before."""
        for name, ref in self.refs().items():
            if ref.previous:
                self._write_ref(name, replace(ref, previous=""))

    def find(self, name: str) -> Image | None:
        """Return the image of that name if it is there and whole."""
        ref = self.read_ref(name)
        record = self.read(ref.digest) if ref else None
        if ref is None or record is None or KERNEL not in record.sizes:
            return None
        folder = self.path(record.digest)
        return Image(
            name=name,
            digest=record.digest,
            arch=record.arch,
            kernel=folder / KERNEL,
            packed_kernel=folder / (PACKED_KERNEL if PACKED_KERNEL in record.sizes else KERNEL),
            initrd=folder / INITRD,
            append=record.append,
            disk=folder / DISK if DISK in record.sizes else None,
            size=sum(record.sizes.values()),
            built=record.built,
            packages=record.packages,
            base=record.base or name,
            memory=record.memory,
            recipe=ref.file,
        )

    def collect(self, kept: Iterable[Path] = ()) -> int:
        """Remove objects that no name is, nor was before its last build; return their bytes.

        Args:
            kept: Files that are needed all the same.
        """
        needed = {self.path(key) for ref in self.refs().values() for key in _keys(ref)}
        needed |= {path.parent for path in kept}
        freed = 0
        for path in (self.folder / "objects").iterdir():
            held = None if path in needed else seize(path)
            if held is not None:
                freed += sum(file.stat().st_size for file in path.iterdir())
                # Away in one step, so that no reader finds half of it.
                shutil.rmtree(path.rename(self.folder / "tmp" / path.name))
                os.close(held)
        return freed

    def _ref_path(self, name: str) -> Path:
        return self.folder / "refs" / f"{name}.json"

    def _write_ref(self, name: str, ref: Ref) -> None:
        temporary = self.folder / "tmp" / f"{name}.json"
        with temporary.open("w") as file:
            # Only an own image's has its file: versions without them read the others.
            values = asdict(ref) if ref.file else {**asdict(ref), "file": None}
            file.write(json.dumps({key: text for key, text in values.items() if text is not None}))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._ref_path(name))


def _keys(ref: Ref) -> tuple[str, ...]:
    return tuple(filter(None, (ref.digest, ref.previous)))
