"""Which nodes a pattern means: ``r1``, ``r1,fw*``, ``r[1-12,15]``. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from netlab.errors import UnknownNameError

_BRACKETS = re.compile(r"(\[[^\[\]]+\])")
_SPAN = "(?:[0-9]{1,9}-[0-9]{1,9}|[a-z0-9]+)"
_RANGE = re.compile(rf"\[([0-9]{{1,9}}-[0-9]{{1,9}}|{_SPAN}(?:,{_SPAN})+)\]")
_COMMA = re.compile(r",(?![^\[]*\])")


def is_pattern(text: str) -> bool:
    """Whether a text may mean several nodes."""
    return any(char in text for char in "*?[,")


def select_names(patterns: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the names that any of the patterns means, in the order of the names.

    A pattern is a comma list of names and globs; in one ``[1-12]`` is a range of numbers, as in a
    topology, ``[1-3,7]`` and ``[a,b]`` are lists, and ``[ab]`` is one of these letters.

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
    """Match what is between brackets as a glob, and brackets as ranges or as sets of letters."""
    expression, ranges = "", list[str]()
    for part in _BRACKETS.split(pattern):
        if found := _RANGE.fullmatch(part):
            # A part of a name that is a number ends where its digits do.
            expression += "([0-9]+|[a-z0-9]+)"
            ranges.append(found[1])
        else:
            expression += _translate(part)
    match = re.fullmatch(expression, name)
    return match is not None and all(map(_is_in, match.groups(), ranges))


def _is_in(text: str, spans: str) -> bool:
    return any(_is_within(text, *span.split("-")) for span in spans.split(","))


def _is_within(text: str, low: str, high: str | None = None) -> bool:
    if high is None:
        return text == low
    return text.isdigit() and int(low) <= int(text) <= int(high)


def _translate(glob: str) -> str:
    if _BRACKETS.fullmatch(glob):
        inverted = glob[1] == "!"
        letters = re.escape(glob[1 + inverted : -1]).replace(r"\-", "-")
        expression = f"[{'^' if inverted else ''}{letters}]"
        # What is neither a list nor a set of letters is what it is: no node is called like that.
        usable = "," not in glob and _is_expression(expression)
        return expression if usable else re.escape(glob)
    return re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".")


def _is_expression(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True
