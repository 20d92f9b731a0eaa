"""A picture as SVG: on its own in a page, light or dark as the reader has it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from netlab.cli.drawing.layout import Point, place
from netlab.cli.drawing.model import Box, Line, Picture

UNIT = 190.0
"""Pixels of a line between nodes."""

MARGIN = 36.0
TITLE_HEIGHT = 34.0
GAP = 34.0
"""Pixels kept free between boxes."""

BEND = 34.0
"""Pixels between lines that have both ends in common."""

LABEL_SIZE = 11
LABEL_DISTANCE = 10.0
"""Pixels between a box and the interface's name on the line."""

STYLE = """
.paper { fill: #ffffff }
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif }
.title { font-size: 17px; font-weight: 600; fill: #16202e }
.count { font-size: 12px; fill: #66758a }
.line { fill: none; stroke: #93a1b5; stroke-width: 2; stroke-linecap: round }
.node { fill: #eaf1ff; stroke: #3b6fd4; stroke-width: 1.5 }
.shared { fill: #fff3dc; stroke: #c98a2b; stroke-width: 1.5 }
.name { font-size: 15px; font-weight: 600; fill: #14213d }
.note { font-size: 11px; fill: #51607a }
.small { font-size: 12px; font-weight: 600; fill: #6b4a10 }
.port { font-size: 11px; fill: #3f4d63; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round;
  paint-order: stroke }
@media (prefers-color-scheme: dark) {
  .paper { fill: #0e141b }
  .title { fill: #e6edf7 }
  .count { fill: #8a99ae }
  .line { stroke: #56657c }
  .node { fill: #16263f; stroke: #6ea2ff }
  .shared { fill: #30250f; stroke: #dda544 }
  .name { fill: #e6edf7 }
  .note { fill: #a3b1c6 }
  .small { fill: #f0cd8a }
  .port { fill: #c3cede; stroke: #0e141b }
}
""".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """A box with its place and size in pixels."""

    box: Box
    x: float
    y: float
    width: float
    height: float

    def border(self, towards: Point) -> float:
        """How far it is from the middle to the border in a direction (a unit vector)."""
        horizontal = self.width / 2 / abs(towards[0]) if towards[0] else math.inf
        vertical = self.height / 2 / abs(towards[1]) if towards[1] else math.inf
        return min(horizontal, vertical)


def write_svg(picture: Picture) -> str:
    """Return the picture as an SVG document."""
    shapes = _shapes(picture)
    title_width = max(_width(picture.title, 17), _width(_count(picture), 12))
    right = max([MARGIN + title_width, *(each.x + each.width / 2 for each in shapes)]) + MARGIN
    bottom = max([MARGIN, *(each.y + each.height / 2 for each in shapes)]) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right:.0f}" height="{bottom:.0f}" '
        f'viewBox="0 0 {right:.0f} {bottom:.0f}" role="img">',
        f"<title>{_text(picture.title)}</title>",
        f"<style>{STYLE}</style>",
        '<rect class="paper" width="100%" height="100%"/>',
        f'<text class="title" x="{MARGIN / 2:g}" y="26">{_text(picture.title)}</text>',
        f'<text class="count" x="{MARGIN / 2:g}" y="43">{_count(picture)}</text>',
        *_draw_lines(picture.lines, shapes),
        *(part for shape in shapes for part in _draw_box(shape)),
        "</svg>",
        "",
    ]
    return "\n".join(parts)


def _count(picture: Picture) -> str:
    nodes = sum(not box.shared for box in picture.boxes)
    segments = len(picture.lines) - sum(picture.boxes[line.end].shared for line in picture.lines)
    segments += len(picture.boxes) - nodes
    return f"{nodes} node{'s' * (nodes != 1)}, {segments} segment{'s' * (segments != 1)}"


def _shapes(picture: Picture) -> list[_Shape]:
    places = place(picture)
    sizes = [_size(box) for box in picture.boxes]
    scale = max(UNIT, _needed_scale(places, sizes))
    left = max((width / 2 for width, _ in sizes), default=0.0) + MARGIN
    top = max((height / 2 for _, height in sizes), default=0.0) + MARGIN + TITLE_HEIGHT
    return [
        _Shape(box=box, x=left + x * scale, y=top + y * scale, width=width, height=height)
        for box, (x, y), (width, height) in zip(picture.boxes, places, sizes, strict=True)
    ]


