"""Finished images, content-addressed, in one folder.

::

    objects/DIGEST/   kernel, perhaps kernel.packed, initrd, perhaps disk.qcow2, image.json:
                      complete, never changed; or the files of the boot loader
    refs/NAME.json    which object NAME is, and of which recipe that was made
    tmp/              builds that are under way; left over if nobody holds the lock
    downloads/        files of the net that disks are made from, by their digests; may be removed
    apt/              package lists and downloaded packages: a cache, may be removed
    lock              held by whoever builds or removes

An object appears by one rename when it is on the disk. Removing one that a machine runs from does
no harm to that machine: QEMU has read it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import platformdirs

from netlab.errors import CapacityError, ImageError, UnknownNameError
from netlab.image.apt import Apt
from netlab.image.bootstrap import bootstrap
from netlab.image.build import (
    DISK,
    INITRD,
    KERNEL,
    PACKED_KERNEL,
    RECORD,
    Record,
    build,
    build_loader,
    digest,
    fetch,
    read_record,
    sync_folder,
)
from netlab.image.download import Downloads
from netlab.image.loader import LOADER, Loader, LoaderRecipe, locate_loader
from netlab.image.lock import open_lock, try_lock
from netlab.image.progress import Progress, Tell
from netlab.image.recipe import RECIPES, Recipe, find_recipe
from netlab.image.system import SystemRecipe

__all__ = ["Image", "Progress", "Store", "open_store"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What a machine boots from.

    Attributes:
        name: Its name, such as ``micro``.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ref:
    """Which object a name is; `previous` is the one before, from which labs may still start."""

    recipe: str
    digest: str
    previous: str


class Store:
    """The images of one folder. Safe to use from any number of processes at once.

    Attributes:
        folder: Where it is. It need not be there before the first build.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def downloads(self) -> Downloads:
        """Files of the net that disks are made from."""
        return Downloads(self.folder / "downloads")

    async def ensure(
        self, name: str, *, progress: Tell | None = None, rebuild: bool = False
    ) -> Image:
        """Return an image, built if it is not there or if its recipe has changed.

        Of several processes that ask at once, one builds and the others wait for it. Cancelled,
        a build leaves nothing but downloaded packages.

        Args:
            name: A recipe's name.
            progress: Told what is done.
            rebuild: Whether to ask for newer packages although the image is there.

        Raises:
            UnknownNameError: There is no such recipe.
            ImageError: It cannot be built; the error says what to do.
            MissingProgramError: apt-get or dpkg-deb is not installed.
            CapacityError: The disk is full.
        """
        recipe = find_recipe(name)
        image = None if rebuild else self._find_current(recipe)
        if image is not None:
            return image
        tell = progress or _ignore
        with self._explain():
            self._make_folders()
            async with open_lock(
                self.folder / "lock",
                waiting=lambda: tell(Progress("waiting for another build")),
            ) as lock:
                image = None if rebuild else self._find_current(recipe)
                if image is not None:
                    return image
                self._clear_leftovers()
                return await self._build(recipe, lock, refresh=rebuild, tell=tell)

    def list(self) -> tuple[Image, ...]:
        """Return the images that are there, sorted by name; damaged ones are left out."""
        found = (self._find(path.stem) for path in sorted(self.folder.glob("refs/*.json")))
        return tuple(image for image in found if image is not None)

    def get(self, name: str) -> Image:
        """Return an image that is there.

        Raises:
            UnknownNameError: It is not there.
        """
        image = self._find(name)
        if image is None:
            hint = f"`netlab image build {name}`" if name in RECIPES else "see `netlab image list`"
            raise UnknownNameError(f"no image {name!r} is in {self.folder}", hint=hint)
        return image

    def remove(self, name: str) -> None:
        """Remove an image and what it was made of; machines that run from it go on.

        Raises:
            UnknownNameError: It is not there.
            ImageError: An image is being built, or the store cannot be written.
        """
        self.get(name)
        with self._explain():
            lock = try_lock(self.folder / "lock")
            if lock is None:
                raise ImageError("an image is being built", hint="remove it when that is done")
            try:
                self._ref_path(name).unlink(missing_ok=True)
                self._collect(Apt(folder=self.folder / "apt", lock=lock))
            finally:
                os.close(lock)

    async def ensure_loader(self, *, progress: Tell | None = None) -> Loader:
        """Return the boot loader of disks, made if it is not there; like :meth:`ensure`.

        Raises:
            ImageError: It cannot be made; the error says what to do.
            MissingProgramError: apt-get or dpkg-deb is not installed.
            CapacityError: The disk is full.
        """
        tell = progress or _ignore
        with self._explain():
            self._make_folders()
            async with open_lock(
                self.folder / "lock",
                waiting=lambda: tell(Progress("waiting for another build")),
            ) as lock:
                return await self._ensure_loader(Apt(folder=self.folder / "apt", lock=lock), tell)

    async def _ensure_loader(self, apt: Apt, tell: Tell) -> Loader:
        ref = self._read_ref(LOADER.name)
        if ref is None or ref.recipe != LOADER.digest() or self._read_object(ref.digest) is None:
            await self._build_packages(LOADER, apt, refresh=False, tell=tell)
        ref = self._read_ref(LOADER.name)
        if ref is None:
            raise ImageError(f"the boot loader is not in {self.folder}")
        return locate_loader(self.folder / "objects" / ref.digest)

    async def _build(
        self, recipe: Recipe | SystemRecipe, lock: int, *, refresh: bool, tell: Tell
    ) -> Image:
        apt = Apt(folder=self.folder / "apt", lock=lock)
        if isinstance(recipe, SystemRecipe):
            loader = await self._ensure_loader(apt, tell)
            with self._open_object() as folder:
                record = await bootstrap(recipe, loader, folder, lock=lock, tell=tell)
                self._keep_object(folder, record.digest)
            self._point(recipe.name, recipe.digest(), record.digest)
        else:
            await self._build_packages(recipe, apt, refresh=refresh, tell=tell)
        self._collect(apt)
        return self.get(recipe.name)

    async def _build_packages(
        self, recipe: Recipe | LoaderRecipe, apt: Apt, *, refresh: bool, tell: Tell
    ) -> None:
        resolved = await fetch(recipe, apt, refresh=refresh, tell=tell)
        key = digest(recipe, resolved.archives)
        if self._read_object(key) is None:
            with self._open_object() as folder:
                if isinstance(recipe, LoaderRecipe):
                    await build_loader(recipe, apt, resolved.archives, folder, tell)
                else:
                    await build(recipe, apt, resolved.archives, folder, tell)
                self._keep_object(folder, key)
        self._point(recipe.name, recipe.digest(), key)

    @contextmanager
    def _open_object(self) -> Generator[Path]:
        """Make a folder to build an object in; what is there in the end goes."""
        with tempfile.TemporaryDirectory(dir=self.folder / "tmp") as temporary:
            folder = Path(temporary) / "object"
            folder.mkdir()
            yield folder

    def _keep_object(self, folder: Path, key: str) -> None:
        final = self.folder / "objects" / key
        # What is there and could not be read is damaged.
        shutil.rmtree(final, ignore_errors=True)
        folder.rename(final)
        sync_folder(final.parent)

    def _make_folders(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for name in ("objects", "refs", "tmp", "apt"):
            (self.folder / name).mkdir(exist_ok=True)

    def _clear_leftovers(self) -> None:
        """Remove what a killed build left: we hold the lock, so nobody is at work there."""
        for path in (self.folder / "tmp").iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _ref_path(self, name: str) -> Path:
        return self.folder / "refs" / f"{name}.json"

    def _read_ref(self, name: str) -> _Ref | None:
        if not _NAME.fullmatch(name):
            return None
        try:
            values = cast("dict[str, str]", json.loads(self._ref_path(name).read_bytes()))
            ref = _Ref(**values)
        except (OSError, ValueError, TypeError):
            return None
        return ref if _DIGEST.fullmatch(ref.digest) else None

    def _point(self, name: str, recipe: str, key: str) -> None:
        before = self._read_ref(name)
        previous = ""
        if before is not None:
            previous = before.previous if before.digest == key else before.digest
        text = json.dumps({"recipe": recipe, "digest": key, "previous": previous})
        temporary = self.folder / "tmp" / f"{name}.json"
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._ref_path(name))

    def _find_current(self, recipe: Recipe | SystemRecipe) -> Image | None:
        ref = self._read_ref(recipe.name)
        return self._find(recipe.name) if ref and ref.recipe == recipe.digest() else None

    def _find(self, name: str) -> Image | None:
        ref = self._read_ref(name)
        record = self._read_object(ref.digest) if ref else None
        if record is None or KERNEL not in record.sizes:
            return None
        folder = self.folder / "objects" / record.digest
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
        )

    def _read_object(self, key: str) -> Record | None:
        """Return the record of an object that is complete, or None."""
        folder = self.folder / "objects" / key
        try:
            record = read_record((folder / RECORD).read_bytes())
            sizes = {name: (folder / name).stat().st_size for name in record.sizes}
        except (OSError, ValueError):
            return None
        return record if sizes == record.sizes and record.digest == key else None

    def _refs(self) -> list[_Ref]:
        refs = (self._read_ref(path.stem) for path in self.folder.glob("refs/*.json"))
        return [ref for ref in refs if ref is not None]

    def _collect(self, apt: Apt) -> None:
        """Remove objects that no name is, nor was before its last build, and their packages."""
        kept = {key for ref in self._refs() for key in (ref.digest, ref.previous)}
        for path in (self.folder / "objects").iterdir():
            if path.name not in kept:
                # Away in one step, so that no reader finds half of it.
                shutil.rmtree(path.rename(self.folder / "tmp" / path.name))
        records = [self._read_object(ref.digest) for ref in self._refs()]
        apt.forget(keep={file for record in records if record for file in record.archives})

    @contextmanager
    def _explain(self) -> Generator[None]:
        """Turn what the file system refuses into an error that says what to do."""
        try:
            yield
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise CapacityError(
                    f"no space left for images in {self.folder}",
                    hint="a build needs about 400 MB; XDG_CACHE_HOME says where else to put it",
                ) from error
            raise ImageError(
                f"the image store cannot be written: {error}",
                hint="XDG_CACHE_HOME says where else to put it",
            ) from error


def open_store(folder: Path | None = None) -> Store:
    """Return the image store.

    Args:
        folder: Where it is; ``netlab/images`` in the user's cache folder when None.
    """
    return Store(folder or platformdirs.user_cache_path("netlab") / "images")


def _ignore(progress: Progress) -> None:
    """Nobody wants to know."""
    del progress
