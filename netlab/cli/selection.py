"""Which nodes a pattern means: ``r1``, ``r1,fw*``, ``r[1-12]``. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from netlab.errors import UnknownNameError

_RANGE = re.compile(r"\[([0-9]{1,9})-([0-9]{1,9})\]")
_COMMA = re.compile(r",(?![^\[]*\])")


def is_pattern(text: str) -> bool:
    """Whether a text may mean several nodes."""
    return any(char in text for char in "*?[,")


def select_names(patterns: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the names that any of the patterns means, in the order of the names.

    A pattern is a comma list of names and globs; ``[1-12]`` in one is a range of numbers.

    Raises:
        UnknownNameError: A pattern means none of them.
    """
    chosen: set[str] = set()
    for pattern in (part for text in patterns for part in _COMMA.split(text)):
        found = [name for name in names if _matches(name, pattern)]
        if not found:
            close = get_close_matches(pattern, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "the nodes: " + ", ".join(names)
            raise UnknownNameError(f"no node is called {pattern!r}", hint=hint)
        chosen.update(found)
    return tuple(name for name in names if name in chosen)


def _matches(name: str, pattern: str) -> bool:
    """Match the pattern's pieces between ranges as globs, and its ranges as numbers."""
    bounds = [(int(low), int(high)) for low, high in _RANGE.findall(pattern)]
    if not bounds:
        return fnmatchcase(name, pattern)
    pieces = _RANGE.sub("\0", pattern).split("\0")
    expression = "([0-9]+)".join(_translate(piece) for piece in pieces)
    match = re.fullmatch(expression, name)
    return match is not None and all(
        low <= int(number) <= high
        for number, (low, high) in zip(match.groups(), bounds, strict=True)
    )


def _translate(glob: str) -> str:
    return re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".")
