"""A guest with another kernel: Debian's generic one, which has 9p, below what micro has."""

from __future__ import annotations

import io
import os
import posixpath
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from platformdirs import user_cache_path

from netlab.image.apt import Apt
from netlab.image.build import fetch
from netlab.image.cpio import Entry, write
from netlab.image.kmod import find_release, select_modules, write_index
from netlab.image.progress import Progress
from netlab.image.recipe import MICRO
from netlab.machine.boot import Boot

RECIPE = replace(MICRO, name="generic", packages=("linux-image-amd64",))
MODULES = (*MICRO.boot_modules, "9p", "9pnet_virtio")
NEEDED = ("net", "fs", "drivers/virtio", "drivers/char", "drivers/net", "drivers/block")
"""Folders of modules that those are in, or what they need."""


KEPT = user_cache_path("netlab-tests")
"""Has the kernel once it was fetched: 70 MB, which no test changes."""


async def make_boot(micro: Boot, folder: Path) -> Boot:
    """Return what a micro guest boots from when its kernel is the generic one.

    Args:
        micro: What it boots from otherwise.
        folder: For what is fetched and made.
    """
    kernel, modules = KEPT / "generic.kernel", KEPT / "generic.modules"
    if not all(map(os.path.exists, (kernel, modules))):
        tree = read(await fetch_package(folder))
        [image] = [entry.data for path, entry in tree.items() if "/vmlinuz-" in path]
        keep(kernel, image)
        keep(modules, write(list(entries(tree))))
    assert micro.initrd is not None
    both = folder / "initrd"
    # The kernel unpacks one archive after the other, and a compressed one ends where zeros begin.
    base = read_bytes(micro.initrd)
    both.write_bytes(base + bytes(1024 - len(base) % 512) + read_bytes(modules))
    return replace(micro, kernel=str(kernel), initrd=str(both))


def read_bytes(path: Path | str) -> bytes:
    return Path(path).read_bytes()


def keep(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(data)
    unfinished.rename(path)


async def fetch_package(folder: Path) -> Path:
    """Return the package with the kernel, fetched if it is not there."""

    def tell(_: Progress) -> None:
        pass

    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        apt = Apt(folder=folder / "apt", lock=lock)
        resolved = await fetch(RECIPE, apt, refresh=False, tell=tell)
        found = [apt.locate(archive) for archive in resolved.archives]
    finally:
        os.close(lock)
    # The other of that name is empty, and needs this one.
    return max((path for path in found if "linux-image" in path.name), key=os.path.getsize)


def read(package: Path) -> dict[str, Entry]:
    """Return what is needed of a package, by its path in an image."""
    done = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE, check=True
    )
    tree: dict[str, Entry] = {}
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            path = member.name.removeprefix("./")
            inside = path.partition("/kernel/")[2]
            if file is not None and (not inside or inside.startswith(NEEDED)):
                place = path if path.startswith("boot/") else f"usr/{path}"
                tree[place] = entry(place, stat.S_IFREG | 0o644, file.read())
    return tree


def entries(tree: dict[str, Entry]) -> Iterator[Entry]:
    """Yield the kernel's modules with the folders that they are in."""
    modules = select_modules(tree, MODULES)
    files = {module.path: module.data for module in modules}
    files |= write_index(modules, find_release(tree))
    folders = {"."}
    for path, data in files.items():
        yield entry(path, stat.S_IFREG | 0o644, data)
        while path := posixpath.dirname(path):
            folders.add(path)
    for path in folders:
        yield entry(path, stat.S_IFDIR | 0o755)


def entry(path: str, mode: int, data: bytes = b"") -> Entry:
    return Entry(path=path, mode=mode, data=data)
