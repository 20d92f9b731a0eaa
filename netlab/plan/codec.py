"""The plan as JSON and back, its digest, and what differs between two.

Both directions follow the dataclasses of :mod:`netlab.plan.model`, so that a new field needs no
code here. Reading is strict: a plan that another version wrote is refused, never half understood.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from netlab.errors import InputError
from netlab.plan.model import Plan

_SHOWN = 20
"""So many lines of difference are shown; more would hide what happened."""


class _NotAPlanError(ValueError):
    """What was read is JSON, and not a plan."""


def to_json(plan: Plan) -> str:
    """Return a plan as canonical JSON: keys sorted, indented, ASCII, a newline at the end."""
    return json.dumps(_plain(plan), indent=2, sort_keys=True) + "\n"


def from_json(text: str) -> Plan:
    """Read a plan.

    Raises:
        InputError: It is not one.
    """
    try:
        value = cast("object", json.loads(text))
        plan = _typed(Plan, value, "plan")
    except (ValueError, RecursionError) as error:
        raise InputError(f"this is not a plan: {error}") from None
    return cast("Plan", plan)


def digest(plan: Plan) -> str:
    """Return the SHA-256 of a plan's canonical JSON, in hexadecimal.

    Warnings are left out: who writes a key by its new name has the same lab as before; and so are
    the names of recipes' files.
    """
    images = tuple(dataclasses.replace(image, file="") for image in plan.images)
    quiet = dataclasses.replace(plan, warnings=(), images=images)
    return hashlib.sha256(to_json(quiet).encode()).hexdigest()


def difference(old: Plan, new: Plan) -> tuple[str, ...]:
    """Return what differs, a line each: ``nodes.r1.memory: 128 -> 256``."""
    lines = list(_differences(_named(_plain(old)), _named(_plain(new)), ""))
    if len(lines) > _SHOWN:
        lines[_SHOWN - 1 :] = [f"… and {len(lines) - _SHOWN + 1} more differences"]
    return tuple(lines)


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(element) for element in cast("tuple[object, ...]", value)]
    if dataclasses.is_dataclass(value):
        return {name: _plain(getattr(value, name)) for name in _fields(type(value))}
    return value


@cache
def _fields(kind: type) -> Mapping[str, Any]:
    """Return the fields of a dataclass with their types."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _typed(kind: Any, value: object, path: str) -> object:
    if dataclasses.is_dataclass(kind):
        return _dataclass(cast("type", kind), value, path)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple:
        if not isinstance(value, list):
            raise _NotAPlanError(f"{path} is not a list")
        elements = enumerate(cast("list[object]", value))
        return tuple(_typed(arguments[0], one, f"{path}[{index}]") for index, one in elements)
    if origin is Literal:
        if type(value) is not str or value not in arguments:
            raise _NotAPlanError(f"{path} is none of {', '.join(arguments)}")
        return value
    kinds = arguments if origin in {Union, UnionType} else (kind,)
    choices = [one for one in kinds if get_origin(one) is Literal]
    if choices and value is not None:
        return _typed(choices[0], value, path)
    # `type is`, because a bool is an int in Python and not in a plan.
    if type(value) not in kinds:
        names = " or ".join("null" if one is NoneType else one.__name__ for one in kinds)
        raise _NotAPlanError(f"{path} is not {names}")
    return value


def _dataclass(kind: type, value: object, path: str) -> object:
    if not isinstance(value, dict):
        raise _NotAPlanError(f"{path} is not an object")
    given = cast("dict[str, object]", value)
    fields = _fields(kind)
    if given.keys() != fields.keys():
        odd = ", ".join(sorted(given.keys() ^ fields.keys()))
        raise _NotAPlanError(f"{path} lacks or should not have: {odd}")
    return kind(**{name: _typed(fields[name], given[name], f"{path}.{name}") for name in fields})


def _named(value: object) -> object:
    """Turn lists of named objects into mappings, so that nodes are compared by name, not place."""
    if isinstance(value, dict):
        entries = cast("dict[str, object]", value)
        return {key: _named(entry) for key, entry in entries.items()}
    if not isinstance(value, list):
        return value
    elements = [_named(element) for element in cast("list[object]", value)]
    names = [_identity(element) for element in elements]
    if elements and None not in names and len(set(names)) == len(names):
        return dict(zip(names, elements, strict=True))
    return elements


def _identity(element: object) -> str | None:
    if isinstance(element, dict):
        entries = cast("dict[str, object]", element)
        for key in ("name", "tap", "path"):
            if isinstance(entries.get(key), str):
                return cast("str", entries[key])
    return None


def _differences(old: object, new: object, path: str) -> Iterator[str]:
    before, after = _entries(old), _entries(new)
    if old == new:
        return
    if before is None or after is None:
        yield f"{path}: {_brief(old)} -> {_brief(new)}"
        return
    for key in dict.fromkeys((*before, *after)):
        place = f"{path}.{key}" if path else key
        if key not in after:
            yield f"{place}: removed"
        elif key not in before:
            yield f"{place}: added"
        else:
            yield from _differences(before[key], after[key], place)


def _entries(value: object) -> dict[str, object] | None:
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _brief(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
