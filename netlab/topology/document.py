"""YAML text -> plain values and their positions.

Built from the parser's events rather than by PyYAML's own composer: that one recurses in C as deep
as the text says, lets a later key replace an earlier one, and turns ``1.10`` into 1.1. Here every
scalar stays the text that was written (types come from the model), keys are text, repeated keys
are mistakes, and nesting, aliases and sizes are bounded while the text is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, cast

import yaml

from netlab.errors import Mistake, TopologyError
from netlab.topology.source import Mark, describe_path, quote

Value = str | None | dict[str, "Value"] | list["Value"]
"""A document: mappings, lists, text, and None where nothing is written (or ``null`` or ``~``)."""

MAXIMUM_DEPTH = 32
"""Deepest nesting; the language itself needs seven."""

MAXIMUM_VALUES = 500_000
"""Most values in a document with every alias written out: 4,096 nodes of a hundred values fit."""

_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAGS = frozenset((None, "!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq"))))
_NOTHING = frozenset(("", "~", "null"))


class _Parser(Protocol):
    """The part of PyYAML's loaders that is used here, of which its stubs know no types."""

    def get_event(self) -> yaml.Event: ...

    def dispose(self) -> None: ...


_Anchor = tuple[Value, Mark, int, int]
"""An anchored value, its mark, how many values it holds and how deep it nests."""


def parse(text: str, name: str) -> tuple[Value, Mark, tuple[Mistake, ...]]:
    """Read a document.

    Args:
        text: YAML, one document.
        name: The file's name, for mistakes.

    Returns:
        Its value; the positions of everything in it (both are shared where the text uses aliases);
        and the mistakes that the rest of the document can be read in spite of.

    Raises:
        TopologyError: It is not YAML, more than one document, or a bomb.
    """
    try:
        loader = cast("_Parser", _LOADER(text))
    except (yaml.YAMLError, UnicodeError) as error:
        raise _not_yaml(error, name, text) from None
    try:
        reader = _Reader(_events(loader), name)
        value, mark = reader.read()
    except yaml.YAMLError as error:
        raise _not_yaml(error, name, text) from None
    finally:
        loader.dispose()
    return value, mark, tuple(reader.mistakes)


def _events(parser: _Parser) -> Iterator[yaml.Event]:
    while True:
        yield parser.get_event()


