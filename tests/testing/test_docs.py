"""The page of the vocabulary says everything, and what it shows is real Python."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import netlab
from netlab import pytest_plugin
from netlab.testing import LabDriver, NodeDriver

PAGE = (Path(netlab.__file__).parent / "docs/testing.md").read_text()


@pytest.mark.parametrize("driver", [LabDriver, NodeDriver])
def test_every_verb_is_described(driver: type) -> None:
    verbs = {name for name in dir(driver) if not name.startswith("_")}
    assert [verb for verb in sorted(verbs) if not re.search(rf"\b{verb}\b", PAGE)] == []


def test_the_page_describes_nothing_that_is_not_there() -> None:
    cells = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    named = [name for cell in cells for name in re.findall(r"`(\w+)", cell)]
    fixtures = {name for name in ("topology", "plan", "lab") if hasattr(pytest_plugin, name)}
    known = {*dir(LabDriver), *dir(NodeDriver), *fixtures, "subtest", "polling_condition"}
    assert len(named) > 30
    assert [name for name in named if name not in known] == []


def test_every_option_of_the_plugin_is_described() -> None:
    source = Path(pytest_plugin.__file__).read_text()
    options = re.findall(r'"(--netlab-[a-z]+)"', source)
    assert len(options) == 8
    assert [option for option in options if option not in PAGE] == []


def test_the_examples_are_python() -> None:
    examples = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        compile(example, "testing.md", "exec")
