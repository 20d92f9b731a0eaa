"""Every wrong topology is refused with these very words."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from netlab.errors import TopologyError, UsageError
from netlab.plan.checklist import resolve_checks
from netlab.plan.resolve import resolve
from netlab.topology.load import examine, load, loads

WRONG = sorted((Path(__file__).parent / "wrong").glob("*.yaml"))


def refused(path: Path | str) -> str:
    with pytest.raises(TopologyError) as caught:
        resolve(examine(path))
    return str(caught.value)


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_a_wrong_topology_is_refused_with_every_mistake_and_its_place(
    path: Path, golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    golden(path.with_suffix(".txt"), refused(path.name) + "\n")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ring.yaml"
    assert refused(path) == f"{path}: there is no such file"


def test_a_directory_is_not_a_topology(tmp_path: Path) -> None:
    assert refused(tmp_path) == f"{tmp_path}: is a directory, not a file"


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    assert refused(path) == f"{path}: is not a regular file"


def test_a_name_that_no_file_can_have_is_refused() -> None:
    assert refused("a\0b") == "a\0b: cannot be read: embedded null byte"


def test_a_path_that_loops_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "loop"
    path.symlink_to(path)
    assert refused(path) == f"{path}: cannot be read: Too many levels of symbolic links"


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(b"\x7fELF\0\0\1\2")
    assert refused(path) == f"{path}: is a binary file (it has to be YAML in UTF-8)"


def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: ring\n# \u00e9t\u00e9\n".encode("latin-1"))
    assert refused(path) == f"{path}:2:3: byte 0xe9 is not UTF-8 (save it as UTF-8)"


def test_a_file_of_100_mb_is_refused_by_its_size_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refused(path) == f"{path}: is larger than 4 MiB"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_a_file_that_says_it_is_empty_and_is_not_is_still_bounded() -> None:
    # Files of /proc have size 0 and content.
    assert "/proc/self/environ: is a binary file" in refused("/proc/self/environ")


def test_a_named_file_that_is_too_large_is_refused_at_its_place(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(9 * 1024 * 1024)
    path = tmp_path / "a.yaml"
    path.write_text("name: a\nnodes:\n  r1: {files: {/x: {from: huge}}}\n")
    assert refused(path) == (
        f'{path}:3:27: nodes.r1.files["/x"].from: "huge": is larger than 8 MiB'
    )


def test_files_that_multiply_with_the_nodes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 1024 * 1024)
    path = tmp_path / "a.yaml"
    path.write_text('name: a\nnodes:\n  "r[1-65]": {files: {/x: {from: large}}}\n')
    assert refused(path) == (
        f"{path}:3:3: nodes.r[1-65]: the files of all nodes together are more than 64 MiB "
        "(put what is large into an image)"
    )


def test_a_variable_of_the_command_line_that_nothing_uses_is_a_mistake() -> None:
    with pytest.raises(TopologyError) as caught:
        loads("name: a\nnodes: {r1: {memory: '${memory}'}}\n", variables={"memori": "128"})
    assert [mistake.message for mistake in caught.value.mistakes] == [
        'the file has no variable "memori"',
        'the variable "memory" has no value',
    ]
    assert caught.value.mistakes[0].hint == 'did you mean "memory"?'


def test_variables_are_no_bomb() -> None:
    commands = ", ".join(["'${x}${x}${x}'"] * 1000)
    started = time.perf_counter()
    with pytest.raises(TopologyError, match="more than 16 MiB of text"):
        loads(f"name: a\nvars: {{x: {'y' * 100_000}}}\nnodes: {{r1: {{run: [{commands}]}}}}\n")
    assert time.perf_counter() - started < 5


def test_a_great_many_mistakes_are_all_reported_in_bearable_time() -> None:
    links = "\n".join(f"  - s{number} -- t{number}" for number in range(5000))
    started = time.perf_counter()
    with pytest.raises(TopologyError) as caught:
        resolve(loads(f'name: a\nnodes: {{"r[1-4096]": }}\nlinks:\n{links}\n'))
    assert len(caught.value.mistakes) == 10_000
    assert time.perf_counter() - started < 10


def test_rules_repeated_over_and_over_end_in_a_mistake_and_not_in_hours() -> None:
    rules = '  - {line: "r[1-4096]"}\n' * 5000
    with pytest.raises(TopologyError, match="more than 65,536 ends"):
        resolve(loads(f'name: a\nnodes: {{"r[1-4096]": }}\nlinks:\n{rules}'))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (f"vlans: {list(range(1, 255))}", "more than 65,536 interfaces"),
        (f"loopback: {[f'10.0.0.{n}' for n in range(1, 99)]}", "more than 262,144 addresses"),
        (f"run: {['true'] * 100}", "more than 262,144 addresses, routes, files and commands"),
    ],
)
def test_lists_that_multiply_with_the_nodes_are_refused(settings: str, message: str) -> None:
    with pytest.raises(TopologyError, match=message):
        resolve(loads(f'name: a\nnodes: {{"r[1-4096]": {{{settings}}}}}\n'))


def test_text_without_its_file_cannot_be_planned_with_files_from_beside_it() -> None:
    topology = loads("name: a\nnodes:\n  r1: {files: {/x: {from: y}}}\n")
    with pytest.raises(TopologyError, match='the content of "y" was not read'):
        resolve(topology)


def test_a_wrong_name_for_the_lab_is_the_command_lines_mistake() -> None:
    with pytest.raises(UsageError, match='"My Lab" cannot be a lab\'s name'):
        resolve(loads("name: a\nnodes: {r1: }\n"), lab="My Lab")


def test_names_in_messages_are_shortened_and_cannot_hold_control_characters() -> None:
    name = '"\\e[31mred\\u202e' + "x" * 1000 + '"'
    with pytest.raises(TopologyError) as caught:
        resolve(loads(f"name: a\nnodes:\n  {name}: {{}}\n"))
    message = str(caught.value)
    assert "\x1b" not in message
    assert "\u202e" not in message
    assert len(message) < 300


@pytest.mark.parametrize(
    "where",
    [
        "nodes:\n  ? X\n  : {id: 1}",
        "nodes: {r1: }\nlinks: [{endpoints: [r1, X]}]",
        "nodes: {r1: }\nchecks: [{reachable: [r1, X]}]",
    ],
)
def test_a_range_whose_names_nobody_can_count_is_a_mistake(where: str) -> None:
    text = where.replace("X", f"'r{'[1-999999]' * 800}'")
    with pytest.raises(TopologyError, match="makes more names than can be counted"):
        resolve(loads(f"name: a\n{text}\n"))


def test_long_white_space_in_a_link_is_no_work() -> None:
    started = time.perf_counter()
    with pytest.raises(TopologyError, match="is not a link of two ends"):
        loads(f"name: a\nnodes: {{r1: }}\nlinks: ['r1{' ' * 200_000}r2']\n")
    assert time.perf_counter() - started < 2


def test_thousands_of_files_and_checks_are_looked_at_in_bearable_time() -> None:
    files = "\n".join(f"      /srv/{number}: x" for number in range(20_000))
    checks = "  - converged:\n" * 10_000
    started = time.perf_counter()
    topology = loads(f"name: a\nnodes:\n  r1:\n    files:\n{files}\n  r2:\nchecks:\n{checks}")
    assert len(resolve(topology).nodes[0].files) == 20_000
    names = [check.name for check in resolve_checks(topology, ["r1", "r2"])]
    assert names[-1] == "the network converges (10000)"
    assert time.perf_counter() - started < 10


def test_a_file_for_which_the_others_leave_no_room_is_told_the_whole_limit(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(9)]
    for name in names:
        with (tmp_path / name).open("wb") as file:
            file.truncate(8 * 1024 * 1024)
    path = tmp_path / "a.yaml"
    files = ", ".join(f"/{name}: {{from: {name}}}" for name in names)
    path.write_text(f"name: a\nnodes:\n  r1: {{files: {{{files}}}}}\n")
    with pytest.raises(TopologyError, match='"f8": is larger than 64 MiB with all before it'):
        load(path)


def test_a_group_of_many_files_for_many_nodes_is_refused_before_they_are_made() -> None:
    files = "".join(f"      /f{number}: x\n" for number in range(3000))
    nodes = "".join(f"  a{number}: {{groups: g}}\n" for number in range(2000))
    started = time.perf_counter()
    with pytest.raises(TopologyError, match=r"nodes\.a87: the nodes up to here have more than"):
        resolve(loads(f"name: a\ngroups:\n  g:\n    files:\n{files}nodes:\n{nodes}"))
    assert time.perf_counter() - started < 10
