"""Finished images, content-addressed, in one folder.

::

    objects/DIGEST/   kernel, perhaps kernel.packed, initrd, perhaps disk.qcow2, image.json:
                      complete, never changed; or the files of the boot loader
    refs/NAME.json    which object NAME is, and of which recipe that was made
    tmp/              builds that are under way; left over if nobody holds the lock
    downloads/        files of the net that disks are made from, by their digests; may be removed
    apt/              package lists and downloaded packages: a cache, may be removed
    lock              held by whoever builds or removes

An object appears by one rename when it is on the disk. One that a lab runs from is held by it, and
goes when the lab has ended and somebody clears up.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import trio

from netlab.errors import CapacityError, ImageError, UnknownNameError
from netlab.image.apt import Apt
from netlab.image.bootstrap import bootstrap
from netlab.image.build import build, build_loader, digest, fetch
from netlab.image.download import Downloads
from netlab.image.loader import LOADER, Loader, LoaderRecipe, locate_loader
from netlab.image.lock import open_lock, seize, share, try_lock
from netlab.image.objects import Image, Objects, Ref
from netlab.image.own import OwnRecipe, own_recipes
from netlab.image.progress import Progress, Tell
from netlab.image.recipe import RECIPES, Recipe, find_recipe
from netlab.image.system import SystemRecipe
from netlab.plan.images import name_of
from netlab.plan.model import ImagePlan

__all__ = ["Image", "Progress", "Store", "open_store"]

_AnyRecipe = Recipe | SystemRecipe | OwnRecipe


@dataclass(frozen=True, slots=True)
class _Work:
    """A build under way: its lock, the packages, and who is told of it."""

    lock: int
    apt: Apt
    tell: Tell


class Store:
    """The images of one folder. Safe to use from any number of processes at once.

    Attributes:
        folder: Where it is. It need not be there before the first build.
    """

    def __init__(self, folder: Path, own: Mapping[str, OwnRecipe] | None = None) -> None:
        self.folder = folder
        self._own = own or {}
        self._objects = Objects(folder)

    def with_images(self, images: Iterable[ImagePlan]) -> Store:
        """Return the same store, which can build these images too.

        Args:
            images: Images of the user's own; paths in them are absolute.
        """
        return Store(self.folder, {**self._own, **own_recipes(images)})

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
        recipe = self._own.get(name) or find_recipe(name)
        image = None if rebuild else self._find_current(recipe)
        if image is not None:
            return image
        async with self._open_work(progress) as work:
            image = None if rebuild else self._find_current(recipe)
            if image is not None:
                return image
            self._objects.clear_leftovers()
            return await self._build(recipe, work, refresh=rebuild)

    @asynccontextmanager
    async def open_image(self, name: str, *, progress: Tell | None = None) -> AsyncGenerator[Image]:
        """Have an image for the length of a block, built like by :meth:`ensure`.

        Nobody removes its files meanwhile, whatever becomes of its name.

        Args:
            name: A recipe's name.
            progress: Told what is done.
        """
        image = await self.ensure(name, progress=progress)
        while (held := share(image.folder)) is None:
            # Somebody has just removed it.
            await trio.lowlevel.checkpoint()
            image = await self.ensure(name, progress=progress)
        try:
            yield image
        finally:
            os.close(held)

    def list(self) -> tuple[Image, ...]:
        """Return the images that are there, sorted by name; damaged ones are left out."""
        found = map(self._objects.find, self._objects.names())
        return tuple(image for image in found if image is not None)

    def get(self, name: str) -> Image:
        """Return an image that is there.

        Args:
            name: Its name; of one of the user's own that is the only one of its name, that alone.

        Raises:
            UnknownNameError: It is not there, or several are.
        """
        image = self._objects.find(name)
        if image is not None:
            return image
        named = [one for one in self.list() if one.recipe and name_of(one.name) == name]
        if len(named) == 1:
            return named[0]
        if named:
            hint = f"say which: {', '.join(one.name for one in named)}"
            raise UnknownNameError(f"{len(named)} images are called {name!r}", hint=hint)
        hint = f"`netlab image build {name}`" if name in RECIPES else "see `netlab image list`"
        raise UnknownNameError(f"no image {name!r} is in {self.folder}", hint=hint)

    def remove(self, name: str) -> None:
        """Remove an image and what it was made of; a lab that runs from it has it to its end.

        Raises:
            UnknownNameError: It is not there.
            ImageError: An image is being built, or the store cannot be written.
        """
        image = self.get(name)
        with self._take_lock() as lock:
            self._objects.drop(image.name)
            self._collect(Apt(folder=self.folder / "apt", lock=lock))

    def prune(self, stale: Iterable[str] = (), kept: Iterable[Path] = ()) -> int:
        """Remove what nobody needs; return how many bytes that were.

        That is what no name is, what names were before their last build, downloads, packages that
        no image is made of: all but what labs run from.

        Args:
            stale: Names to remove too, unless a lab runs from them.
            kept: Files that are needed all the same, because layers lie over them.

        Raises:
            ImageError: An image is being built, or the store cannot be written.
        """
        kept = tuple(kept)
        if not self.folder.is_dir():
            return 0
        with self._take_lock() as lock:
            self._objects.clear_leftovers()
            damaged = [
                name
                for name, ref in self._objects.refs().items()
                if self._objects.read(ref.digest) is None
            ]
            for name in (*stale, *damaged):
                self._drop_unused(name)
            self._objects.forget_previous()
            apt = Apt(folder=self.folder / "apt", lock=lock)
            return self._collect(apt, kept) + self.downloads.prune(kept)

    def _drop_unused(self, name: str) -> None:
        image = self._objects.find(name)
        held = None if image is None else seize(image.folder)
        if image is None or held is not None:
            self._objects.drop(name)
        if held is not None:
            os.close(held)

    async def ensure_loader(self, *, progress: Tell | None = None) -> Loader:
        """Return the boot loader of disks, made if it is not there; like :meth:`ensure`.

        Raises:
            ImageError: It cannot be made; the error says what to do.
            MissingProgramError: apt-get or dpkg-deb is not installed.
            CapacityError: The disk is full.
        """
        async with self._open_work(progress) as work:
            return await self._ensure_loader(work)

    async def _ensure_loader(self, work: _Work) -> Loader:
        ref = self._objects.read_ref(LOADER.name)
        current = ref is not None and ref.recipe == LOADER.digest()
        if ref is None or not current or self._objects.read(ref.digest) is None:
            key = await self._build_packages(LOADER, work, refresh=False)
            ref = Ref(recipe=LOADER.digest(), digest=key)
            self._objects.point(LOADER.name, ref)
        return locate_loader(self._objects.path(ref.digest))

    async def _build(self, recipe: _AnyRecipe, work: _Work, *, refresh: bool) -> Image:
        if isinstance(recipe, OwnRecipe):
            file, whole = recipe.plan.file, await trio.to_thread.run_sync(recipe.read)
        else:
            file, whole = "", recipe
        if isinstance(whole, SystemRecipe):
            loader = await self._ensure_loader(work)
            with self._objects.open_new() as folder:
                record = await bootstrap(whole, loader, folder, lock=work.lock, tell=work.tell)
                self._objects.keep(folder, record.digest)
            key = record.digest
        else:
            key = await self._build_packages(whole, work, refresh=refresh)
        self._objects.point(recipe.name, Ref(recipe=recipe.digest(), digest=key, file=file))
        if file:
            self._drop_older(recipe.name, file)
        self._collect(work.apt)
        return self.get(recipe.name)

    def _drop_older(self, name: str, file: str) -> None:
        """Let go of what a recipe's file said before, but for the last: labs may run from it."""
        arch = self.get(name).arch
        others = [one for one in self.list() if one.recipe == file and one.arch == arch]
        others.sort(key=lambda one: self._objects.named_at(one.name), reverse=True)
        for image in [one for one in others if one.name != name][1:]:
            self._drop_unused(image.name)

    async def _build_packages(
        self, recipe: Recipe | LoaderRecipe, work: _Work, *, refresh: bool
    ) -> str:
        """Build of unpacked packages; return the object's digest."""
        apt, tell = work.apt, work.tell
        resolved = await fetch(recipe, apt, refresh=refresh, tell=tell)
        key = digest(recipe, resolved.archives)
        if self._objects.read(key) is None:
            with self._objects.open_new() as folder:
                if isinstance(recipe, LoaderRecipe):
                    await build_loader(recipe, apt, resolved.archives, folder, tell)
                else:
                    await build(recipe, apt, resolved.archives, folder, tell)
                self._objects.keep(folder, key)
        return key

    @asynccontextmanager
    async def _open_work(self, progress: Tell | None) -> AsyncGenerator[_Work]:
        """Take the lock, and say what the file system refuses."""
        tell = progress or _ignore

        def waiting() -> None:
            tell(Progress("waiting for another build"))

        with self._explain():
            self._objects.make_folders()
            async with open_lock(self.folder / "lock", waiting=waiting) as lock:
                yield _Work(lock, Apt(folder=self.folder / "apt", lock=lock), tell)

    @contextmanager
    def _take_lock(self) -> Generator[int]:
        with self._explain():
            lock = try_lock(self.folder / "lock")
            if lock is None:
                raise ImageError("an image is being built", hint="remove it when that is done")
            try:
                yield lock
            finally:
                os.close(lock)

    def _find_current(self, recipe: _AnyRecipe) -> Image | None:
        ref = self._objects.read_ref(recipe.name)
        current = ref is not None and ref.recipe == recipe.digest()
        return self._objects.find(recipe.name) if current else None

    def _collect(self, apt: Apt, kept: Iterable[Path] = ()) -> int:
        """Remove objects that nobody needs, and packages that no image is made of."""
        freed = self._objects.collect(kept)
        records = [self._objects.read(ref.digest) for ref in self._objects.refs().values()]
        return freed + apt.forget(
            keep={file for record in records if record for file in record.archives}
        )

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
