"""An ext4 file system in a file, without mounting it: debugfs of e2fsprogs, and links followed.

debugfs follows no link in the last place of a path, where a guest does: where a path leads is found
out here, link by link, and never leaves the file system.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import trio

from netlab.errors import ImageError, InputError
from netlab.process import run
from netlab.proxmox.links import Place, Unknown, follow

_COMMAND = re.compile(r"^debugfs: .*\n", re.MULTILINE)
"""What debugfs prints before the output of each command of a file."""

_TYPE = re.compile(r"^Inode: \d+\s+Type: (\w+)")
_LINK = re.compile(r'^Fast link dest: "(.*)"$', re.MULTILINE | re.DOTALL)


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
    _known: dict[str, Place] = field(default_factory=dict[str, Place])

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

        Args:
            paths: Absolute ones; what is not there yet is no mistake.

        Raises:
            ImageError: debugfs cannot say what is there.
            InputError: Something that is no folder is in the way, or links go round: all of them.
        """
        while True:
            found = [follow(path, self._known) for path in paths]
            asked = dict.fromkeys(
                place for one in found if isinstance(one, Unknown) for place in one.places
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
            entries[place] = Place("symlink", target.decode(errors="replace"))
        self._known.update(entries)


def _read(output: str) -> Place:
    """Read what debugfs's ``stat`` prints: of what is not there, nothing."""
    kind, link = _TYPE.search(output), _LINK.search(output)
    return Place(kind[1] if kind else "", link[1] if link else "")
