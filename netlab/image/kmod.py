"""Kernel modules with all that they depend on, and the index by which modprobe finds them.

Distribution packages have no ``modules.dep``: depmod makes it when they are installed, which they
never are here. Modules say themselves what they need and what they are asked for by: the fields
``depends`` and ``alias`` of their ``.modinfo`` section. Source: depmod(8), modules.dep(5).
"""

from __future__ import annotations

import gzip
import lzma
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from netlab.errors import ImageError
from netlab.image.cpio import Entry
from netlab.image.elf import read_module_information

FOLDER = "usr/lib/modules"

_DECOMPRESS = {".ko": bytes, ".ko.gz": gzip.decompress, ".ko.xz": lzma.decompress}


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A kernel module.

    Attributes:
        name: As lsmod shows it, with underscores.
        path: In the image, ending in ``.ko``, or ``.ko.gz`` if it is compressed.
        data: The file.
        needs: Names of the modules that must be there before.
        aliases: Patterns by which the kernel asks for it.
    """

    name: str
    path: str
    data: bytes
    needs: tuple[str, ...]
    aliases: tuple[str, ...]


def module_name(path: str) -> str:
    """Return the name of the module in a file."""
    return posixpath.basename(path).partition(".ko")[0].replace("-", "_")


def find_release(tree: Mapping[str, Entry]) -> str:
    """Return the kernel's release, such as ``6.1.0-1-cloud-amd64``.

    Raises:
        ImageError: There is no kernel, or more than one.
    """
    prefix = f"{FOLDER}/"
    releases = {path[len(prefix) :].partition("/")[0] for path in tree if path.startswith(prefix)}
    if len(releases) != 1:
        found = ", ".join(sorted(releases)) or "none"
        raise ImageError(f"the packages must have one kernel with modules, but have: {found}")
    return releases.pop()


def find_builtin(tree: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return ``modules.builtin`` by path, if the kernel's package has one.

    It is what lets modprobe succeed for what is built into the kernel.
    """
    path = f"{FOLDER}/{find_release(tree)}/modules.builtin"
    return {path: tree[path]} if path in tree else {}


def select_modules(
    tree: Mapping[str, Entry], wanted: Iterable[str], optional: Iterable[str] = ()
) -> tuple[Module, ...]:
    """Return modules and what they depend on, not compressed, sorted by path.

    Args:
        tree: A kernel package's files.
        wanted: Module names, or patterns of paths below the release's folder ``kernel/``. What is
            built into the kernel is there already.
        optional: The same; what no package has is left out.

    Raises:
        ImageError: One is missing or damaged.
    """
    root = f"{FOLDER}/{find_release(tree)}"
    files = {
        module_name(path): path for path in sorted(tree) if path.startswith(root) and ".ko" in path
    }
    builtin = _read_builtin(tree)
    pending = {
        *_match(files, root, wanted, builtin, required=True),
        *_match(files, root, optional, builtin, required=False),
    }
    chosen: dict[str, Module] = {}
    while pending:
        name = pending.pop()
        if name in chosen or name in builtin:
            continue
        if name not in files:
            raise ImageError(f"the kernel package has no module {name}")
        chosen[name] = _read_module(tree[files[name]], name)
        pending.update(chosen[name].needs)
    return tuple(sorted(chosen.values(), key=lambda module: module.path))


def compress(module: Module) -> Module:
    """Return a module compressed, in the way that every modprobe can undo."""
    # A level and a time of its own: the same bytes for the same module.
    data = gzip.compress(module.data, compresslevel=9, mtime=0)
    return replace(module, path=f"{module.path}.gz", data=data)


def write_index(modules: Iterable[Module], release: str) -> dict[str, bytes]:
    """Return ``modules.dep`` and ``modules.alias`` by path.

    A line of ``modules.dep`` names everything that a module needs, what must be loaded first last.
    """
    known = {module.name: module for module in modules}
    root = f"{FOLDER}/{release}"
    dependencies = [
        f"{_relative(module.path, root)}:"
        + "".join(f" {_relative(known[name].path, root)}" for name in _order(module, known))
        for module in known.values()
    ]
    aliases = [
        f"alias {alias} {module.name}" for module in known.values() for alias in module.aliases
    ]
    return {
        f"{root}/modules.dep": _lines(dependencies),
        f"{root}/modules.alias": _lines(aliases),
    }


def _lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in sorted(lines)).encode()


def _relative(path: str, root: str) -> str:
    return path[len(root) + 1 :]


def _order(module: Module, known: Mapping[str, Module]) -> list[str]:
    """Return what a module needs, directly or not, what must be loaded first last."""
    seen = {module.name}
    first_to_last: list[str] = []

    def visit(name: str) -> None:
        if name in seen or name not in known:
            return
        seen.add(name)
        for deeper in known[name].needs:
            visit(deeper)
        first_to_last.append(name)

    for name in module.needs:
        visit(name)
    return first_to_last[::-1]


def _read_builtin(tree: Mapping[str, Entry]) -> frozenset[str]:
    text = b"".join(entry.data for entry in find_builtin(tree).values())
    return frozenset(map(module_name, text.decode(errors="replace").split()))


def _match(
    files: Mapping[str, str],
    root: str,
    patterns: Iterable[str],
    builtin: frozenset[str],
    *,
    required: bool,
) -> set[str]:
    matched: set[str] = set()
    for pattern in patterns:
        if "/" in pattern:
            whole = f"{root}/kernel/{pattern}.ko*"
            names = {name for name, path in files.items() if fnmatchcase(path, whole)}
        else:
            names = {pattern} & (files.keys() | builtin)
        if required and not names:
            raise ImageError(f"the kernel package has no module {pattern}")
        matched |= names
    return matched


def _read_module(entry: Entry, name: str) -> Module:
    stem, suffix, rest = entry.path.rpartition(".ko")
    decompress = _DECOMPRESS.get(suffix + rest)
    if decompress is None:
        raise ImageError(f"/{entry.path} is compressed in a way that is not known here")
    try:
        data = decompress(entry.data)
    except (lzma.LZMAError, OSError, EOFError) as error:
        raise ImageError(f"/{entry.path} is damaged: {error}") from error
    fields = read_module_information(data, f"/{entry.path}")
    needs = [word for line in fields.get("depends", ()) for word in line.split(",") if word]
    return Module(
        name=name,
        path=f"{stem}.ko",
        data=data,
        needs=tuple(word.replace("-", "_") for word in needs),
        aliases=fields.get("alias", ()),
    )
