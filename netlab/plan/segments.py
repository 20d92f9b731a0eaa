"""Which segment is meant by two endpoints."""

from __future__ import annotations

from netlab.errors import UnknownNameError
from netlab.plan.model import NodePlan, Plan, SegmentPlan


def find_segment(plan: Plan, first: str, second: str) -> SegmentPlan:
    """Return the segment that two endpoints share.

    Args:
        plan: Whose.
        first: A node, or ``node:interface`` where two nodes share several segments.
        second: Likewise.

    Raises:
        UnknownNameError: They share none, or several.
    """
    shared = _segments_of(plan, first) & _segments_of(plan, second)
    found = [segment for segment in plan.segments if segment.name in shared]
    if len(found) == 1:
        return found[0]
    names = ", ".join(segment.name for segment in found)
    raise UnknownNameError(
        f"{first} and {second} share " + (f"several segments: {names}" if names else "none"),
        hint="name the interface too, as in r1:eth1" if names else "see `netlab plan`",
    )


def find_segment_named(plan: Plan, name: str) -> SegmentPlan:
    """Return the segment of that name.

    Raises:
        UnknownNameError: There is none.
    """
    for segment in plan.segments:
        if segment.name == name:
            return segment
    raise UnknownNameError(f"lab {plan.lab} has no segment {name!r}", hint="see `netlab plan`")


def find_node(plan: Plan, name: str) -> NodePlan:
    """Return the node of that name.

    Raises:
        UnknownNameError: There is none.
    """
    for node in plan.nodes:
        if node.name == name:
            return node
    known = ", ".join(node.name for node in plan.nodes)
    raise UnknownNameError(f"lab {plan.lab} has no node {name!r}", hint=f"its nodes: {known}")


def _segments_of(plan: Plan, endpoint: str) -> set[str]:
    name, _, interface = endpoint.partition(":")
    return {
        each.segment
        for each in find_node(plan, name).interfaces
        if not interface or each.name == interface
    }