class _Reader:
    """Builds the document; what is wrong without ending it is collected in `mistakes`."""

    def __init__(self, events: Iterator[yaml.Event], name: str) -> None:
        self.mistakes: list[Mistake] = []
        self._events = events
        self._name = name
        self._path: list[str | int] = []
        self._anchors: dict[str, _Anchor | None] = {}
        self._count = 0
        self._deepest = 0

    def read(self) -> tuple[Value, Mark]:
        next(self._events)  # the stream's start
        if not isinstance(next(self._events), yaml.DocumentStartEvent):
            return None, Mark(1, 1)
        result = self._value(next(self._events), 1)
        next(self._events)  # the document's end
        following = next(self._events)
        if isinstance(following, yaml.DocumentStartEvent):
            raise self._error(following, "a second document", "one file is one document")
        return result

    def _value(self, event: yaml.Event, depth: int) -> tuple[Value, Mark]:
        self._grow(event, 1, depth)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        node = cast("yaml.NodeEvent", event)
        anchor = cast("str | None", node.anchor)
        before, deepest = self._count, self._deepest
        if anchor is not None:
            self._anchors[anchor] = None  # open: an alias to it from within is a recursion
            self._deepest = depth
        mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
        value = self._node(node, mark, depth)
        if anchor is not None:
            size, height = self._count - before + 1, self._deepest - depth
            self._anchors[anchor] = (value, mark, size, height)
            self._deepest = max(deepest, self._deepest)
        return value, mark

    def _node(self, event: yaml.NodeEvent, mark: Mark, depth: int) -> Value:
        tag = cast("str | None", getattr(event, "tag", None))
        if tag not in _TAGS:
            shown = quote(str(tag).replace("tag:yaml.org,2002:", "!!"))
            self._wrong(event, f"the tag {shown}", "types come from the field; leave it out")
        if isinstance(event, yaml.ScalarEvent):
            text = cast("str", event.value)
            plain = cast("tuple[bool, bool]", event.implicit)[0] and not event.style
            return None if plain and text in _NOTHING else text
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(mark, depth)
        return self._sequence(mark, depth)

    def _mapping(self, mark: Mark, depth: int) -> Value:
        result: dict[str, Value] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, depth)
            self._path.append("?" if key is None else key)
            value, child = self._value(next(self._events), depth + 1)
            self._path.pop()
            if key is None:
                continue
            if key in mark.keys:
                line, column = mark.keys[key]
                first = f"the first is at {self._name}:{line}:{column}"
                self._wrong(event, f"the key {quote(key)} is repeated", first)
                continue
            mark.keys[key] = (event.start_mark.line + 1, event.start_mark.column + 1)
            mark.children[key] = child
            result[key] = value
        return result

    def _key(self, event: yaml.Event, depth: int) -> str | None:
        if isinstance(event, yaml.ScalarEvent):
            key = cast("str", event.value)
            if key == "<<" and not event.style:
                hint = "put what is shared into defaults or a group"
                self._wrong(event, "merge keys are not part of the language", hint)
                return None
            if (anchor := cast("str | None", event.anchor)) is not None:
                self._anchors[anchor] = (key, Mark(*_position(event)), 1, 0)
            return key
        value, _ = self._value(event, depth + 1)
        if isinstance(value, str):
            return value
        self._wrong(event, "a key that is not text", "write it in double quotes")
        return None

    def _sequence(self, mark: Mark, depth: int) -> Value:
        result: list[Value] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            self._path.append(len(result))
            value, child = self._value(event, depth + 1)
            self._path.pop()
            mark.children[len(result)] = child
            result.append(value)
        return result

    def _alias(self, event: yaml.AliasEvent, depth: int) -> tuple[Value, Mark]:
        name = cast("str", event.anchor)
        if name not in self._anchors:
            self._wrong(event, f"the alias *{name} has no anchor &{name} before it")
            return None, Mark(*_position(event))
        anchored = self._anchors[name]
        if anchored is None:
            hint = "a value cannot hold itself"
            raise self._error(event, f"the alias *{name} stands inside its own anchor", hint)
        value, mark, size, height = anchored
        self._grow(event, size - 1, depth + height)
        return value, mark

    def _grow(self, event: yaml.Event, size: int, depth: int) -> None:
        self._count += size
        self._deepest = max(self._deepest, depth)
        if self._count > MAXIMUM_VALUES:
            message = f"more than {MAXIMUM_VALUES:,} values with its aliases written out"
            raise self._error(event, message, "use ranges, defaults and groups")
        if depth > MAXIMUM_DEPTH:
            raise self._error(event, f"nested deeper than {MAXIMUM_DEPTH} levels")

    def _wrong(self, event: yaml.Event, message: str, hint: str = "") -> None:
        path = describe_path(tuple(self._path))
        self.mistakes.append(Mistake(self._name, *_position(event), path, message, hint))

    def _error(self, event: yaml.Event, message: str, hint: str = "") -> TopologyError:
        self._wrong(event, message, hint)
        return TopologyError(self.mistakes)


def _position(event: yaml.Event) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _not_yaml(error: Exception, name: str, text: str) -> TopologyError:
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark):
        problem = " ".join(filter(None, (error.problem, error.context)))
        line = text.split("\n")[mark.line : mark.line + 1]
        hint = 'in braces a value with ${…} is put in quotes: {memory: "${memory}"}'
        return TopologyError([
            Mistake(
                name,
                mark.line + 1,
                mark.column + 1,
                "",
                f"not YAML: {problem}",
                hint if "${" in "".join(line) else "",
            )
        ])
    # The reader's errors carry a byte's offset only, so the character is looked for again.
    line, column, letter = _find_unprintable(text)
    message = f"not YAML: the character U+{ord(letter):04X} is not allowed"
    return TopologyError([Mistake(name, line, column, "", message, "YAML is printable text")])


def _find_unprintable(text: str) -> tuple[int, int, str]:
    for number, line in enumerate(text.split("\n"), start=1):
        found = yaml.SafeLoader.NON_PRINTABLE.search(line)
        if found is not None:
            return number, found.start() + 1, found.group()
    return 1, 1, text[:1] or "\0"
