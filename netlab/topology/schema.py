"""The languages of topologies and of images' recipes as JSON schemas, for editors."""

from __future__ import annotations

from typing import Any, cast

from netlab.topology.model import Topology
from netlab.topology.recipe import Recipe

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a topology, with a description on every field.

    It accepts what an editor's YAML makes of the text: numbers as numbers, ``${variables}`` where a
    number belongs, and every short form.
    """
    schema = cast("dict[str, Any]", _without_noise(Topology.model_json_schema(by_alias=True)))
    return {"$schema": DIALECT, "title": "netlab topology", **schema}


def recipe_schema() -> dict[str, Any]:
    """Return the JSON schema of an image's recipe, with a description on every field."""
    schema = cast("dict[str, Any]", _without_noise(Recipe.model_json_schema(by_alias=True)))
    return {"$schema": DIALECT, "title": "netlab image", **schema}


def _without_noise(schema: object) -> object:
    """Drop what pydantic derives from names (titles) and defaults that only say "unset"."""
    if isinstance(schema, list):
        return [_without_noise(element) for element in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_noise(value)
        for key, value in cast("dict[str, object]", schema).items()
        if not (key == "title" and isinstance(value, str))
        and not (key == "default" and value in (None, [], {}))
    }
