"""The plan as JSON: strict when it is read, and differences in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netlab.errors import InputError
from netlab.plan.codec import difference, digest, from_json, to_json
from netlab.plan.model import Plan
from netlab.plan.resolve import resolve
from netlab.topology.load import loads

TEXT = "name: a\nnodes: {r: {vlans: 1, files: {/x: one}, run: [true]}, s: {vlans: 1}}\n"


def plan(text: str = TEXT) -> Plan:
    return resolve(loads(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is not a plan: Expecting value"),
        ("[]", "plan is not an object"),
        ("{}", "plan lacks or should not have: hosts, images, lab, nodes, segments, topology"),
        ("[" * 100_000, "this is not a plan"),
        ("NaN", "plan is not an object"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        from_json(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("lab",), 1, "plan.lab is not str"),
        (("nodes",), {}, "plan.nodes is not a list"),
        (("nodes", 0, "memory"), "128", "plan.nodes[0].memory is not int"),
        (("nodes", 0, "memory"), True, "plan.nodes[0].memory is not int"),
        (("nodes", 0, "memory"), 128.0, "plan.nodes[0].memory is not int"),
        (("nodes", 0, "id_given"), 1, "plan.nodes[0].id_given is not bool"),
        (("nodes", 0, "wire"), "loose", "plan.nodes[0].wire is none of exact, fast"),
        (("nodes", 0, "wire"), [], "plan.nodes[0].wire is none of exact, fast"),
        (("nodes", 0, "colour"), "red", "plan.nodes[0] lacks or should not have: colour"),
        (("nodes", 0, "run"), [1], "plan.nodes[0].run[0] is not str"),
        (("segments", 0, "vlan"), "1", "plan.segments[0].vlan is not int or null"),
        (("hosts", 0), None, "plan.hosts[0] is not an object"),
    ],
)
def test_a_value_of_another_type_is_refused_at_its_place(
    path: tuple[Any, ...], value: object, message: str
) -> None:
    document = json.loads(to_json(plan()))
    target = document
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    with pytest.raises(InputError) as caught:
        from_json(json.dumps(document))
    assert message in str(caught.value)


def test_difference_names_nodes_and_fields() -> None:
    new = plan(TEXT.replace("one", "two").replace("s: {vlans: 1}", "t: {vlans: 1, memory: 256}"))
    lines = difference(plan(), new)
    assert 'nodes.r.files./x.content: "one" -> "two"' in lines
    assert "nodes.s: removed" in lines
    assert "nodes.t: added" in lines
    assert "segments.vlan1.ports.s.eth1: removed" in lines
    assert digest(plan()) != digest(new)


def test_difference_of_equal_plans_is_nothing() -> None:
    assert difference(plan(), plan()) == ()


def test_a_long_difference_is_cut_and_says_so() -> None:
    one = plan('name: a\nnodes: {"r[1-50]": }\n')
    other = plan('name: a\nnodes: {"r[1-50]": {cpus: 2}}\n')
    lines = difference(one, other)
    assert len(lines) == 20
    assert lines[-1] == "… and 31 more differences"


def test_content_of_any_kind_survives() -> None:
    result = plan('name: a\nnodes: {r: {files: {/x: "\\0\\u2028\\U0001F600\\r\\n\\t"}}}\n')
    assert from_json(to_json(result)) == result
    assert result.nodes[0].files[0].content == "\0\u2028\U0001f600\r\n\t"
