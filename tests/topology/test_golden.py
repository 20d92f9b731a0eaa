"""Topologies in, plans out: a change of either shows as a difference between texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from netlab.plan.codec import from_json, to_json
from netlab.plan.resolve import resolve
from netlab.topology.load import load

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
CASES = [*sorted(GOLDEN.glob("*.yaml")), *sorted((ROOT / "topologies").glob("*.yaml"))]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_topology_gives_the_plan_that_is_written_down(
    path: Path, golden: Callable[[Path, str], None]
) -> None:
    plan = resolve(load(path))
    text = to_json(plan)
    golden(GOLDEN / f"{path.stem}.plan.json", text)
    assert from_json(text) == plan


def test_every_shipped_topology_has_the_modeline_for_editors() -> None:
    for path in (ROOT / "topologies").glob("*.yaml"):
        assert path.read_text().startswith("# yaml-language-server: $schema=netlab.schema.json\n")


def test_every_shipped_topology_but_the_plainest_says_its_ids() -> None:
    for path in (ROOT / "topologies").glob("*.yaml"):
        assert path.stem == "dmz" or not resolve(load(path)).warnings
