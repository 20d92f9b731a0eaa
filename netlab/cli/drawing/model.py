"""What a picture of a plan consists of, whatever language it is written in."""

from __future__ import annotations

from dataclasses import dataclass

from netlab.plan.model import InterfacePlan, NodePlan, Plan, SegmentPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Something that lines end at.

    Attributes:
        key: Unique in the picture, and of harmless characters: ``n0``, ``s3``.
        label: Its name.
        note: A second, smaller line: an address, or empty.
        detail: More about it, shown on demand; lines.
        shared: Whether it is a shared segment and not a node.
    """

    key: str
    label: str
    note: str
    detail: str
    shared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A cable.

    Attributes:
        start: Index of the box at its start.
        end: Index of the box at its end.
        start_label: The interface at the start; empty at a shared segment.
        end_label: The interface at the end; likewise.
        detail: More about it, shown on demand; lines.
    """

    start: int
    end: int
    start_label: str
    end_label: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All that is drawn.

    Attributes:
        title: The lab's name.
        boxes: Nodes in file order, then shared segments.
        lines: In the order of the plan's segments.
    """

    title: str
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


def draw(plan: Plan) -> Picture:
    """Return the picture of a plan.

    A link of two interfaces is one line; a vlan, and a link of more or fewer interfaces, is a small
    box of its own with a line to each.
    """
    places = {
        interface.tap: (index, interface)
        for index, node in enumerate(plan.nodes)
        for interface in node.interfaces
    }
    boxes = [_node_box(index, node) for index, node in enumerate(plan.nodes)]
    lines: list[Line] = []
    for segment in plan.segments:
        ends = [places[port.tap] for port in segment.ports if port.tap in places]
        if segment.vlan is None and len(ends) == 2:
            lines.append(_link(segment, ends[0], ends[1]))
            continue
        shared = len(boxes)
        boxes.append(_segment_box(shared - len(plan.nodes), segment))
        lines += [
            Line(
                start=index,
                end=shared,
                start_label=interface.name,
                end_label="",
                detail=_describe(interface),
            )
            for index, interface in ends
        ]
    return Picture(title=plan.lab, boxes=tuple(boxes), lines=tuple(lines))


def _node_box(index: int, node: NodePlan) -> Box:
    note = next((each.partition("/")[0] for each in node.loopback if ":" not in each), "")
    detail = [
        f"{node.name}: {node.image or 'no image'}, {node.cpus} CPU, {node.memory} MiB",
        *node.loopback,
    ]
    detail += [_describe(interface) for interface in node.interfaces]
    return Box(key=f"n{index}", label=node.name, note=note, detail="\n".join(detail), shared=False)


def _segment_box(index: int, segment: SegmentPlan) -> Box:
    label = segment.name if segment.vlan is not None else f"{len(segment.ports)} ports"
    detail = f"{segment.name}, MTU {segment.mtu}"
    return Box(key=f"s{index}", label=label, note="", detail=detail, shared=True)


def _link(
    segment: SegmentPlan, start: tuple[int, InterfacePlan], end: tuple[int, InterfacePlan]
) -> Line:
    detail = [f"{segment.name}, MTU {segment.mtu}", _describe(start[1]), _describe(end[1])]
    return Line(
        start=start[0],
        end=end[0],
        start_label=start[1].name,
        end_label=end[1].name,
        detail="\n".join(detail),
    )


def _describe(interface: InterfacePlan) -> str:
    return " ".join((f"{interface.name}:", *interface.addresses, interface.mac))
