from __future__ import annotations

from pathlib import Path

import pytest

from netlab.cli.options import parse_variables
from netlab.cli.topologies import discover, find_topology
from netlab.errors import UsageError


def test_a_topology_of_its_own_suffix_goes_before_topology_yaml(tmp_path: Path) -> None:
    (tmp_path / "topology.yaml").touch()
    assert discover(tmp_path) == tmp_path / "topology.yaml"
    (tmp_path / "ring.netlab.yml").touch()
    assert discover(tmp_path) == tmp_path / "ring.netlab.yml"


def test_several_topologies_are_listed(tmp_path: Path) -> None:
    for name in ("b.netlab.yaml", "a.netlab.yml"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=r"several .*a\.netlab\.yml, .*b\.netlab\.yaml"):
        discover(tmp_path)


def test_no_topology_says_what_is_found_by_itself(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        discover(tmp_path)
    assert "*.netlab.yaml" in str(caught.value.hint)


def test_a_folder_is_looked_in(tmp_path: Path) -> None:
    (tmp_path / "topology.yml").touch()
    assert find_topology(str(tmp_path)) == tmp_path / "topology.yml"
    assert find_topology(None, str(tmp_path)) == tmp_path / "topology.yml"


def test_an_argument_and_an_option_must_not_disagree() -> None:
    assert find_topology("a.yaml", "a.yaml") == Path("a.yaml")
    with pytest.raises(UsageError, match="two topologies"):
        find_topology("a.yaml", "b.yaml")


def test_variables_are_parsed_and_the_last_one_wins() -> None:
    assert parse_variables(["a=1", "b=x=y", "a=", "c= "]) == {"a": "", "b": "x=y", "c": " "}
    assert parse_variables(None) == {}


@pytest.mark.parametrize("setting", ["a", "=1", ""])
def test_a_variable_without_a_name_or_a_value_is_refused(setting: str) -> None:
    with pytest.raises(UsageError, match="expected NAME=VALUE"):
        parse_variables([setting])


def test_a_variable_that_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="not text in UTF-8"):
        parse_variables(["a=\udcff"])
