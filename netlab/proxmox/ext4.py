"""An ext4 file system in a file, without mounting it: debugfs of e2fsprogs, and links followed.

debugfs follows no link in the last place of a path, where a guest does: where a path leads is found
out here, link by link, and never leaves the file system.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import trio

from netlab.errors import ImageError, InputError
from netlab.process import run

_MAX_LINKS = 40
"""Links that the kernel follows in one path (MAXSYMLINKS in include/linux/namei.h of Linux)."""

_IN_MEMORY = ("/dev", "/proc", "/run", "/sys")
"""Folders over which a running system has file systems in memory."""

_COMMAND = re.compile(r"^debugfs: .*\n", re.MULTILINE)
"""What debugfs prints before the output of each command of a file."""

_TYPE = re.compile(r"^Inode: \d+\s+Type: (\w+)")
_LINK = re.compile(r'^Fast link dest: "(.*)"$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is at a place: its type in debugfs's words, empty for nothing, and a link's target."""

    type: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class _Unknown:
    """Places that have to be looked at before it is known where a path leads."""

    places: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True)
class FileSystem:
    """An ext4 file system.

    Attributes:
        device: The file, with ``?offset=`` and where in it the file system begins.
        folder: For what goes in and comes out; commands name its files alone.
    """

    device: str
    folder: Path
    _known: dict[str, Entry] = field(default_factory=dict[str, Entry])

    async def run(self, commands: Iterable[str], *, writing: bool = False) -> str:
        """Run commands of debugfs and return what it prints; a failed one stops none else.

        Raises:
            MissingProgramError: debugfs is not installed.
            ProgramError: There is no file system that it can read.
        """
        await trio.Path(self.folder / "commands").write_text(
            "".join(f"{command}\n" for command in commands)
        )
        words = ("debugfs", *(["-w"] if writing else []), "-f", "commands", self.device)
        done = await run(words, cwd=self.folder)
        return done.stdout.decode(errors="replace")

    async def find_places(self, paths: Sequence[str]) -> list[str]:
        """Return where files are written that a guest would write at paths: links are followed.

        A link that leads out of the disk, to where a running system has its memory, is itself the
        place: what was written behind it would never be seen.

        Args:
            paths: Absolute ones; what is not there yet is no mistake.

        Raises:
            ImageError: debugfs cannot say what is there.
            InputError: Something that is no folder is in the way, or links go round: all of them.
        """
        while True:
            found = [follow(path, self._known) for path in paths]
            asked = dict.fromkeys(
                place for one in found if isinstance(one, _Unknown) for place in one.places
            )
            if not asked:
                break
            await self._look(list(asked))
        wrong = [one.message for one in found if isinstance(one, InputError)]
        if wrong:
            raise InputError("\n".join(wrong))
        return [one for one in found if isinstance(one, str)]

    def has(self, place: str) -> bool:
        """Say whether there was something at a place, or a folder above one, that was found."""
        return self._known[place].type != ""

    async def _look(self, places: Sequence[str]) -> None:
        """Find out what is at places whose folders are no links."""
        _, *outputs = _COMMAND.split(await self.run(f'stat "{place}"' for place in places))
        if len(outputs) != len(places):
            raise ImageError(f"{self.device}: debugfs does not say what is there")
        entries = {place: _read(output) for place, output in zip(places, outputs, strict=True)}
        # What is longer than the inode has room for is in a block of its own.
        long = [place for place, one in entries.items() if one.type == "symlink" and not one.target]
        if long:
            await self.run(f'dump "{place}" {index}.link' for index, place in enumerate(long))
        for index, place in enumerate(long):
            target = await trio.Path(self.folder / f"{index}.link").read_bytes()
            entries[place] = Entry("symlink", target.decode(errors="replace"))
        self._known.update(entries)


def follow(path: str, known: Mapping[str, Entry]) -> str | _Unknown | InputError:
    """Return where a path leads, or what has to be known for that, or why it leads nowhere."""
    pending = _split(path)
    real: list[str] = []
    last_link = ""
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            del real[-1:]
            continue
        place = _join([*real, part])
        entry = known.get(place)
        if entry is None:
            # Most paths have no link: what would follow is asked in one go.
            return _Unknown(tuple(_expect(place, pending)))
        if entry.type != "symlink":
            if pending and entry.type not in {"", "directory"}:
                return InputError(f"{path} cannot be written: {place} is no folder")
            real.append(part)
            continue
        links += 1
        if links > _MAX_LINKS or any(sign in entry.target for sign in '"\n\\'):
            return InputError(f"{path} cannot be written: the link {place} leads nowhere")
        last_link = last_link if pending else place
        real = [] if entry.target.startswith("/") else real
        pending += _split(entry.target)
    return _decide(path, _join(real), last_link, known)


def _decide(path: str, place: str, last_link: str, known: Mapping[str, Entry]) -> str | InputError:
    if last_link and f"{place}/".startswith(tuple(f"{folder}/" for folder in _IN_MEMORY)):
        return last_link
    if place == "/" or known.get(place, Entry()).type == "directory":
        return InputError(f"{path} cannot be written: it is a folder")
    return place


def _split(path: str) -> list[str]:
    """Return the parts of a path, the first at last."""
    return [part for part in reversed(path.split("/")) if part not in {"", "."}]


def _join(parts: Sequence[str]) -> str:
    return f"/{'/'.join(parts)}"


def _expect(place: str, pending: Sequence[str]) -> Iterable[str]:
    yield place
    for part in reversed(pending):
        if part == "..":
            return
        place = f"{place}/{part}"
        yield place


def _read(output: str) -> Entry:
    """Read what debugfs's ``stat`` prints: of what is not there, nothing."""
    kind, link = _TYPE.search(output), _LINK.search(output)
    return Entry(kind[1] if kind else "", link[1] if link else "")
