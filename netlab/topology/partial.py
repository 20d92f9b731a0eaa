"""What is left of a document without its mistaken parts: the rest is looked at all the same.

A mistake in one place must not hide those in others, so each is cut out as narrowly as can be
without making new ones: a setting, an interface, a file, a link.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import cast

from netlab.topology.document import Value
from netlab.topology.source import Path

PLACEHOLDER_LINK = "a -- b"
"""Takes the place of a mistaken link, so that the others keep their numbers."""

_PLACEHOLDER_NAME = "lab"

# Takes the place of a mistaken check, so that the others keep their numbers.
_PLACEHOLDER_CHECK: Value = {"converged": None}
_NEEDED = frozenset(("from", "to", "node", "run"))

# A mapping of mappings inside a node or group, of which one entry alone can be left out.
_ENTRIES = ("interfaces", "files", "credentials")


def prune(document: dict[str, Value], paths: Iterable[Path]) -> dict[str, Value] | None:
    """Return a copy of a document without what is at these places; None if too much goes with it.

    Args:
        document: The whole.
        paths: Where pydantic found something.
    """
    rest = copy.deepcopy(document)
    for path in paths:
        if not _cut(rest, path):
            return None
    return rest


def mistaken_links(paths: Iterable[Path]) -> frozenset[int]:
    """Return the numbers of the links that are mistaken."""
    return frozenset(
        path[1]
        for path in paths
        if path[:1] == ("links",) and len(path) > 1 and isinstance(path[1], int)
    )


def _cut(document: dict[str, Value], path: Path) -> bool:
    match path:
        # Ids that are not there would be the position, and those of others then taken.
        case ("nodes",) | () | ("nodes" | "groups", _, "id" | "[key]", *_):
            return False
        case ("nodes" | "groups", str(name), *rest):
            _cut_entry(_mapping(document, path[0]), name, rest)
        case ("links", int(index), *_):
            cast("list[Value]", document["links"])[index] = PLACEHOLDER_LINK
        case ("checks", int(index), *rest):
            _cut_check(cast("list[Value]", document["checks"]), index, rest)
        case ("defaults" | "addressing" | "vars", str(key), *rest):
            _cut_setting(_mapping(document, path[0]), key, rest)
        case (key, *_):
            document.pop(str(key), None)
            document.setdefault("name", _PLACEHOLDER_NAME)
        case _:
            return False
    return True


def _cut_entry(entries: dict[str, Value], name: str, rest: list[str | int]) -> None:
    settings = entries.get(name)
    if rest and isinstance(settings, dict):
        _cut_setting(settings, str(rest[0]), rest[1:])
    else:
        entries[name] = None


def _cut_setting(settings: dict[str, Value], key: str, rest: list[str | int]) -> None:
    entries = settings.get(key)
    if key in _ENTRIES and rest and isinstance(entries, dict):
        entries.pop(str(rest[0]), None)
    else:
        settings.pop(key, None)


def _cut_check(checks: list[Value], index: int, rest: list[str | int]) -> None:
    check = checks[index]
    test = check.get(str(rest[0])) if rest and isinstance(check, dict) else None
    if isinstance(test, dict) and len(rest) > 1 and rest[1] not in _NEEDED:
        test.pop(str(rest[1]), None)
    else:
        checks[index] = _PLACEHOLDER_CHECK


def _mapping(document: dict[str, Value], *path: str | int) -> dict[str, Value]:
    """Return the mapping at a path; an empty one that belongs to nobody if there is none."""
    value: Value = document
    for part in path:
        value = value.get(str(part)) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
