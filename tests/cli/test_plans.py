"""Verbs on topologies, through the real program."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import Shell

PAIR = """\
name: pair
vars: {memory: 128}
nodes:
  a: {id: 1, memory: "${memory}"}
  b: {id: 2}
links:
  - a:left -- b:right
"""


@pytest.fixture
def pair(netlab: Shell) -> Path:
    path = netlab.folder / "pair.netlab.yaml"
    path.write_text(PAIR)
    return path


@pytest.mark.usefixtures("pair")
def test_a_plan_is_shown_as_tables(netlab: Shell) -> None:
    done = netlab("plan")
    assert (done.returncode, done.stderr) == (0, "")
    assert "a.left" in done.stdout
    assert "qemu-system" not in done.stdout
    commands = netlab("plan", "--commands").stdout
    assert commands.count("qemu-system-x86_64") == 2
    assert "-kernel '{micro:kernel}'" in commands


@pytest.mark.usefixtures("pair")
def test_a_display_is_seen_in_the_command_line(netlab: Shell) -> None:
    (netlab.folder / "shown.netlab.yaml").write_text("name: shown\nnodes: {a: {display: std}}\n")
    commands = netlab("plan", "shown.netlab.yaml", "--commands").stdout
    assert "-kernel '{micro:packed_kernel}'" in commands
    assert "-device VGA," in commands


def test_a_command_line_cannot_steer_the_terminal(netlab: Shell) -> None:
    text = 'name: s\nnodes: {a: {id: 1, qemu_args: ["\\e[31mred"]}}\n'
    (netlab.folder / "s.netlab.yaml").write_text(text)
    done = netlab("plan", "--commands")
    assert r"'\x1b[31mred'" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_plan_says_which_source_a_path_has_and_what_follows_from_a_share(netlab: Shell) -> None:
    text = "name: s\nnodes: {a: {id: 1, image: debian, shares: [x:/srv/x, y:/usr/share/y]}}\n"
    (netlab.folder / "s.netlab.yaml").write_text(text)
    done = netlab("plan", "--commands")
    rows = [line.split() for line in done.stdout.splitlines() if "share" in line]
    assert ["a", "/srv/x", "share", "x", "read-only", "share0"] in rows
    assert ["a", "/usr/share/y", "image", "y", "off", "share1"] in rows
    assert done.stdout.count("vhost-user-fs-pci") == 1
    assert "a cannot be saved with its memory: the share at /srv/x\n" in done.stderr
    warning = 'nodes.a.shares[1]: the share at "/usr/share/y" is off for a'
    assert f"s.netlab.yaml: {warning}" in done.stderr
    [record] = json.loads(netlab("validate", "-f", "json").stdout)
    assert (record["severity"], record["line"], record["column"]) == ("warning", 2, 54)
    assert (record["path"], "shadow: true" in record["hint"]) == ("nodes.a.shares[1]", True)


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize("option", ["-f", "-o", "--format"])
def test_a_plan_is_json_with_the_command_lines_beside_it(netlab: Shell, option: str) -> None:
    plan = json.loads(netlab("plan", option, "json").stdout)
    assert [node["name"] for node in plan["nodes"]] == ["a", "b"]
    assert plan["commands"]["a"][0] == "qemu-system-x86_64"


@pytest.mark.usefixtures("pair")
def test_variables_names_and_filters_change_the_plan(netlab: Shell) -> None:
    words = ("plan", "-s", "memory=256", "--name", "other", "--node-filter", "a", "-f", "json")
    plan = json.loads(netlab(*words).stdout)
    assert plan["lab"] == "other"
    assert [(node["name"], node["memory"]) for node in plan["nodes"]] == [("a", 256)]


@pytest.mark.usefixtures("pair")
def test_a_filter_that_means_no_node_is_refused(netlab: Shell) -> None:
    done = netlab("plan", "--node-filter", "c")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no node is called 'c'" in done.stderr


def test_every_mistake_of_every_file_is_printed_like_a_compiler(netlab: Shell) -> None:
    (netlab.folder / "one.yaml").write_text("name: one\nnodes: {a: {colour: red}}\n")
    (netlab.folder / "two.yaml").write_text("name: two\nnodes: {a: {}}\nlinks: [a -- b]\n")
    done = netlab("validate", "one.yaml", "two.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["one.yaml", "two.yaml"]
    assert all(line.split(":")[1].isdigit() and line.split(":")[2].isdigit() for line in lines)
    found = json.loads(netlab("validate", "one.yaml", "two.yaml", "-f", "json").stdout)
    assert [mistake["file"] for mistake in found] == ["one.yaml", "two.yaml"]


def test_a_key_of_another_tool_is_a_warning_on_stderr_and_in_json(netlab: Shell) -> None:
    (netlab.folder / "old.yaml").write_text("name: old\nnodes: {a: {mem: 256}}\n")
    done = netlab("validate", "old.yaml")
    assert (done.returncode, done.stdout) == (0, "")
    text = 'nodes.a.mem: the key "mem" is "memory" since 0.1.0 (write memory)'
    assert done.stderr.splitlines()[0] == f"old.yaml:2:13: {text}"
    found = json.loads(netlab("validate", "old.yaml", "-f", "json").stdout)
    assert [(one["severity"], one["line"]) for one in found] == [("warning", 2), ("warning", 0)]
    planned = netlab("plan", "old.yaml", "-f", "json")
    assert planned.stderr.startswith(f"old.yaml: {text}\n")
    assert json.loads(planned.stdout)["warnings"][0] == text


@pytest.mark.usefixtures("pair")
def test_right_files_are_counted(netlab: Shell) -> None:
    done = netlab("validate")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "pair.netlab.yaml: 2 nodes, 1 segments\n"
    assert json.loads(netlab("validate", "-f", "json").stdout) == []


@pytest.mark.parametrize("verb", ["up", "plan", "graph", "validate"])
def test_a_missing_file_is_exit_code_2(netlab: Shell, verb: str) -> None:
    done = netlab(verb, "nothing.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("nothing.yaml: ")
    assert netlab(verb).returncode == 2


@pytest.mark.usefixtures("pair")
def test_a_graphs_language_follows_its_files_name(netlab: Shell) -> None:
    assert "flowchart" in netlab("graph").stdout
    assert netlab("graph", "-f", "dot").stdout.startswith("graph ")
    for name, start in (("a.svg", "<svg"), ("a.dot", "graph"), ("a.gv", "graph"), ("a.mmd", "---")):
        done = netlab("graph", "-o", name)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert (netlab.folder / name).read_text().startswith(start)
    ElementTree.parse(netlab.folder / "a.svg")
    assert netlab("graph", "-o", "missing/a.svg").returncode == 2


def test_the_schema_is_json(netlab: Shell) -> None:
    assert "properties" in json.loads(netlab("schema").stdout)
    netlab("schema", "-o", "schema.json")
    assert "properties" in json.loads((netlab.folder / "schema.json").read_text())


@pytest.mark.usefixtures("pair")
def test_a_dry_run_of_up_says_what_it_would_start(netlab: Shell) -> None:
    done = netlab("deploy", "--dry-run")
    assert (done.returncode, done.stdout) == (0, "")
    assert "pair: would start 2 nodes on 1 segments" in done.stderr
    plan = json.loads(netlab("up", "--dry-run", "-f", "json").stdout)
    assert plan["lab"] == "pair"
    assert not (netlab.folder / "state").exists()


def test_nodes_without_an_id_are_told_on_standard_error(netlab: Shell) -> None:
    (netlab.folder / "topology.yaml").write_text("name: x\nnodes: {a: {}}\n")
    done = netlab("plan", "-f", "json")
    assert "topology.yaml: " in done.stderr
    assert json.loads(done.stdout)["warnings"]


def test_validate_takes_the_option_and_tells_every_files_mistakes(netlab: Shell) -> None:
    (netlab.folder / "a.yaml").write_text("name: a\nnodes: {a: {memori: 1}}\n")
    (netlab.folder / "empty").mkdir()
    assert netlab("validate", "-t", "a.yaml").returncode == 2
    done = netlab("validate", "a.yaml", "empty", "-f", "json")
    assert done.returncode == 2
    assert [mistake["file"] for mistake in json.loads(done.stdout)] == ["a.yaml", "empty"]


def test_a_picture_of_no_known_kind_is_refused(netlab: Shell) -> None:
    (netlab.folder / "a.yaml").write_text("name: a\nnodes: {a: {id: 1}}\n")
    assert netlab("graph", "a.yaml", "-o", "a.SVG").returncode == 0
    assert (netlab.folder / "a.SVG").read_text().startswith(("<svg", "<?xml"))
    refused = netlab("graph", "a.yaml", "-o", "a.png")
    assert refused.returncode == 2
    assert "nothing is drawn as .png" in refused.stderr
