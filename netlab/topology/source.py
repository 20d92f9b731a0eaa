"""Where things stand in a topology file, and the collection of what is wrong with it."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from netlab.errors import Mistake, TopologyError

if TYPE_CHECKING:
    from netlab.topology.recipe import Recipe

Path = tuple[str | int, ...]
"""A place in the document: keys of mappings and indexes of lists from the top."""

SUGGESTIONS = 100
"""So many times a nearly right name is looked for: each look costs as many comparisons as there are
names, and a hostile file can hold a great many wrong ones."""

_SHORT = 60
_DEEP = 10
_PLAIN_KEY = re.compile(r"[\w\[\],-]+")


@dataclass(slots=True)
class Mark:
    """Where a value stands, counted from 1, with the marks of what it holds.

    Attributes:
        line: The value's line.
        column: The value's column, in characters.
        keys: For a mapping: where each key stands.
        children: The marks of the values of a mapping or the elements of a list.
    """

    line: int
    column: int
    keys: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    children: dict[str | int, Mark] = field(default_factory=dict["str | int", "Mark"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a topology was made from.

    Attributes:
        name: The file's name as the user gave it.
        mark: The document's positions; None for a topology that was not made from text.
        files: The content of every file that the topology names by ``from``.
        recipes: Every recipe of an image that it names; None for one that is mistaken.
    """

    name: str = "<topology>"
    mark: Mark | None = None
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    recipes: Mapping[str, Recipe | None] = field(default_factory=dict[str, "Recipe | None"])

    def with_files(self, files: Mapping[str, bytes]) -> Source:
        """Return the same source with the contents of the files that it names."""
        return replace(self, files=dict(files))

    def with_recipes(self, recipes: Mapping[str, Recipe | None]) -> Source:
        """Return the same source with the recipes of the images that it names."""
        return replace(self, recipes=dict(recipes))

    def add_name(self, path: Path, old: str, new: str) -> None:
        """Let a key be found by another name too.

        Args:
            path: The mapping that has it.
            old: Its name in the text.
            new: The name that it goes by.
        """
        mark = self.mark
        for part in path:
            mark = mark and mark.children.get(part)
        if mark is not None:
            mark.keys[new], mark.children[new] = mark.keys[old], mark.children[old]

    def locate(self, path: Path, *, key: bool = False) -> tuple[int, int, Path]:
        """Return line, column and the part of the path that stands in the text.

        A short form such as ``r1 -- r2`` stands for a mapping that is not in the text; a path into
        it is cut back to the value that is.

        Args:
            path: The place.
            key: Whether the key is meant rather than its value.
        """
        mark = self.mark
        if mark is None:
            return 0, 0, path
        for depth, part in enumerate(path):
            last = depth == len(path) - 1
            if key and last and isinstance(part, str) and part in mark.keys:
                return *mark.keys[part], path
            child = mark.children.get(part)
            if child is None:
                return mark.line, mark.column, path[:depth]
            mark = child
        return mark.line, mark.column, path

    def place(self, path: Path, *, key: bool = False) -> str:
        """Return ``file:line:column`` of a place, for a message that mentions a second one."""
        line, column, found = self.locate(path, key=key)
        return f"{self.name}:{line}:{column}" if line else describe_path(found) or self.name


class WrongError(ValueError):
    """A value is wrong: raised where it is read, turned into a mistake where its place is known.

    Attributes:
        message: What is wrong.
        hint: What to do, or empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Mistakes:
    """The mistakes found so far; each is kept once.

    Attributes:
        source: Where they stand.
        incomplete: Whether parts were left out because of what was known at the beginning: what
            is missing now may only be missing because of that.
    """

    def __init__(self, source: Source, found: Iterable[Mistake] = ()) -> None:
        self.source = source
        self._found = dict.fromkeys(found)
        self.incomplete = bool(self._found)
        self._places = {(one.line, one.column, one.path) for one in self._found}
        self._suggested = 0

    def add(self, path: Path, message: str, hint: str = "", *, key: bool = False) -> None:
        """Add one.

        Args:
            path: Where.
            message: What is wrong.
            hint: What to do.
            key: Whether the key at `path` is wrong rather than its value.
        """
        line, column, found = self.source.locate(path, key=key)
        mistake = Mistake(self.source.name, line, column, describe_path(found), message, hint)
        self._found[mistake] = None
        self._places.add((line, column, mistake.path))

    def holds(self, path: Path) -> bool:
        """Whether one at that place is known: what follows from it need not be said."""
        line, column, found = self.source.locate(path)
        where = line, column, describe_path(found)
        return where in self._places

    def suggest(self, name: str, candidates: Iterable[str], otherwise: str = "") -> str:
        """Return ``did you mean "…"?`` for a name that is nearly right, else `otherwise`."""
        self._suggested += 1
        if self._suggested > SUGGESTIONS:
            return otherwise
        # Of two letters one may be wrong: r9 is near r6, but hosts is not near routers.
        cutoff = 0.5 if len(name) < 4 else 0.65
        near = difflib.get_close_matches(name[:_SHORT], list(candidates), n=1, cutoff=cutoff)
        return f"did you mean {quote(near[0])}?" if near else otherwise

    def check(self) -> None:
        """Do nothing if there is none.

        Raises:
            TopologyError: There are some.
        """
        if self._found:
            raise self.error()

    def all(self) -> tuple[Mistake, ...]:
        """Return all of them, in the order in which they were found."""
        return tuple(self._found)

    def error(self) -> TopologyError:
        """Return all of them as one error, for a caller that raises it itself."""
        return TopologyError(tuple(self._found))

    def __bool__(self) -> bool:
        return bool(self._found)


def describe_path(path: Path) -> str:
    """Return a path as people write it: ``links[2].endpoints``, ``files["/etc/hosts"]``."""
    text = ""
    for part in path[:_DEEP]:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part) and len(part) <= _SHORT:
            text += f".{part}" if text else part
        else:
            text += f"[{quote(part)}]"
    return text if len(path) <= _DEEP else f"{text}…"


def quote(value: object) -> str:
    """Return a name in double quotes, shortened, on one line, without control characters."""
    text = str(value)
    if len(text) > _SHORT:
        text = text[: _SHORT - 1] + "…"
    shown = (
        letter if letter.isprintable() and letter not in '"\\' else json.dumps(letter)[1:-1]
        for letter in text
    )
    return f'"{"".join(shown)}"'
