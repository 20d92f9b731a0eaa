"""Packages -> a tree in memory.

A package's files are read from its tar stream and kept as bytes under a path. Nothing is written to
the host and nothing of the package is run, so a path cannot lead anywhere.
"""

from __future__ import annotations

import io
import posixpath
import stat
import tarfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import trio

from netlab.errors import ImageError, ProgramError
from netlab.image.cpio import Entry
from netlab.process import run

Tree = dict[str, Entry]
"""Entries by path; folders follow from what is in them, and are kept only where asked for."""

MERGED = {"bin": "usr/bin", "sbin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64"}
"""Older packages have files in /bin, newer ones the same in /usr/bin. An image has one folder of
programs, /usr/bin, and the other names are links to it: one place to look, and a recipe that fits
every release."""

MAX_LINKS = 40
"""Symbolic links in one path before it counts as a circle, as in path_resolution(7)."""


async def unpack(package: Path, *, folders: bool = False) -> Tree:
    """Return the files of a Debian package.

    Args:
        package: Its file.
        folders: Whether to keep its folders, for those in which nothing is.

    Raises:
        ImageError: It is no package, or has a path that leaves the root.
        MissingProgramError: dpkg-deb is not installed.
    """
    try:
        done = await run(("dpkg-deb", "--fsys-tarfile", str(package)))
    except ProgramError as error:
        raise ImageError(f"{package.name} cannot be unpacked", evidence=error.evidence) from error
    read = partial(read_tar, done.stdout, package.name, folders=folders)
    return await trio.to_thread.run_sync(read)


def read_tar(data: bytes, name: str, *, folders: bool = False) -> Tree:
    """Return the files and symbolic links of a tar archive.

    Args:
        data: The archive, not compressed.
        name: What to call it in an error.
        folders: Whether to keep folders.

    Raises:
        ImageError: It is damaged, or has a path that leaves the root, or a hard link to nothing.
    """
    tree: Tree = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                if not member.isdir():
                    _add(tree, archive, member)
                elif folders and member.name.strip("./"):
                    path = normalise(member.name)
                    mode = stat.S_IFDIR | (member.mode & 0o1777)
                    tree[path] = Entry(path=path, mode=mode)
    except (tarfile.TarError, EOFError, KeyError, ValueError, OSError) as error:
        raise ImageError(f"{name} is damaged or hostile: {error}") from error
    return tree


def _add(tree: Tree, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    path = normalise(member.name)
    mode = member.mode & 0o777
    if member.issym():
        # Where /sbin/ip is a link to /bin/ip, both are one name here.
        if _locate(path, member.linkname) != path:
            target = member.linkname.encode(errors="surrogateescape")
            tree[path] = Entry(path=path, mode=stat.S_IFLNK | 0o777, data=target)
    elif member.islnk():
        origin = tree[normalise(member.linkname)]
        tree[path] = Entry(path=path, mode=origin.mode, data=origin.data)
    elif member.isfile():
        content = archive.extractfile(member)
        data = content.read() if content else b""
        tree[path] = Entry(path=path, mode=stat.S_IFREG | mode, data=data)
    # Devices and pipes are no business of a package; an image's own are in its recipe.


def normalise(path: str) -> str:
    """Return a path relative to the root, with /usr and its folders of programs merged.

    Raises:
        ValueError: It is empty or leaves the root.
    """
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if not parts or ".." in parts or "\0" in path:
        raise ValueError(f"the path {path!r}")
    if len(parts) > 1:
        parts[0] = MERGED.get(parts[0], parts[0])
    if parts[:2] == ["usr", "sbin"] and len(parts) > 2:
        parts[1] = "bin"
    return "/".join(parts)


def merge(trees: Iterable[Tree]) -> Tree:
    """Return one tree; of two files with the same path the later one stays."""
    whole: Tree = {}
    for tree in trees:
        whole.update(tree)
    return whole


def follow(tree: Mapping[str, Entry], path: str) -> tuple[Entry, ...]:
    """Return what a path stands for: symbolic links on the way, then the file.

    Returns:
        Nothing if there is no such file.

    Raises:
        ImageError: The links go in a circle, or out of the root.
    """
    found: list[Entry] = []
    while (entry := tree.get(path)) is not None:
        found.append(entry)
        if not stat.S_ISLNK(entry.mode):
            return tuple(found)
        if len(found) > MAX_LINKS:
            raise ImageError(f"/{found[0].path}: symbolic links in a circle")
        target = entry.data.decode(errors="surrogateescape")
        try:
            path = _locate(path, target)
        except ValueError as error:
            raise ImageError(f"/{entry.path} leads to {target!r}") from error
    return ()


def _locate(path: str, target: str) -> str:
    """Return what a symbolic link at a path leads to; ``..`` at the root stays there."""
    return normalise(posixpath.normpath(posixpath.join("/", posixpath.dirname(path), target)))
