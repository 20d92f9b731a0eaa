"""Ranges in names: ``r[1-6]``, ``r[01-12]``, ``leaf[a,b]``, ``p[1-2]r[1-3,7]``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

from netlab.topology.source import WrongError, quote

MAXIMUM_NODES = 4096
"""Most nodes in a topology, and most names that one range may make."""

_UNCOUNTED = 1 << 64
"""So many names are too many to be told: each range in a pattern multiplies them."""

_PART = re.compile(r"\[([^\[\]]*)\]")
_SPAN = re.compile(r"([0-9]{1,6})-([0-9]{1,6})")
_WORD = re.compile(r"[a-z0-9]+")
_NUMBERED = re.compile(r"(.*?)(0|[1-9][0-9]{0,8})", re.DOTALL)


def count(pattern: str) -> int:
    """Return how many names a pattern stands for, without making them.

    Raises:
        WrongError: A range is not well written, or no number says how many names it makes.
    """
    number = 1
    for inside in _PART.findall(_checked(pattern)):
        number *= sum(map(_size, _spans(inside, pattern)))
        if number > _UNCOUNTED:
            hint = f"at most {MAXIMUM_NODES:,} are possible"
            raise WrongError(f"{quote(pattern)} makes more names than can be counted", hint)
    return number


def expand(pattern: str) -> tuple[str, ...]:
    """Return the names that a pattern stands for, the last range turning fastest.

    Raises:
        WrongError: A range is not well written, or it makes more than :data:`MAXIMUM_NODES` names.
    """
    if "[" not in pattern and "]" not in pattern:
        return (pattern,)
    if (number := count(pattern)) > MAXIMUM_NODES:
        raise WrongError(f"{quote(pattern)} makes {number:,} names, more than {MAXIMUM_NODES:,}")
    pieces = _PART.split(pattern)
    choices: list[list[str]] = []
    for index, piece in enumerate(pieces):
        spans = _spans(piece, pattern) if index % 2 else (piece,)
        choices.append([word for span in spans for word in _words(span)])
    return tuple("".join(words) for words in itertools.product(*choices))


def compact(names: Iterable[str]) -> str:
    """Return names as a reader would write them: ``r[1-6], web``."""
    runs: list[tuple[str, int, int]] = []
    for name in names:
        found = _NUMBERED.fullmatch(name)
        stem, number = (found[1], int(found[2])) if found else (name, -1)
        if runs and number >= 0 and runs[-1][0] == stem and runs[-1][2] == number - 1:
            runs[-1] = (stem, runs[-1][1], number)
        else:
            runs.append((stem, number, number))
    return ", ".join(_run(*run) for run in runs)


def _run(stem: str, first: int, last: int) -> str:
    if first < 0:
        return stem
    return f"{stem}{first}" if first == last else f"{stem}[{first}-{last}]"


def _checked(pattern: str) -> str:
    if set(_PART.sub("", pattern)) & {"[", "]"}:
        raise WrongError(f"{quote(pattern)}: the brackets do not match", "write a range as r[1-6]")
    return pattern


_Span = str | tuple[range, int]
"""A word, or numbers with the width that they are padded to."""


def _spans(inside: str, pattern: str) -> tuple[_Span, ...]:
    return tuple(_span(item.strip(), pattern) for item in inside.split(","))


def _span(item: str, pattern: str) -> _Span:
    if found := _SPAN.fullmatch(item):
        first, last = int(found[1]), int(found[2])
        if first > last:
            raise WrongError(f"{quote(pattern)}: the range counts down", f"write [{last}-{first}]")
        return range(first, last + 1), len(found[1])
    if not _WORD.fullmatch(item):
        raise WrongError(f"{quote(pattern)}: {quote(item)} is not a range", "write [1-6] or [a,b]")
    return item


def _size(span: _Span) -> int:
    return 1 if isinstance(span, str) else len(span[0])


def _words(span: _Span) -> list[str]:
    if isinstance(span, str):
        return [span]
    numbers, width = span
    return [f"{number:0{width}}" for number in numbers]
