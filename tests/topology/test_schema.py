"""The JSON schema: whole, described, kept beside the topologies, and accepting what loads."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from netlab.errors import TopologyError
from netlab.topology.load import loads
from netlab.topology.schema import json_schema

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
SCHEMA = json_schema()
KINDS: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


class EditorsLoader(yaml.SafeLoader):
    """YAML 1.2's core schema, which editors speak: ``no`` is text, ``1:30`` is no number."""


# PyYAML's stubs know no types for these.
EDITORS: Any = EditorsLoader
EDITORS.yaml_implicit_resolvers = {}
for tag, pattern, starts in (
    ("null", r"^(~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$", list("-+.0123456789")),
):
    EDITORS.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), starts)


def is_kind(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, KINDS[kind])


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """Whether a value satisfies a schema: the part of JSON schema that ours uses."""
    known = {
        "$schema", "$defs", "$ref", "title", "description", "default", "anyOf", "type", "enum",
        "const", "pattern", "minimum", "maximum", "properties", "required",
        "additionalProperties", "items",
    }  # fmt: skip
    assert schema.keys() <= known, schema.keys() - known
    if "$ref" in schema and not accepts(SCHEMA["$defs"][schema["$ref"].split("/")[-1]], value):
        return False
    if "anyOf" in schema and not any(accepts(one, value) for one in schema["anyOf"]):
        return False
    return accepts_kind(schema, value) and accepts_content(schema, value)


def accepts_kind(schema: dict[str, Any], value: Any) -> bool:
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(is_kind(value, kind) for kind in kinds):
        return False
    return value in schema.get("enum", [value]) and value == schema.get("const", value)


def accepts_content(schema: dict[str, Any], value: Any) -> bool:
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, int):
        return schema.get("minimum", value) <= value <= schema.get("maximum", value)
    if isinstance(value, list):
        return all(accepts(schema.get("items", {}), one) for one in cast("list[Any]", value))
    if isinstance(value, dict):
        return accepts_entries(schema, cast("dict[Any, Any]", value))
    return True


def accepts_entries(schema: dict[str, Any], value: dict[Any, Any]) -> bool:
    properties = schema.get("properties", {})
    rest = schema.get("additionalProperties", {})
    if set(schema.get("required", ())) - value.keys():
        return False
    for key, one in value.items():
        if key not in properties and rest is False:
            return False
        if not accepts(properties.get(key, rest), one):
            return False
    return True


def fields(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return every field of the language by KIND.KEY."""
    found: dict[str, dict[str, Any]] = {}
    kinds = {**schema["$defs"], "Topology": schema}
    for kind, definition in kinds.items():
        forms = [definition, *definition.get("anyOf", ())]
        for form in forms:
            for key, field in form.get("properties", {}).items():
                found[f"{kind}.{key}"] = field
    return found


def test_the_schema_beside_the_topologies_is_the_one_of_the_language() -> None:
    kept = (ROOT / "topologies" / "netlab.schema.json").read_text()
    assert kept == json.dumps(SCHEMA, indent=2, ensure_ascii=False) + "\n", (
        "write it again: netlab schema > topologies/netlab.schema.json"
    )


def test_every_field_has_a_description() -> None:
    described = fields(SCHEMA)
    assert len(described) > 60
    assert [name for name, field in described.items() if not field.get("description")] == []


@pytest.mark.parametrize(
    "path",
    [*sorted(GOLDEN.glob("*.yaml")), *sorted((ROOT / "topologies").glob("*.yaml"))],
    ids=lambda path: path.stem,
)
def test_an_editor_accepts_every_topology_that_loads(path: Path) -> None:
    assert accepts(SCHEMA, yaml.load(path.read_text(), Loader=EditorsLoader))


@pytest.mark.parametrize(
    "text",
    [
        "nodes: {a: {}}",
        "name: a",
        "name: a\nnodes: {a: {memori: 1}}",
        "name: a\nnodes: {a: {memory: lots}}",
        "name: a\nnodes: {a: {memory: -1}}",
        "name: a\nnodes: {a: {wire: loose}}",
        "name: a\nnodes: {a: {vlans: [5000]}}",
        "name: a\nnodes: {a: {interfaces: {x: {}}}}",
        "name: a\nnodes: {a: {files: [x]}}",
        "name: a\nnodes: [a]",
        "name: a\nnodes: {a: }\nlinks: {a: b}",
        "name: a\nnodes: {a: }\nlinks: [[a, b]]",
        "name: a\nnodes: {a: }\nlinks: [{rings: a}]",
    ],
)
def test_an_editor_refuses_what_does_not_load(text: str) -> None:
    assert not accepts(SCHEMA, yaml.safe_load(text))
    with pytest.raises(TopologyError):
        loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "name: a\nnodes: {a: {memory: '${m}', cpus: '${c}', vlans: '${v}', loopback: '${l}'}}",
        "name: a\nnodes: {a: {memory: 1 GiB}, b: {memory: '128'}}",
        "name: a\nnodes:\n  a:\nlinks:\ndefaults:\ngroups:\n",
        "name: a\nnodes: {a: {files: {/x: 1.10, /y: {text: x, mode: 0644}}}}",
        "name: a\nnodes: {a: {routes: default via 10.0.0.1}}\naddressing: {p2p: none}",
    ],
)
def test_an_editor_accepts_short_forms_and_variables(text: str) -> None:
    assert accepts(SCHEMA, yaml.safe_load(text))
    variables = {"m": "128", "c": "1", "v": "1", "l": "true"}
    loads(text, variables=variables if "${" in text else {})
