"""The page about the language says everything, and what it shows works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netlab.errors import TopologyError
from netlab.plan.resolve import resolve
from netlab.topology.load import load, loads
from netlab.topology.schema import json_schema
from tests.topology.test_schema import fields

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "netlab" / "docs" / "topology.md").read_text()
EXAMPLES: list[str] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_field_of_the_language_is_described() -> None:
    keys = {name.split(".")[1] for name in fields(json_schema())}
    assert [key for key in sorted(keys) if f"`{key}`" not in PAGE] == []


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.splitlines()[0])
def test_an_example_of_the_page_loads(text: str, tmp_path: Path) -> None:
    for named in re.findall(r"from: ([\w.-]+)", text):
        (tmp_path / named).write_text("")
    (tmp_path / "a.yaml").write_text(text)
    resolve(load(tmp_path / "a.yaml", variables={"memory": "192"} if "${memory" in text else {}))


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 5


def test_the_messages_that_the_page_shows_are_real() -> None:
    shown = re.findall(r"^    (lab\.yaml:.*)$", PAGE, re.MULTILINE)
    wrong = re.search(r"^<!-- wrong\n(.*?)-->", PAGE, re.MULTILINE | re.DOTALL)
    assert wrong is not None
    with pytest.raises(TopologyError, match=r"^lab\.yaml") as caught:
        resolve(loads(wrong[1], name="lab.yaml"))
    assert str(caught.value).splitlines() == shown
