"""Packages and recipe -> what an image has."""

from __future__ import annotations

import posixpath
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from netlab.errors import ImageError
from netlab.image.cpio import Entry
from netlab.image.elf import Needs, is_elf, read_needs
from netlab.image.kmod import (
    compress,
    find_builtin,
    find_release,
    select_modules,
    write_index,
)
from netlab.image.recipe import Recipe
from netlab.image.unpack import Tree, follow, normalise

_LIBRARY_FOLDER = re.compile(r"usr/lib(64)?(/[^/]+-linux-gnu[^/]*)?")
"""Where the dynamic loader of Debian and its like looks without being told."""

_PAGE = 4096
"""Bytes; a file in memory takes whole pages."""

_LEFT_OUT = (
    "boot/",
    "usr/lib/modules/",
    "usr/share/doc/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
)
"""What no image takes of a whole package: what only people read, and another kernel."""

_APPLETS = re.compile(rb"\0(\[\0\[\[\0(?:[\w.+-]+\0){50,})")
"""The names of a busybox's applets, as they lie in it: sorted, each closed by a zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What an image has.

    Attributes:
        kernel: As the package has it.
        release: The kernel's release.
        entries: Of the initial RAM disk.
        added: Bytes that files of those take in memory which the user has added.
    """

    kernel: bytes
    release: str
    entries: tuple[Entry, ...]
    added: int = 0


def select(tree: Tree, recipe: Recipe, whole: Tree | None = None) -> Contents:
    """Return what the recipe takes from the packages, and what it adds.

    Args:
        tree: What is in all packages.
        recipe: What is taken of it.
        whole: What is in those packages of which everything is taken, their folders too.

    Raises:
        ImageError: Something is not in the packages, or damaged, or in the way of something else.
    """
    release = find_release(tree)
    chosen = _select_programs(tree, recipe.programs)
    chosen |= _select_patterns(tree, recipe.patterns)
    chosen |= _select_modules(tree, recipe, release)
    for name in read_applets(tree[recipe.applets].data if recipe.applets in tree else b""):
        path = f"usr/bin/{name}"
        target = posixpath.basename(recipe.applets).encode()
        chosen.setdefault(path, Entry(path=path, mode=stat.S_IFLNK | 0o777, data=target))
    chosen |= {entry.path: entry for entry in recipe.entries}
    others = {entry.path: entry for entry in recipe.files}
    added = {
        path: entry
        for path, entry in _select_whole(tree, whole or {}).items()
        if path not in chosen
    } | others
    chosen |= added
    _check_folders(chosen)
    return Contents(
        kernel=_find_kernel(tree, release),
        release=release,
        entries=(*chosen.values(), *_folders(chosen)),
        added=sum(-(-len(entry.data) // _PAGE) * _PAGE for entry in added.values()),
    )


def read_applets(busybox: bytes) -> tuple[str, ...]:
    """Return the names of a busybox's applets, without running it.

    Raises:
        ImageError: They are not found.
    """
    found = _APPLETS.search(busybox)
    names = found[1].decode().split("\0")[:-1] if found else []
    # Other words may follow without a gap: they are where the order ends.
    count = next((n for n in range(1, len(names)) if names[n] <= names[n - 1]), len(names))
    if not {"mount", "modprobe", "sh"} <= set(names[:count]):
        raise ImageError("the busybox package has no table of applets that can be read")
    return tuple(name for name in names[:count] if name != "busybox")


def _select_whole(tree: Tree, whole: Tree) -> Tree:
    """Return all of some packages but what is only read by people, and the libraries they need."""
    taken = {path: entry for path, entry in whole.items() if not path.startswith(_LEFT_OUT)}
    programs = [path for path, entry in taken.items() if is_elf(entry.data)]
    # A library in a folder of its package's own is found by a path that is in the program.
    own = {posixpath.basename(path): path for path in sorted(taken, reverse=True)}
    return taken | _select_programs(tree, programs, own)


def _check_folders(chosen: Mapping[str, Entry]) -> None:
    """Refuse a file in the place of a folder: the kernel would unpack neither."""
    for path in chosen:
        folder = posixpath.dirname(path)
        while folder:
            if folder in chosen and stat.S_ISREG(chosen[folder].mode):
                raise ImageError(
                    f"/{folder} is a file, and /{path} needs it to be a folder",
                    hint="is it a file of the recipe's? give it another path",
                )
            folder = posixpath.dirname(folder)


def _select_programs(
    tree: Tree, programs: Iterable[str], own: Mapping[str, str] | None = None
) -> Tree:
    chosen: Tree = {}
    libraries = dict(own or {}) | {
        posixpath.basename(path): path
        for path in sorted(tree, reverse=True)
        if _LIBRARY_FOLDER.fullmatch(posixpath.dirname(path))
    }
    # A path and who needs it.
    pending = [(path, "the recipe") for path in programs]
    while pending:
        path, owner = pending.pop()
        if path in chosen:
            continue
        entries = follow(tree, path)
        if not entries:
            raise ImageError(f"{owner} needs /{path}, which no package has")
        chosen |= {entry.path: entry for entry in entries}
        file = entries[-1]
        if is_elf(file.data):
            needs = read_needs(file.data, f"/{file.path}")
            pending += [(needed, f"/{path}") for needed in _locate(needs, libraries, path)]
    return chosen


def _locate(needs: Needs, libraries: Mapping[str, str], owner: str) -> list[str]:
    missing = [name for name in needs.libraries if name not in libraries]
    if missing:
        raise ImageError(
            f"/{owner} needs {', '.join(missing)}, which no package has",
            hint="name the package that has it in the recipe",
        )
    found = [libraries[name] for name in needs.libraries]
    if needs.interpreter:
        found.append(normalise(needs.interpreter))
    return found


def _select_patterns(tree: Tree, patterns: Iterable[str]) -> Tree:
    chosen: Tree = {}
    for path in tree:
        if any(fnmatchcase(path, pattern) for pattern in patterns):
            chosen |= {entry.path: entry for entry in follow(tree, path)}
    return chosen


def _select_modules(tree: Tree, recipe: Recipe, release: str) -> Tree:
    boot = select_modules(tree, recipe.boot_modules)
    loaded = {module.name for module in boot}
    modules = [
        module if module.name in loaded else compress(module)
        for module in select_modules(
            tree, (*recipe.boot_modules, *recipe.modules), recipe.optional_modules
        )
    ]
    files = {module.path: module.data for module in modules} | write_index(modules, release)
    return find_builtin(tree) | {
        path: Entry(path=path, mode=stat.S_IFREG | 0o644, data=data) for path, data in files.items()
    }


def _find_kernel(tree: Tree, release: str) -> bytes:
    entries = follow(tree, f"boot/vmlinuz-{release}")
    if not entries:
        raise ImageError(f"no package has /boot/vmlinuz-{release}")
    return entries[-1].data


def _folders(chosen: Mapping[str, Entry]) -> list[Entry]:
    """Return the folders that paths imply and no entry is."""
    implied: set[str] = set()
    for path in chosen:
        folder = posixpath.dirname(path)
        while folder and folder not in implied:
            implied.add(folder)
            folder = posixpath.dirname(folder)
    return [Entry(path=path, mode=stat.S_IFDIR | 0o755) for path in sorted(implied - chosen.keys())]
