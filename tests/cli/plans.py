"""Plans made by hand, so that pictures can be tested without the topology language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netlab.plan.model import InterfacePlan, NodePlan, Plan, PortPlan, SegmentPlan


def make_node(name: str, number: int, interfaces: Sequence[InterfacePlan]) -> NodePlan:
    return NodePlan(
        name=name,
        id=number,
        id_given=True,
        image="micro",
        arch="x86_64",
        accel="auto",
        cpus=1,
        memory=128,
        display="none",
        wire="exact",
        uuid=f"00000000-0000-8000-8000-{number:012d}",
        interfaces=tuple(interfaces),
        loopback=(f"172.16.0.{number}/32", f"2001:db8:7fff::{number}/128"),
        routes=(),
        files=(),
        run=(),
    )


def make_plan(
    lab: str,
    nodes: Sequence[str],
    links: Sequence[tuple[str, str]],
    vlans: Mapping[int, Sequence[str]] | None = None,
) -> Plan:
    """Make a plan: links between two nodes, and vlans with their members; ethN in that order."""
    interfaces: dict[str, list[InterfacePlan]] = {name: [] for name in nodes}
    segments: list[SegmentPlan] = []

    def attach(node: str, segment: str) -> PortPlan:
        name = f"eth{len(interfaces[node]) + 1}"
        tap = f"{node}.{name}"
        index = len(segments) * 8 + len(interfaces)
        interfaces[node].append(
            InterfacePlan(
                name=name,
                segment=segment,
                tap=tap,
                mac=f"02:00:00:00:{index % 256:02x}:{len(interfaces[node]):02x}",
                mtu=1500,
                addresses=(f"10.0.{len(segments)}.{len(interfaces[node])}/31",),
            )
        )
        return PortPlan(tap=tap, altname=f"netlab.{lab}.{tap}", wire="exact")

    def add(name: str, vlan: int | None, members: Sequence[str]) -> None:
        ports = tuple(attach(node, name) for node in members)
        segments.append(
            SegmentPlan(
                name=name,
                bridge=f"br{len(segments)}",
                altname=f"netlab.{lab}.{name}",
                vlan=vlan,
                mtu=1500,
                ports=ports,
            )
        )

    for number, members in (vlans or {}).items():
        add(f"vlan{number}", number, members)
    for first, second in links:
        add(f"{first}--{second}", None, (first, second))
    return Plan(
        lab=lab,
        topology=lab,
        nodes=tuple(
            make_node(name, number, interfaces[name]) for number, name in enumerate(nodes, 1)
        ),
        segments=tuple(segments),
        hosts=(),
        warnings=(),
    )


def _ring(count: int) -> list[tuple[str, str]]:
    return [(f"r{n}", f"r{n % count + 1}") for n in range(1, count + 1)]


def _names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{n}" for n in range(1, count + 1)]


PICTURES = {
    "ring": make_plan("ring", _names("r", 6), [*_ring(6), ("r2", "r5")]),
    "circle": make_plan("circle", _names("r", 8), _ring(8)),
    "line": make_plan("line", _names("h", 4), [("h1", "h2"), ("h2", "h3"), ("h3", "h4")]),
    "star": make_plan("star", ["hub", *_names("leaf", 9)], [("hub", n) for n in _names("leaf", 9)]),
    "lan": make_plan(
        "lan",
        ["fw", "web", "mail", "db", "admin"],
        [],
        {1: ["fw", "web", "mail"], 2: ["fw", "db", "admin"]},
    ),
    "parallel": make_plan("parallel", ["a", "b"], [("a", "b")] * 3),
    "islands": make_plan("islands", ["a", "b", "c", "alone"], [("a", "b"), ("b", "c"), ("c", "a")]),
    "fabric": make_plan(
        "fabric",
        ["spine1", "spine2", *_names("leaf", 4), *_names("host", 8)],
        [(f"spine{s}", f"leaf{n}") for s in (1, 2) for n in range(1, 5)]
        + [(f"leaf{(h + 1) // 2}", f"host{h}") for h in range(1, 9)],
    ),
}
