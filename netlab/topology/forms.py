"""The short forms of lists and mappings, for the model and for its JSON schema alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

Schema = dict[str, Any]
"""A JSON schema: its values are whatever JSON can hold."""


@dataclass(frozen=True, slots=True)
class Several:
    """A list; one value alone is a list of it, and `none`, where allowed, the empty list.

    Attributes:
        none: Whether the word ``none`` says that there shall be none.
    """

    none: bool = False

    def __get_pydantic_core_schema__(
        self, source: type, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._elements, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Schema:
        array = handler(schema)
        forms = [array["items"], array]
        return {"anyOf": [*forms, {"const": "none"}] if self.none else forms}

    def _elements(self, value: object) -> object:
        if self.none and value == "none":
            return ()
        if isinstance(value, list | tuple):
            return tuple(cast("list[object]", value))
        return (value,)


@dataclass(frozen=True, slots=True)
class Elements:
    """A list, in which nothing at all is the empty list."""

    def __get_pydantic_core_schema__(
        self, source: type, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_elements, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Schema:
        return {"anyOf": [handler(schema), {"type": "null"}]}


@dataclass(frozen=True, slots=True)
class Entries:
    """A mapping, in which nothing at all is the empty mapping."""

    def __get_pydantic_core_schema__(
        self, source: type, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_entries, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Schema:
        return {"anyOf": [handler(schema), {"type": "null"}]}


def _elements(value: object) -> object:
    if value is None:
        return ()
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


def _entries(value: object) -> object:
    return {} if value is None else value


def also_text(description: str) -> Callable[[Schema], None]:
    """Return what makes a model's JSON schema accept its short form, which is text.

    Args:
        description: What the text looks like, for editors.
    """

    def extend(schema: Schema) -> None:
        long = dict(schema)
        schema.clear()
        short = {"type": ["string", "number"], "description": description}
        schema["description"] = long["description"]
        schema["anyOf"] = [short, long]

    return extend


def also_one_of(*allowed: str) -> Callable[[Schema], None]:
    """Return what makes a model's JSON schema accept its short form, which is one of some words."""

    def extend(schema: Schema) -> None:
        long = dict(schema)
        schema.clear()
        schema["description"] = long["description"]
        variable = {"type": "string", "pattern": r"\$\{"}
        schema["anyOf"] = [{"enum": list(allowed)}, variable, long]

    return extend


def also_nothing(schema: Schema) -> None:
    """Make a model's JSON schema accept nothing at all."""
    long = dict(schema)
    schema.clear()
    schema["description"] = long["description"]
    schema["anyOf"] = [{"type": "null"}, long]
