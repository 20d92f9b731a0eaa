from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from netlab.cli.drawing.dot import write_dot
from netlab.cli.drawing.layout import place
from netlab.cli.drawing.mermaid import write_mermaid
from netlab.cli.drawing.model import Picture, draw
from netlab.cli.drawing.svg import write_svg
from netlab.plan.model import Plan
from tests.cli.plans import PICTURES, make_plan

GOLDEN = Path(__file__).parent / "golden"

WRITERS: dict[str, Callable[[Picture], str]] = {
    "svg": write_svg,
    "dot": write_dot,
    "mmd": write_mermaid,
}

HOSTILE = '<&">\\|#]\n${x}`\x1b'


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_what_they_were(name: str, suffix: str, pytestconfig: pytest.Config) -> None:
    path = GOLDEN / f"{name}.{suffix}"
    text = WRITERS[suffix](draw(PICTURES[name]))
    if pytestconfig.getoption("--update-golden", default=False):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", PICTURES)
def test_svg_is_xml_and_boxes_do_not_overlap(name: str) -> None:
    root = ElementTree.fromstring(write_svg(draw(PICTURES[name])))
    boxes = [
        tuple(float(each.attrib[key]) for key in ("x", "y", "width", "height"))
        for each in root.iter("{http://www.w3.org/2000/svg}rect")
        if each.attrib["class"] != "paper"
    ]
    assert len(boxes) == len(draw(PICTURES[name]).boxes)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for x, y, wide, high in boxes:
        assert 0 <= x <= width - wide
        assert 0 <= y <= height - high
    for one, two in itertools.combinations(boxes, 2):
        apart = one[0] + one[2] < two[0] or two[0] + two[2] < one[0]
        assert apart or one[1] + one[3] < two[1] or two[1] + two[3] < one[1]


def test_a_ring_is_a_circle_and_a_line_is_a_line() -> None:
    circle = place(draw(PICTURES["circle"]))
    middle = (sum(x for x, _ in circle) / 8, sum(y for _, y in circle) / 8)
    radii = [math.dist(middle, point) for point in circle]
    assert max(radii) - min(radii) < 1e-3
    steps = [math.dist(*pair) for pair in itertools.pairwise([*circle, circle[0]])]
    assert steps == pytest.approx([1.0] * 8, abs=1e-3)
    assert place(draw(PICTURES["line"])) == [(0, 0), (1, 0), (2, 0), (3, 0)]


def test_the_order_of_links_in_the_file_does_not_break_a_ring() -> None:
    links = [("r1", "r3"), ("r2", "r4"), ("r3", "r2"), ("r4", "r1")]
    points = place(draw(make_plan("ring", ["r1", "r2", "r3", "r4"], links)))
    assert math.dist(points[0], points[2]) == pytest.approx(1.0, abs=1e-3)
    assert math.dist(points[0], points[1]) == pytest.approx(math.sqrt(2), abs=1e-3)


def hostile(plan: Plan) -> Plan:
    interface = replace(plan.nodes[0].interfaces[0], name=HOSTILE)
    first = replace(plan.nodes[0], name=HOSTILE, interfaces=(interface,))
    return replace(plan, lab=HOSTILE, nodes=(first, *plan.nodes[1:]))


def test_hostile_names_stay_text_in_svg() -> None:
    text = write_svg(draw(hostile(PICTURES["line"])))
    root = ElementTree.fromstring(text)
    shown = {each.text for each in root.iter("{http://www.w3.org/2000/svg}text")}
    assert HOSTILE.replace("\x1b", "") in shown
    tags = {each.tag.partition("}")[2] for each in root.iter()}
    assert tags == {"svg", "title", "style", "rect", "text", "path", "g"}


def test_hostile_names_stay_text_in_dot_and_mermaid() -> None:
    dot = write_dot(draw(hostile(PICTURES["line"])))
    # Outside of its strings, dot has nothing that was not there before.
    unquoted = re.sub(r'"(?:[^"\\]|\\.)*"', '""', dot)
    assert unquoted == re.sub(r'"(?:[^"\\]|\\.)*"', '""', write_dot(draw(PICTURES["line"])))
    mermaid = write_mermaid(draw(hostile(PICTURES["line"])))
    assert "#60;#38;#34;#62;#92;#124;#35;#93;#10;" in mermaid
    assert len(mermaid.splitlines()) == len(write_mermaid(draw(PICTURES["line"])).splitlines())


def test_a_large_lab_is_drawn_in_seconds() -> None:
    names = [f"r{n}" for n in range(1000)]
    links = [*itertools.pairwise(names), ("r0", "r500")]
    assert write_svg(draw(make_plan("large", names, links))).count("<path") == 1000


def test_a_lab_without_links_and_an_empty_one_can_be_drawn() -> None:
    for nodes in (["a"], ["a", "b"], []):
        for write in WRITERS.values():
            write(draw(make_plan("lonely", nodes, [])))
