"""Keys of other tools and of earlier versions: each says at its place what to write instead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netlab.errors import Mistake, TopologyError
from netlab.plan.codec import digest
from netlab.plan.resolve import resolve
from netlab.topology.links import Endpoint, Link, Model
from netlab.topology.load import loads
from netlab.topology.model import Node, NodeInterface, Settings, Topology
from netlab.topology.recipe import Recipe
from netlab.topology.recipe_file import loads_recipe
from netlab.topology.retired import TABLE, Place, Retired

PAGE = (Path(__file__).parents[2] / "netlab" / "docs" / "topology.md").read_text()

MODELS: dict[Place, type[Model]] = {
    "topology": Topology,
    "settings": Settings,
    "node": Node,
    "interface": NodeInterface,
    "link": Link,
    "end": Endpoint,
    "recipe": Recipe,
}
# A line at each place: in every mapping that the place means, where there are several.
FRAMES: dict[Place, tuple[str, ...]] = {
    "topology": ("name: a\nnodes: {{a: , b: }}\n{}\n",),
    "settings": (
        "name: a\nnodes: {{a: {{{}}}, b: }}\n",
        "name: a\nnodes: {{a: , b: }}\ndefaults: {{{}}}\n",
        "name: a\nnodes: {{a: , b: }}\ngroups: {{edge: {{{}}}}}\n",
    ),
    "node": ("name: a\nnodes: {{a: {{{}}}, b: }}\ngroups: {{edge: }}\n",),
    "interface": ("name: a\nnodes: {{a: {{interfaces: {{x: {{vlan: 1, {}}}}}}}}}\n",),
    "link": ("name: a\nnodes: {{a: , b: }}\nlinks: [{{{}}}]\n",),
    "end": ("name: a\nnodes: {{a: , b: }}\nlinks: [{{endpoints: [{{node: a, {}}}, b]}}]\n",),
    "recipe": ("name: a\n{}\n",),
}
RENAMED = [row for row in TABLE if row.carries]


def name(row: Retired) -> str:
    return f"{row.place}.{row.key}"


def lines(place: Place, line: str) -> list[str]:
    """Return a topology for each mapping that the place means, with that line in it."""
    # A link needs its ends, unless they are what it is about.
    ends = ", endpoints: [a, b]" if place == "link" and "endpoints" not in line else ""
    base = "\nbase: debian" if place == "recipe" and not line.startswith("base") else ""
    return [frame.format(line + ends + base) for frame in FRAMES[place]]


def told(text: str, place: Place = "topology") -> list[Mistake]:
    if place == "recipe":
        with pytest.raises(TopologyError) as caught:
            loads_recipe(text)
        return list(caught.value.mistakes)
    try:
        topology = loads(text)
    except TopologyError as error:
        return list(error.mistakes)
    return list(topology.warnings)


@pytest.mark.parametrize("row", TABLE, ids=name)
def test_a_retired_key_is_found_at_every_place_and_says_what_to_write(row: Retired) -> None:
    value = row.instead.partition(": ")[2] if row.carries else "x"
    for text in lines(row.place, f"{row.key}: {value}"):
        found = [one for one in told(text, row.place) if f'"{row.key}"' in one.message]
        assert [one.hint for one in found] == [row.hint]
        assert row.since in found[0].message
        assert text.splitlines()[found[0].line - 1][found[0].column - 1 :].startswith(row.key)


@pytest.mark.parametrize("row", TABLE, ids=name)
def test_a_retired_key_is_no_key_and_what_is_to_be_written_instead_is_one(row: Retired) -> None:
    fields = MODELS[row.place].model_fields.items()
    assert row.key not in {name for key, field in fields for name in (key, field.alias)}
    assert row.hint
    for text in lines(row.at, row.instead) if row.instead else ():
        if row.at == "recipe":
            assert loads_recipe(text).name == "a"
        else:
            assert loads(text).warnings == ()
        assert row.successor in MODELS[row.at].model_fields


@pytest.mark.parametrize("row", RENAMED, ids=name)
def test_a_renamed_key_means_what_its_new_name_means(row: Retired) -> None:
    value = row.instead.partition(": ")[2]
    for old, new in zip(
        lines(row.place, f"{row.key}: {value}"), lines(row.place, row.instead), strict=True
    ):
        plan = resolve(loads(old))
        assert digest(plan) == digest(resolve(loads(new)))
        assert any(f'"{row.key}"' in warning for warning in plan.warnings)


@pytest.mark.parametrize("row", RENAMED, ids=name)
def test_an_old_key_beside_its_new_one_is_a_conflict_that_says_where_both_are(
    row: Retired,
) -> None:
    value = row.instead.partition(": ")[2]
    for text in lines(row.place, f"{row.instead}, {row.key}: {value}"):
        (found,) = told(text)
        where = text.splitlines()[found.line - 1].index(f"{row.successor}:") + 1
        assert found.hint == (
            f'there is "{row.successor}" at <text>:{found.line}:{where} too: leave out all but one'
        )


def test_the_value_behind_a_renamed_key_is_looked_at_where_it_stands() -> None:
    (found,) = told("name: a\nnodes: {a: {mem: little}}\n")
    assert (found.line, found.column, found.path) == (2, 18, "nodes.a.memory")


def test_a_key_that_is_shared_by_an_alias_stays_what_it_is_elsewhere() -> None:
    topology = loads("name: a\nvars: &x {cores: '2'}\nnodes: {a: *x, b: {memory: '${cores}'}}\n")
    assert topology.vars == {"cores": "2"}
    assert topology.nodes["a"].cpus == 2


def test_a_topology_of_containerlab_is_told_all_of_its_words_at_once() -> None:
    text = "name: a\ntopology:\n  kinds: {x: }\n  nodes:\n    a: {kind: x, binds: [y]}\n"
    assert [one.path for one in told(text)] == [
        "topology",
        "topology.kinds",
        "topology.nodes.a.kind",
        "topology.nodes.a.binds",
    ]


def test_the_page_has_the_table() -> None:
    shown = re.findall(r"^\| `([^`]+)` \| (.+?) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
    rows = [
        (row.key, row.origin, row.place, f"`{row.instead}`" if row.instead else row.why)
        for row in TABLE
    ]
    assert [row for row in shown if row[2] in MODELS] == rows
