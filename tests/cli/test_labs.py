"""Verbs on running labs, against a small real control API."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.cli.conftest import NETLAB, FakeLab, Shell


@pytest.mark.usefixtures("lab")
def test_exec_returns_the_commands_status_and_passes_both_streams_on_as_they_are(
    netlab: Shell,
) -> None:
    done = netlab("exec", "ring/r1", "--", "both")
    assert (done.returncode, done.stdout) == (3, "out\udcff\n")
    assert done.stderr == "err\nwarning: r1: stdout cut off\n"


@pytest.mark.usefixtures("lab")
def test_what_follows_the_node_is_the_commands(netlab: Shell) -> None:
    for words in (["--", "words", "-f", "--name", "--"], ["words", "-f", "--name", "--"]):
        done = netlab("exec", "r1", *words)
        assert json.loads(done.stdout) == ["words", "-f", "--name", "--"]


@pytest.mark.usefixtures("lab")
def test_a_command_that_a_signal_ended_is_128_and_the_number(netlab: Shell) -> None:
    assert netlab("exec", "r1", "--", "killed").returncode == 137


@pytest.mark.usefixtures("lab")
def test_standard_input_is_given_when_asked_for(netlab: Shell) -> None:
    assert netlab("exec", "-i", "r1", "--", "cat", stdin=b"hello").stdout == "hello"
    assert netlab("exec", "r1", "--", "cat", stdin=b"hello").stdout == ""


@pytest.mark.usefixtures("lab")
def test_the_environment_is_what_is_asked_for(netlab: Shell) -> None:
    done = netlab("exec", "-e", "A=1", "-e", "B=x=y", "r1", "--", "env")
    assert json.loads(done.stdout) == {"A": "1", "B": "x=y"}
    wrong = netlab("exec", "-e", "A", "r1", "--", "env")
    assert (wrong.returncode, wrong.stderr) == (2, "netlab: -e A: expected NAME=VALUE\n")


@pytest.mark.usefixtures("lab")
def test_several_nodes_print_their_names_and_the_highest_status_counts(netlab: Shell) -> None:
    done = netlab("exec", "r[1-3]", "--", "both")
    assert done.returncode == 3
    assert done.stdout == "".join(f"r{n}: out\ufffd\n" for n in (1, 2, 3))
    told = "r{0}: err\nwarning: r{0}: stdout cut off\n"
    assert done.stderr == "".join(told.format(n) for n in (1, 2, 3))
    filtered = netlab("exec", "--node-filter", "r[1-3]", "--", "both")
    assert (filtered.stdout, filtered.returncode) == (done.stdout, 3)


@pytest.mark.usefixtures("lab")
def test_one_node_that_fails_does_not_hide_the_others(netlab: Shell) -> None:
    done = netlab("exec", "--all", "--", "words")
    assert done.returncode == 4
    assert done.stdout.count('["words"]') == 5
    assert "netlab: r6 is booting" in done.stderr


@pytest.mark.usefixtures("lab")
def test_exec_as_json_is_a_list_whatever_happens(netlab: Shell) -> None:
    done = netlab("exec", "-f", "json", "r[5-6]", "--", "both")
    assert done.returncode == 4
    assert json.loads(done.stdout) == [
        {
            "node": "r5",
            "status": 3,
            "stdout": "out\ufffd\n",
            "stderr": "err\n",
            "incomplete": "stdout cut off",
        },
        {"node": "r6", "status": 4, "error": "r6 is booting: agent silent"},
    ]


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-it", "r1"], "-t: standard input and output have to be a terminal\n  -i is enough"),
        (["-t", "r[1-2]"], "-t: it is for one node"),
        (["--stream", "r[1-2]"], "--stream: it is for one node"),
        (["-t", "-f", "json", "r1"], "-t: what is passed on cannot be written as JSON"),
    ],
)
def test_a_terminal_that_cannot_be_is_refused(
    netlab: Shell, words: list[str], message: str
) -> None:
    done = netlab("exec", *words, "--", "true")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.mark.usefixtures("lab")
def test_an_unknown_node_is_refused(netlab: Shell) -> None:
    assert netlab("exec", "r9", "--", "true").returncode == 2
    done = netlab("exec", "r9*", "--", "true")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no node is called 'r9*'" in done.stderr


@pytest.mark.usefixtures("lab", "second_lab")
def test_with_several_labs_one_must_be_named(netlab: Shell) -> None:
    done = netlab("exec", "r1", "--", "true")
    assert done.returncode == 2
    assert "several labs are up: other, ring" in done.stderr
    assert netlab("exec", "other/r1", "--", "true").returncode == 0
    assert netlab("exec", "--name", "ring", "r1", "--", "true").returncode == 0
    assert netlab("exec", "--name", "ring", "other/r1", "--", "true").returncode == 2


@pytest.mark.parametrize("name", ["../../etc", "", ".", "a/b"])
def test_a_name_that_leads_elsewhere_is_refused(netlab: Shell, name: str) -> None:
    for words in (["exec", "--name", name, "r1", "true"], ["down", "--name", name]):
        assert netlab(*words).returncode == 2


def test_a_cable_is_pulled_and_put_back(netlab: Shell, lab: FakeLab) -> None:
    done = netlab("link", "down", "ring/r1:eth1", "ring/r2")
    assert (done.returncode, done.stderr) == (0, "r1:eth1 -- r2 is down\n")
    assert lab.links == {("r1:eth1", "r2"): False}
    assert netlab("link", "up", "r1:eth1", "r2").returncode == 0
    assert lab.links == {("r1:eth1", "r2"): True}


@pytest.mark.usefixtures("lab")
def test_a_cable_that_is_not_there_is_refused(netlab: Shell) -> None:
    refused = netlab("link", "down", "r1", "r4")
    assert (refused.returncode, refused.stderr) == (2, "netlab: r1 and r4 share none\n")
    assert netlab("link", "down", "ring/r1", "other/r2").returncode == 2
    assert netlab("link", "sideways", "r1", "r2").returncode == 2


@pytest.mark.usefixtures("lab")
def test_status_shows_nodes_on_one_line_each(netlab: Shell) -> None:
    done = netlab("status")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["NODE", "STATE", "FOR", "IMAGE", "PID", "ADDRESSES", "REASON"]
    assert lines[1].split()[:2] == ["r1", "ready"]
    assert "172.16.0.1" in lines[1]
    assert lines[6].endswith("agent silent, last line \\x1b[31mpanic")
    assert len(lines) == 7
    assert "there is no /dev/kvm" in done.stderr


@pytest.mark.usefixtures("lab")
def test_status_as_json_is_what_the_lab_says(netlab: Shell) -> None:
    status = json.loads(netlab("status", "--name", "ring", "-f", "json").stdout)
    assert status["lab"] == "ring"
    assert [node["name"] for node in status["nodes"]] == ["r1", "r2", "r3", "r4", "r5", "r6"]


@pytest.mark.usefixtures("lab")
def test_status_wide_shows_interfaces(netlab: Shell) -> None:
    lines = netlab("status", "--wide").stdout.splitlines()
    assert lines[1].split()[:2] == ["r1", "eth1"]
    assert len(lines) == 15


@pytest.mark.usefixtures("lab")
def test_a_lab_is_known_by_its_name_where_no_file_is_called_so(
    netlab: Shell,
) -> None:
    said = json.loads(netlab("status", "ring", "-f", "json").stdout)
    assert said == json.loads(netlab("status", "--name", "ring", "-f", "json").stdout)
    assert netlab("down", "ring", "--dry-run").stderr == "ring: would be taken down\n"
    unknown = netlab("down", "star")
    assert (unknown.returncode, unknown.stderr) == (2, "star: there is no such file\n")
    (netlab.folder / "ring").write_text("name: other\nnodes: {a: {}}\n")
    assert "lab other is not up" in netlab("status", "ring").stderr


def test_status_of_all_shows_dead_labs_with_the_reason(
    netlab: Shell, lab: FakeLab, second_lab: FakeLab
) -> None:
    del lab
    second_lab.end()
    labs = json.loads(netlab("status", "--all", "-f", "json").stdout)
    assert [(each["lab"], each["state"]) for each in labs] == [
        ("other", "died"),
        ("ring", "starting"),
    ]
    assert "was killed" in labs[0]["reason"]
    assert "was killed" in netlab("status", "-a").stdout


def test_status_of_a_lab_that_is_not_up_says_so(netlab: Shell) -> None:
    done = netlab("status", "--name", "ring")
    assert (done.returncode, done.stdout) == (2, "")
    assert "lab ring is not up" in done.stderr


def test_with_no_lab_status_is_empty_and_fine(netlab: Shell) -> None:
    done = netlab("status")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no lab is up\n")
    assert json.loads(netlab("status", "--all", "-f", "json").stdout) == []


def test_down_ends_the_lab(netlab: Shell, lab: FakeLab) -> None:
    done = netlab("down")
    assert (done.returncode, done.stdout) == (0, "")
    assert lab.went_down.is_set()
    assert "ring: down" in done.stderr


def test_down_of_what_is_not_up_is_fine(netlab: Shell) -> None:
    assert netlab("down").returncode == 0
    done = netlab("down", "--name", "ring")
    assert (done.returncode, done.stderr) == (0, "ring: is not up\n")
    assert list((netlab.folder / "run").iterdir()) == []


def test_down_clears_what_a_dead_lab_left(netlab: Shell, lab: FakeLab) -> None:
    lab.end()
    done = netlab("destroy")
    assert (done.returncode, done.stderr) == (0, "ring: was not up; what it left is cleared\n")
    assert not lab.state.exists()


def test_down_of_all_asks_unless_told_not_to(
    netlab: Shell, lab: FakeLab, second_lab: FakeLab
) -> None:
    done = netlab("down", "--all")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert netlab("down").returncode == 2
    assert not lab.went_down.is_set()
    assert netlab("down", "--all", "--yes").returncode == 0
    assert lab.went_down.is_set()
    assert second_lab.went_down.is_set()


def test_a_dry_run_of_down_ends_nothing(netlab: Shell, lab: FakeLab) -> None:
    done = netlab("down", "--all", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "ring: would be taken down\n")
    assert not lab.went_down.is_set()


@pytest.mark.usefixtures("lab")
def test_events_are_lines_for_people_or_json(netlab: Shell) -> None:
    lines = netlab("events", TZ="UTC").stdout.splitlines()
    assert lines[1] == "00:00:03.250  r1           ready        ready"
    for words in (["events"], ["events", "--follow"]):
        found = [json.loads(line) for line in netlab(*words, "-f", "json").stdout.splitlines()]
        assert [event["state"] for event in found] == ["starting", "ready"]


def test_events_of_a_dead_lab_can_be_read_with_a_torn_last_line(
    netlab: Shell, lab: FakeLab
) -> None:
    lab.end()
    with (lab.state / "events.jsonl").open("a") as log:
        log.write('{"time": 4')
    done = netlab("events", "--name", "ring")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    assert "a broken line" in done.stderr


def test_events_of_no_lab_is_exit_code_2(netlab: Shell) -> None:
    assert netlab("events").returncode == 2
    assert netlab("events", "--name", "nothing").returncode == 2


@pytest.mark.usefixtures("lab")
def test_logs_are_a_nodes_console_or_the_labs_own(netlab: Shell) -> None:
    assert netlab("logs").stdout == "the lab's log\n"
    assert netlab("logs", "r1", "--kind", "qemu").returncode == 2
    assert netlab("logs", "--kind", "qemu").returncode == 2
    assert netlab("logs", "r1", "--kind", "lab").returncode == 2


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "one\ntwo\n\udcffthree\n"),
        (["--tail", "2"], "two\n\udcffthree\n"),
        (["--tail", "0"], ""),
        (["--tail", "1", "--follow"], "\udcffthree\nfour\n"),
    ],
)
def test_a_log_is_printed_as_it_is(netlab: Shell, words: list[str], expected: str) -> None:
    assert netlab("logs", "r1", *words).stdout == expected


@pytest.mark.usefixtures("lab")
def test_the_console_of_an_unknown_node_is_refused(netlab: Shell) -> None:
    assert netlab("console", "r7").returncode == 2


def test_following_ends_with_a_lab_that_ends_in_the_middle_of_a_line(
    netlab: Shell, lab: FakeLab
) -> None:
    with (lab.state / "events.jsonl").open("a") as log:
        log.write('{"time": 4')
    done = netlab("events", "--follow")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.usefixtures("lab")
def test_a_reader_that_leaves_ends_exec_as_it_ends_any_program(netlab: Shell) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as output:
        done = subprocess.run(
            [NETLAB, "exec", "r1", "--", "both"],
            stdout=output,
            stderr=subprocess.PIPE,
            env=netlab.environment(),
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, b"")
