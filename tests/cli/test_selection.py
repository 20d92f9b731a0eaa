from __future__ import annotations

import pytest

from netlab.cli.selection import select_names
from netlab.errors import UnknownNameError

NAMES = [*(f"r{n}" for n in range(1, 13)), "fw", "web-1", "web-2"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["r2"], "r2"),
        (["r2,fw"], "r2 fw"),
        (["fw", "r2"], "r2 fw"),
        (["r[2-4]"], "r2 r3 r4"),
        (["r[9-11],fw"], "r9 r10 r11 fw"),
        (["r[1-2],r[2-3]"], "r1 r2 r3"),
        (["web-*"], "web-1 web-2"),
        (["web-?"], "web-1 web-2"),
        (["w*-[2-9]"], "web-2"),
        (["r[13]"], "r1 r3"),
        (["r[1-3,7,11-99]"], "r1 r2 r3 r7 r11 r12"),
        (["web-[2,1]"], "web-1 web-2"),
        (["[fw,web]"], "fw"),
        (["[!r]*"], "fw web-1 web-2"),
        (["[vw]eb-[1-9]"], "web-1 web-2"),
        (["*"], " ".join(NAMES)),
    ],
)
def test_patterns_choose_nodes_in_the_order_of_the_file(patterns: list[str], expected: str) -> None:
    assert list(select_names(patterns, NAMES)) == expected.split()


@pytest.mark.parametrize(
    "pattern",
    ["r13", "r[20-30]", "", "r", "R1", "r[3-2]", "r[1-", "r1,,r2", "r[!]", "r[z-a]", "r[1,]"],
)
def test_a_pattern_that_means_no_node_is_an_error(pattern: str) -> None:
    with pytest.raises(UnknownNameError, match="no node is called"):
        select_names([pattern], NAMES)


def test_a_name_that_is_nearly_right_is_suggested() -> None:
    with pytest.raises(UnknownNameError) as caught:
        select_names(["web-11"], NAMES)
    assert caught.value.hint == "did you mean 'web-1'?"


def test_a_hostile_pattern_is_matched_literally() -> None:
    assert select_names(["a.c"], ["abc", "a.c"]) == ("a.c",)
    assert select_names(["a.[1-2]"], ["ab1", "a.1"]) == ("a.1",)
