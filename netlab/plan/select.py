"""A part of a plan: some of its nodes, with the segments that they are on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from netlab.plan.model import Plan


def select(plan: Plan, names: Collection[str]) -> Plan:
    """Return the plan of only these nodes.

    Names, addresses, MAC addresses and ``/etc/hosts`` stay those of the whole plan, so the rest can
    be thought of as switched off. A segment keeps the ports of the nodes that stay.

    Raises:
        KeyError: A name is not a node's.
    """
    nodes = tuple(plan.node(name) for name in dict.fromkeys(names))
    order = {node.name: position for position, node in enumerate(plan.nodes)}
    nodes = tuple(sorted(nodes, key=lambda node: order[node.name]))
    taps = {interface.tap for node in nodes for interface in node.interfaces}
    segments = (
        replace(segment, ports=tuple(port for port in segment.ports if port.tap in taps))
        for segment in plan.segments
    )
    return replace(
        plan, nodes=nodes, segments=tuple(segment for segment in segments if segment.ports)
    )
