"""Topologies made by chance, for properties of plans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from netlab.plan.model import Plan
from netlab.plan.resolve import resolve
from netlab.topology.model import Topology


@dataclass(frozen=True)
class Lab:
    """A topology as its parts: nodes by name, and links as pairs of (node, interface or "")."""

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    links: tuple[tuple[tuple[str, str], tuple[str, str]], ...] = ()

    def plan(self) -> Plan:
        links = [
            {"endpoints": [f"{node}:{name}" if name else node for node, name in link]}
            for link in self.links
        ]
        value = {"name": "lab", "nodes": self.nodes, "links": links}
        return resolve(Topology.model_validate(value))

    def without(self, name: str) -> Lab:
        nodes = {key: node for key, node in self.nodes.items() if key != name}
        links = tuple(link for link in self.links if all(end[0] != name for end in link))
        return replace(self, nodes=nodes, links=links)


NODE_NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True).filter(
    lambda name: name != "localhost"
)
INTERFACE_NAMES = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x24F, exclude_characters="/:%-"),
    min_size=1,
    max_size=7,
).filter(
    lambda name: name.isprintable() and name not in {".", "..", "all", "default", "lo"}
)  # fmt: skip


@st.composite
def labs(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Lab:
    names = draw(st.lists(NODE_NAMES, min_size=1, max_size=7, unique=True))
    ids = draw(st.permutations(range(1, 255)))
    nodes = {name: _node(draw, number) for name, number in zip(names, ids, strict=False)}
    links: list[tuple[tuple[str, str], tuple[str, str]]] = []
    used = {(name, one) for name, node in nodes.items() for one in node["interfaces"]}
    for _ in range(draw(st.integers(0, 8)) if len(names) > 1 else 0):
        pair = draw(st.permutations(names))[:2]
        ends: list[tuple[str, str]] = []
        for name in pair:
            interface = draw(st.just("") | INTERFACE_NAMES)
            if (name, interface) in used:
                interface = ""
            used.add((name, interface))
            ends.append((name, interface))
        links.append((ends[0], ends[1]))
    return Lab(nodes, tuple(links))


def _node(draw: Callable[[st.SearchStrategy[Any]], Any], number: int) -> dict[str, Any]:
    vlans = draw(st.lists(st.integers(1, 255), max_size=3, unique=True))
    names = draw(st.lists(INTERFACE_NAMES, max_size=4, unique=True))
    # Several interfaces of a node on one vlan are the case that another system got wrong.
    interfaces = {name: {"vlan": draw(st.sampled_from([1, 2, 255, 4094]))} for name in names}
    return {"id": number, "vlans": vlans, "interfaces": interfaces}
