"""What holds of every plan, whatever the topology."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.errors import TopologyError
from netlab.plan.codec import difference, digest, from_json, to_json
from netlab.plan.model import NodePlan, Plan
from netlab.plan.names import mac_address, machine_uuid, tap_name
from netlab.plan.resolve import resolve
from netlab.topology.load import load, loads
from netlab.topology.model import Topology
from tests.plan.conftest import NODE_NAMES, Lab, labs

PROPERTY = settings(max_examples=40, deadline=None, database=None)


def facts(plan: Plan, name: str) -> tuple[NodePlan, list[str]]:
    """Return what must not change of a node: itself, and the bridges that it is on.

    The name of a segment is left out: it tells both ends, and the other end's may change.
    """
    node = plan.node(name)
    bridges = {segment.name: segment.bridge for segment in plan.segments}
    interfaces = tuple(replace(interface, segment="") for interface in node.interfaces)
    return replace(node, interfaces=interfaces), [bridges[one.segment] for one in node.interfaces]


@given(labs())
@PROPERTY
def test_names_in_the_kernel_are_unique_short_and_whole(lab: Lab) -> None:
    plan = lab.plan()
    taps = [port.tap for segment in plan.segments for port in segment.ports]
    bridges = [segment.bridge for segment in plan.segments]
    long = [segment.altname for segment in plan.segments]
    long += [port.altname for segment in plan.segments for port in segment.ports]
    names = [*taps, *bridges, *long]
    assert len(set(names)) == len(names)
    assert all(1 <= len(name.encode()) <= 15 for name in (*taps, *bridges))
    assert all(len(name.encode()) <= 127 for name in long)
    assert sorted(taps) == sorted(one.tap for node in plan.nodes for one in node.interfaces)


@given(labs())
@PROPERTY
def test_mac_addresses_are_unique_local_and_lower_case(lab: Lab) -> None:
    macs = [one.mac for node in lab.plan().nodes for one in node.interfaces]
    assert len(set(macs)) == len(macs)
    assert all(mac.startswith("02:") and mac == mac.lower() and len(mac) == 17 for mac in macs)


def test_mac_addresses_are_unique_over_every_vlan_and_node_with_several_interfaces() -> None:
    macs = {
        mac_address("lab", f"n{node}", f"{card}-{vlan}")
        for vlan in range(1, 255)
        for node in range(1, 255)
        for card in ("a", "b")
    }
    assert len(macs) == 254 * 254 * 2


@given(labs(), st.data())
@PROPERTY
def test_removing_or_adding_another_node_changes_nothing_of_a_node(lab: Lab, data: Any) -> None:
    gone = data.draw(st.sampled_from(sorted(lab.nodes)))
    touched = {end[0] for link in lab.links for end in link if gone in {one[0] for one in link}}
    before, rest = lab.plan(), lab.without(gone)
    if rest.nodes:
        after = rest.plan()
        for name in rest.nodes.keys() - touched:
            assert facts(before, name) == facts(after, name)


@given(labs(), NODE_NAMES)
@PROPERTY
def test_renaming_another_node_changes_nothing_of_a_node(lab: Lab, new: str) -> None:
    old = next(iter(lab.nodes))
    if new in lab.nodes:
        return
    nodes = {new if name == old else name: node for name, node in lab.nodes.items()}
    links = tuple(
        ((new if one == old else one, a), (new if other == old else other, b))
        for (one, a), (other, b) in lab.links
    )
    before, after = lab.plan(), Lab(nodes, links).plan()
    neighbours = {end[0] for link in lab.links for end in link if old in {one[0] for one in link}}
    for name in lab.nodes.keys() - neighbours - {old}:
        assert facts(before, name) == facts(after, name)
    # The bridges to the renamed node follow its name; everything of the node itself stays.
    for name in neighbours - {old}:
        assert facts(before, name)[0] == facts(after, name)[0]


@given(labs(), st.randoms(use_true_random=False))
@PROPERTY
def test_reordering_nodes_changes_nothing_of_any_node(lab: Lab, random: Any) -> None:
    names = list(lab.nodes)
    random.shuffle(names)
    before = lab.plan()
    after = Lab({name: lab.nodes[name] for name in names}, lab.links).plan()
    for name in names:
        assert facts(before, name) == facts(after, name)


@given(labs(), st.randoms(use_true_random=False))
@PROPERTY
def test_reordering_links_of_others_changes_nothing_of_a_node(lab: Lab, random: Any) -> None:
    chosen = next(iter(lab.nodes))
    own = [link for link in lab.links if chosen in {end[0] for end in link}]
    others = [link for link in lab.links if link not in own]
    random.shuffle(others)
    before, after = lab.plan(), Lab(lab.nodes, (*others, *own)).plan()
    assert facts(before, chosen) == facts(after, chosen)


@given(labs())
@PROPERTY
def test_a_plan_survives_json_and_its_text_is_canonical(lab: Lab) -> None:
    plan = lab.plan()
    text = to_json(plan)
    again = from_json(text)
    assert again == plan
    assert to_json(again) == text
    assert digest(again) == digest(plan)
    assert difference(plan, again) == ()
    assert text.isascii()


@given(labs())
@PROPERTY
def test_the_ends_of_every_link_of_two_are_neighbours(lab: Lab) -> None:
    plan = lab.plan()
    subnets: dict[str, set[str]] = {}
    for node in plan.nodes:
        for interface in node.interfaces:
            for address in interface.addresses:
                if address.endswith("/31"):
                    head, _, last = address.removesuffix("/31").rpartition(".")
                    subnets.setdefault(interface.segment, set()).add(f"{head}.{int(last) & ~1}")
    assert all(len(found) == 1 for found in subnets.values())
    used = [subnet for found in subnets.values() for subnet in found]
    assert len(set(used)) == len(used)


@given(NODE_NAMES, NODE_NAMES, st.text(min_size=1), st.text(min_size=1))
@PROPERTY
def test_two_interfaces_never_share_a_tap(one: str, other: str, a: str, b: str) -> None:
    if (one, a) != (other, b):
        assert tap_name("lab", one, a) != tap_name("lab", other, b)


@given(NODE_NAMES)
@PROPERTY
def test_a_uuid_has_the_layout_of_version_8(name: str) -> None:
    uuid = machine_uuid("lab", name)
    assert [len(part) for part in uuid.split("-")] == [8, 4, 4, 4, 12]
    assert uuid[14] == "8"
    assert uuid[19] in "89ab"


def mistakes_of(text: str) -> int | None:
    """Return how many mistakes text has; None when it is a topology."""
    try:
        resolve(loads(text))
    except TopologyError as error:
        return len(error.mistakes)
    return None


@given(st.text())
@settings(max_examples=300, deadline=None, database=None)
def test_any_text_is_a_topology_or_a_topology_error(text: str) -> None:
    assert mistakes_of(text) != 0


@given(st.binary())
@settings(max_examples=200, deadline=None, database=None)
def test_any_bytes_are_a_topology_or_a_topology_error(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            load(file.name)
        except TopologyError as error:
            found = len(error.mistakes)
            assert found


_WORDS = st.sampled_from(
    """
    name nodes links a b r[1-3] a:x--b:y vlans interfaces vlan files ring endpoints subnet groups
    10.0.0.0/24 defaults run routes id loopback true none memory 1 ${x} addressing p2p to via text
    2001:db8::1/64 192.168.1.1 default /x node interface addresses from mode mtu image
    disk disks file format raw size bus scsi firmware uefi code vars boot kernel machine pc arch
    x86_64 debian agent configure false uuid mac 52:54:00:12:34:56 read_only serial
    """.split()  # noqa: SIM905 (seventy words in quotes and commas are not easier to read)
)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _WORDS | st.none() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=5),
    max_leaves=25,
)


def write(value: Any) -> str:
    """Write a value as YAML in flow style, every word in quotes."""
    if value is None:
        return ""
    if isinstance(value, str):
        return "'" + "".join(c for c in value if c.isprintable()).replace("'", "''") + "'"
    if isinstance(value, list):
        return "[" + ", ".join(write(one) or "~" for one in cast("list[Any]", value)) + "]"
    return "{" + ", ".join(f"{write(key)}: {write(one)}" for key, one in value.items()) + "}"


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(Topology.model_fields, _VALUES)))
@settings(max_examples=400, deadline=None, database=None)
def test_any_shape_is_a_topology_or_a_topology_error(value: dict[str, Any]) -> None:
    assert mistakes_of(write({**value, "name": "a"})) != 0
