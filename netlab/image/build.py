"""The road of a build: packages -> kernel and initial RAM disk, complete on disk or not there."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import trio

from netlab.errors import ImageError, NetlabError
from netlab.image import cpio, lz4
from netlab.image.apt import Apt, Archive, PackageSet, Resolved
from netlab.image.contents import select
from netlab.image.kernel import extract
from netlab.image.loader import LoaderRecipe, make_loader
from netlab.image.progress import Progress, Tell
from netlab.image.recipe import Recipe
from netlab.image.unpack import Tree, merge, unpack

KERNEL, PACKED_KERNEL, INITRD, RECORD = "kernel", "kernel.packed", "initrd", "image.json"
DISK = "disk.qcow2"
"""Names of an image's files."""

_MIB = 1 << 20

UNPACKERS = 2
"""Packages unpacked side by side: more would only compete for memory with the one large kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is written beside an image's files.

    Attributes:
        name: The image's name.
        digest: Of recipe and packages.
        arch: The guest's architecture, as QEMU names it.
        append: The kernel's command line.
        built: When, in UTC, ISO 8601.
        packages: ``name=version``, sorted.
        archives: Names of the package files.
        sizes: Bytes of each file.
        base: The image that it is made of; empty for one of netlab's.
        memory: MiB that it needs beside what its base needs.
    """

    name: str
    digest: str
    arch: str
    append: str
    built: str
    packages: tuple[str, ...]
    archives: tuple[str, ...]
    sizes: dict[str, int]
    base: str = ""
    memory: int = 0


def digest(recipe: PackageSet, archives: Sequence[Archive]) -> str:
    """Return the SHA-256 of everything that an image is made of, 64 hexadecimal digits."""
    packages = sorted(f"{archive.package}={archive.sha256}" for archive in archives)
    return hashlib.sha256(json.dumps([recipe.digest(), packages]).encode()).hexdigest()


async def fetch(recipe: PackageSet, apt: Apt, *, refresh: bool, tell: Tell) -> Resolved:
    """Resolve and download a recipe's packages.

    Lists that are there save a minute on a slow line, but name packages that mirrors may have
    replaced: then they are read again.

    Raises:
        ImageError: A package is not to be had.
    """
    resolved = await apt.resolve(recipe, refresh=refresh, tell=tell)
    try:
        await apt.download(recipe, resolved, tell)
    except ImageError:
        if resolved.fresh:
            raise
        resolved = await apt.resolve(recipe, refresh=True, tell=tell)
        await apt.download(recipe, resolved, tell)
    return resolved


async def find_whole(
    recipe: Recipe, apt: Apt, archives: Sequence[Archive], tell: Tell
) -> tuple[Archive, ...]:
    """Return the packages of which everything is taken: those added, and what only they need.

    Raises:
        ImageError: The packages without them cannot be resolved.
    """
    if not recipe.added:
        return ()
    packages = tuple(name for name in recipe.packages if name not in recipe.added)
    there = await apt.resolve(replace(recipe, packages=packages), refresh=False, tell=tell)
    known = {_name(archive.package) for archive in there.archives} - set(map(_name, recipe.added))
    return tuple(archive for archive in archives if _name(archive.package) not in known)


def _name(package: str) -> str:
    return package.partition("=")[0]


async def build(
    recipe: Recipe, apt: Apt, archives: Sequence[Archive], folder: Path, tell: Tell
) -> None:
    """Build an image of downloaded packages in an empty folder, down to the disk.

    Raises:
        ImageError: Something is not in the packages, or they are damaged.
        OSError: The folder cannot be written.
    """
    chosen = await find_whole(recipe, apt, archives, tell)
    parts = [archive for archive in archives if archive not in chosen]
    whole = merge(await unpack_all(list(map(apt.locate, chosen)), tell, folders=True))
    tree = merge((*await unpack_all(list(map(apt.locate, parts)), tell), _files(whole)))
    tell(Progress("packing"))
    # Pure computation: when nobody waits for it any more, it may end when it likes.
    files, memory = await trio.to_thread.run_sync(
        _pack, tree, whole, recipe, abandon_on_cancel=True
    )
    record = _describe(recipe, archives, files, arch=recipe.arch, append=recipe.append)
    record = replace(record, base=recipe.base, memory=memory)
    tell(Progress("writing"))
    await trio.to_thread.run_sync(write_files, folder, {**files, RECORD: write_record(record)})