def _needed_scale(places: Sequence[Point], sizes: Sequence[Point]) -> float:
    """The scale at which no two boxes come nearer than the gap."""
    needed = 0.0
    for index, (x, y) in enumerate(places):
        for other in range(index):
            across, down = abs(x - places[other][0]), abs(y - places[other][1])
            wide = (sizes[index][0] + sizes[other][0]) / 2 + GAP
            high = (sizes[index][1] + sizes[other][1]) / 2 + GAP
            # Either direction will do; the one that needs less.
            options = [wide / across if across > 1e-3 else math.inf]
            options.append(high / down if down > 1e-3 else math.inf)
            needed = max(needed, min(options))
    return min(needed, UNIT * 4)


def _size(box: Box) -> Point:
    if box.shared:
        return _width(box.label, 12) + 22, 24.0
    return max(
        64.0, _width(box.label, 15) + 24, _width(box.note, 11) + 20
    ), 48.0 if box.note else 38.0


def _width(text: str, size: float) -> float:
    """About how wide a text is: fonts differ, so this is generous."""
    return 0.6 * size * len(text)


def _draw_box(shape: _Shape) -> Iterator[str]:
    kind, radius = ("shared", shape.height / 2) if shape.box.shared else ("node", 8.0)
    left, top = shape.x - shape.width / 2, shape.y - shape.height / 2
    yield f"<g><title>{_text(shape.box.detail)}</title>"
    yield (
        f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{shape.width:.1f}" '
        f'height="{shape.height:.1f}" rx="{radius:g}"/>'
    )
    if shape.box.shared:
        yield _label("small", shape.x, shape.y + 4, shape.box.label)
    elif shape.box.note:
        yield _label("name", shape.x, shape.y - 2, shape.box.label)
        yield _label("note", shape.x, shape.y + 14, shape.box.note)
    else:
        yield _label("name", shape.x, shape.y + 5, shape.box.label)
    yield "</g>"


def _draw_lines(lines: Sequence[Line], shapes: Sequence[_Shape]) -> Iterator[str]:
    """All lines, then all names on them, so that no line runs through a name."""
    total = Counter(frozenset((line.start, line.end)) for line in lines)
    drawn: Counter[frozenset[int]] = Counter()
    labels: list[str] = []
    for line in lines:
        pair = frozenset((line.start, line.end))
        # Parallel lines bend to both sides of the middle; the bend follows the pair, not the line.
        bend = (drawn[pair] - (total[pair] - 1) / 2) * BEND * (1 if line.start < line.end else -1)
        drawn[pair] += 1
        start, end = shapes[line.start], shapes[line.end]
        top = _top((start.x, start.y), (end.x, end.y), bend)
        yield f"<g><title>{_text(line.detail)}</title>"
        yield (
            f'<path class="line" d="M{start.x:.1f} {start.y:.1f}'
            f'Q{top[0]:.1f} {top[1]:.1f} {end.x:.1f} {end.y:.1f}"/></g>'
        )
        labels += [
            _port(line.start_label, start, top),
            _port(line.end_label, end, top),
        ]
    yield from filter(None, labels)


def _top(start: Point, end: Point, bend: float) -> Point:
    """The control point of a line that bends sideways at its middle by so many pixels."""
    length = math.dist(start, end) or 1.0
    across = (-(end[1] - start[1]) / length, (end[0] - start[0]) / length)
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    # A quadratic curve comes half as near to its control point.
    return middle[0] + 2 * bend * across[0], middle[1] + 2 * bend * across[1]


def _port(text: str, shape: _Shape, towards: Point) -> str:
    """The name of an interface, on its line and just outside of its box."""
    if not text:
        return ""
    length = math.dist((shape.x, shape.y), towards) or 1.0
    direction = ((towards[0] - shape.x) / length, (towards[1] - shape.y) / length)
    half_width = _width(text, LABEL_SIZE) / 2
    # The label is a box too: its own extent in that direction comes on top.
    horizontal = half_width / abs(direction[0]) if direction[0] else math.inf
    vertical = LABEL_SIZE / 2 / abs(direction[1]) if direction[1] else math.inf
    away = shape.border(direction) + LABEL_DISTANCE + min(horizontal, vertical)
    x, y = shape.x + direction[0] * away, shape.y + direction[1] * away
    return _label("port", x, y + 4, text)


def _label(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{_text(text)}</text>'


def _text(text: str) -> str:
    """Escape for XML, and drop what XML cannot hold."""
    return escape("".join(char for char in text if char.isprintable() or char in "\n\t"))
