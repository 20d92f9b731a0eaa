"""What a recipe adds to a system while that is installed: files first, then its commands.

mmdebstrap takes an archive and hands it into the new system (``tar-in``, mmdebstrap(1)), and then
runs, in that system and as its root, what came with it: a script of ours (debian/run), and each
command of the recipe as a file of its own. So the commands are text for the guest's shell, and
never words of one of the host's.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from netlab.errors import ImageError
from netlab.image.cpio import Entry
from netlab.image.entries import file, folder, text
from netlab.image.system import SystemRecipe

_FOLDER = "netlab-build"
"""Where the commands are while they are run, in the new system; it goes with the last of them."""

_HOOK = f'--customize-hook=chroot "$1" /bin/sh /{_FOLDER}/run'
"""mmdebstrap hands this to a shell, with the new system's folder as its argument."""

_BEGUN = re.compile(r"^netlab-build: command (\d+)$", re.MULTILINE)
_FAILED = re.compile(r"^netlab-build: command (\d+) ended with status (\d+)$", re.MULTILINE)
_LAST_LINES = 30

_LATE = frozenset(("etc/hostname", "etc/machine-id", "etc/resolv.conf"))
"""What mmdebstrap has of the host's while commands run, and takes away in the end."""


def prepare(recipe: SystemRecipe) -> tuple[Entry, ...]:
    """Return what is brought into a system before the first of its commands is run."""
    entries = {entry.path: entry for entry in (*recipe.entries, *recipe.files)}
    if recipe.run:
        commands = [
            text(f"{_FOLDER}/{number}", f"{command}\n") for number, command in enumerate(recipe.run)
        ]
        own = (folder(_FOLDER, 0o700), file(f"{_FOLDER}/run", "debian/run"), *commands)
        entries |= {entry.path: entry for entry in own}
    return tuple(entries.values())


def write_hooks(recipe: SystemRecipe, archive: Path) -> list[str]:
    """Return the options that have mmdebstrap bring files in and run commands.

    Args:
        recipe: What is added.
        archive: What :func:`prepare` returns, as a tar archive.
    """
    # The path is in a word of its own, as mmdebstrap splits it like a shell.
    files = f"--customize-hook=tar-in {shlex.quote(str(archive))} /"
    return [files, *([_HOOK] if recipe.run else [])]


def find_last(recipe: SystemRecipe) -> tuple[Entry, ...]:
    """Return what is laid over the system when it is installed."""
    if not (recipe.files or recipe.run):
        return recipe.entries
    entries = {entry.path: entry for entry in (*recipe.entries, *recipe.files)}
    return tuple(entry for path, entry in entries.items() if path in _LATE)


def check_commands(recipe: SystemRecipe, output: str) -> None:
    """Do nothing unless a command of the recipe has failed.

    Args:
        recipe: Whose.
        output: What mmdebstrap and all that it ran has printed.

    Raises:
        ImageError: With the command, its exit status and what it printed last.
    """
    failed = next(_FAILED.finditer(output), None)
    number = int(failed[1]) if failed else len(recipe.run)
    if failed is None or number >= len(recipe.run):
        return
    begun = [one.end() for one in _BEGUN.finditer(output, 0, failed.start()) if one[1] == failed[1]]
    lines = output[begun[-1] if begun else 0 : failed.start()].strip("\n").splitlines()
    raise ImageError(
        f"{recipe.name}: run[{number}] ended with exit status {failed[2]}: {recipe.run[number]}",
        hint="it is run in the image as root, by /bin/sh, with the host's network",
        evidence="\n".join(_shortened(lines)) or "it printed nothing",
    )


def _shortened(lines: list[str]) -> Iterable[str]:
    if len(lines) > _LAST_LINES:
        yield f"… {len(lines) - _LAST_LINES} lines before"
    yield from lines[-_LAST_LINES:]