async def build_loader(
    recipe: LoaderRecipe, apt: Apt, archives: Sequence[Archive], folder: Path, tell: Tell
) -> None:
    """Make a boot loader of downloaded packages in an empty folder, down to the disk.

    Raises:
        ImageError: Something is not in the packages, or they are damaged.
        ProgramError: The program that makes it failed.
        OSError: The folder cannot be written.
    """
    tree = merge(await unpack_all([apt.locate(archive) for archive in archives], tell))
    files = await make_loader(tree)
    record = _describe(recipe, archives, files, arch="x86_64", append="")
    await trio.to_thread.run_sync(write_files, folder, {**files, RECORD: write_record(record)})


def _describe(
    recipe: PackageSet,
    archives: Sequence[Archive],
    files: dict[str, bytes],
    *,
    arch: str,
    append: str,
) -> Record:
    return Record(
        name=recipe.name,
        digest=digest(recipe, archives),
        arch=arch,
        append=append,
        built=datetime.now(UTC).isoformat(timespec="seconds"),
        packages=tuple(archive.package for archive in archives),
        archives=tuple(archive.file for archive in archives),
        sizes={name: len(data) for name, data in files.items()},
    )


def write_record(record: Record) -> bytes:
    """Return a record as JSON."""
    values = {name: getattr(record, name) for name in Record.__slots__}
    return json.dumps(values, indent=1).encode() + b"\n"


def read_record(text: bytes) -> Record:
    """Return the record in a JSON text.

    Raises:
        ValueError: It is none.
    """
    try:
        values = json.loads(text)
        for name in ("packages", "archives"):
            values[name] = tuple(values[name])
        return Record(**values)
    except (TypeError, KeyError) as error:
        raise ValueError(f"not a record of an image: {error}") from error


def _files(tree: Tree) -> Tree:
    """Return a tree without its folders."""
    return {path: entry for path, entry in tree.items() if not stat.S_ISDIR(entry.mode)}


async def unpack_all(paths: Sequence[Path], tell: Tell, *, folders: bool = False) -> list[Tree]:
    """Return the trees of packages, in their order.

    Args:
        paths: The packages.
        tell: Told what is done.
        folders: Whether to keep their folders.

    Raises:
        ImageError: One is damaged.
    """
    trees: dict[Path, Tree] = {}
    failures: list[NetlabError] = []
    limit = trio.CapacityLimiter(UNPACKERS)
    if not paths:
        return []
    tell(Progress("unpacking packages", 0, len(paths)))

    async def unpack_one(path: Path) -> None:
        async with limit:
            try:
                trees[path] = await unpack(path, folders=folders)
            except NetlabError as error:
                # Raised below, alone: the first one says it all.
                failures.append(error)
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for path in paths:
            nursery.start_soon(unpack_one, path)
    if failures:
        raise failures[0]
    return [trees[path] for path in paths]


def _pack(tree: Tree, whole: Tree, recipe: Recipe) -> tuple[dict[str, bytes], int]:
    """Return the files of an image, and MiB of memory that what is added needs."""
    contents = select(tree, recipe, whole)
    kernel = extract(contents.kernel)
    # Two that are the same would only take the place of two.
    packed = {} if kernel == contents.kernel else {PACKED_KERNEL: contents.kernel}
    archive = cpio.write(contents.entries)
    initrd = lz4.compress(archive)
    # While it is unpacked, it is there twice; and a quarter more for what the kernel keeps of each
    # file: docs/images.md has the figures.
    memory = (contents.added + contents.added * len(initrd) // len(archive)) * 5 // 4
    return {KERNEL: kernel, **packed, INITRD: initrd}, -(-memory // _MIB)


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write files and their names down to the disk.

    Raises:
        OSError: The folder cannot be written.
    """
    for name, data in files.items():
        with (folder / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
