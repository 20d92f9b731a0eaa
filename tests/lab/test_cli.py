"""The main job as a user does it: the real command, real machines, nothing left."""

import json
import os
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.conftest import TOPOLOGIES, Home, wait_gone

pytestmark = pytest.mark.machines


@pytest.fixture
def _usual_limit() -> Iterator[None]:
    """Let programs begin with as few descriptors as a login session does (systemd's default)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("_usual_limit")
def test_a_lab_lives_from_up_to_down(home: Home, pair: Path) -> None:
    up = home.run("up", str(pair))
    assert "a" in up.stderr
    status = home.status("--name", "pair")
    assert {node["state"] for node in status["nodes"]} == {"ready"}
    assert " 0% packet loss" in home.run("exec", "a", "--", "ping", "-c1", "b").stdout
    apart = home.run("exec", "a", "--", "sh", "-c", "echo out; echo err >&2; exit 7", status=7)
    assert (apart.stdout, apart.stderr) == ("out\n", "err\n")
    assert "netlab: init" in home.run("logs", "a").stdout
    states = [
        json.loads(line)["state"]
        for line in home.run("events", "-f", "json").stdout.splitlines()
        if json.loads(line)["node"] == "a"
    ]
    assert states == ["booting", "configuring", "ready"]
    # As many descriptors as it may have: a node takes several.
    limits = resource.prlimit(status["pid"], resource.RLIMIT_NOFILE)
    assert limits[0] == limits[1]
    home.run("down", "-y")
    assert home.lab_folders() == []
    assert home.processes() == set()


def test_up_again_of_the_same_plan_changes_nothing(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    before = home.status("--name", "pair")
    home.run("up", str(pair))
    assert home.status("--name", "pair") == before


def test_up_of_another_plan_under_the_same_name_is_refused_with_what_differs(
    home: Home, pair: Path
) -> None:
    home.run("up", str(pair))
    pair.write_text(pair.read_text().replace("b: {id: 2}", "b: {id: 2, memory: 200}"))
    refused = home.run("up", str(pair), status=2)
    assert "lab pair is up from another plan" in refused.stderr
    assert "200" in refused.stderr
    assert {node["state"] for node in home.status("--name", "pair")["nodes"]} == {"ready"}


def test_a_lab_whose_plan_was_removed_is_told_so_and_can_be_taken_down(
    home: Home, pair: Path
) -> None:
    home.run("up", str(pair))
    (plan,) = home.folder.rglob("plan.json")
    plan.write_text("{}")
    damaged = home.run("exec", "--stream", "a", "--", "true", status=4)
    assert f"{plan}: this is not a plan: plan lacks" in damaged.stderr
    plan.unlink()
    for words in (
        ("exec", "--node-filter", "[a-b]", "--", "true"),
        ("exec", "--stream", "a", "--", "true"),
        ("cp", str(pair), "a:/tmp/x"),
        ("shell", "pair"),
        ("logs", "a"),
        ("up", str(pair)),
    ):
        told = home.run(*words, status=4).stderr
        assert told == (
            f"netlab: the plan of lab pair cannot be read: {plan}: No such file or directory\n"
            "  netlab down --name pair still takes it down; then netlab up starts it anew\n"
        ), words
    # Who does not need it is not disturbed.
    home.run("exec", "a", "--", "true")
    assert {node["state"] for node in home.status("--name", "pair")["nodes"]} == {"ready"}
    home.run("down", "--name", "pair", "-y")
    assert home.lab_folders() == []
    assert home.processes() == set()


def test_up_while_the_same_lab_starts_waits_for_it(home: Home, pair: Path) -> None:
    first, second = home.start("up", str(pair)), home.start("up", str(pair))
    told = [process.communicate(timeout=120)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), told
    assert sum("pair is up already" in each for each in told) == 1
    home.run("exec", "pair/a", "--", "true")


def test_up_that_waits_for_a_start_that_fails_is_told_how(home: Home, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: broken\nnodes: {a: {id: 1, run: ['sleep 2; false']}}\n")
    first, second = home.start("up", str(broken)), home.start("up", str(broken))
    told = [process.communicate(timeout=120)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (4, 4), told
    assert all("exited with status 1" in each for each in told), told


def test_a_lab_that_starts_can_be_asked_and_taken_down(home: Home, pair: Path) -> None:
    starting = home.start("up", str(pair))
    assert starting.stderr is not None
    starting.stderr.readline()
    status = home.status("--name", "pair")
    assert status["state"] == "starting"
    assert {node["name"] for node in status["nodes"]} == {"a", "b"}
    early = home.run("exec", "pair/a", "--", "true", status=4)
    assert "is starting" in early.stderr or "a is" in early.stderr
    home.run("down", "--name", "pair", "-y")
    starting.communicate(timeout=60)
    assert starting.returncode == 4
    assert home.processes() == set()


def test_down_of_what_is_not_there_is_fine(home: Home) -> None:
    home.run("down", "--name", "nothing", "-y")


def test_two_labs_of_the_same_file_live_side_by_side(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    home.run("up", str(pair), "--name", "twin")
    for lab in ("pair", "twin"):
        home.run("exec", f"{lab}/a", "--", "ip", "link", "set", "eth1", "alias", lab)
    for lab in ("pair", "twin"):
        assert f"alias {lab}" in home.run("exec", f"{lab}/a", "--", "ip", "link").stdout
    one, two = (home.status("--name", lab)["nodes"][0]["interfaces"] for lab in ("pair", "twin"))
    assert one[0]["addresses"] == two[0]["addresses"]
    assert one[0]["mac"] != two[0]["mac"]
    home.run("down", "--name", "twin", "-y")
    home.run("exec", "pair/a", "--", "ping", "-c1", "b")


def test_explicit_names_and_vlans_can_be_mixed(home: Home) -> None:
    home.run("up", str(TOPOLOGIES / "dmz.yaml"))
    shown = json.loads(home.run("exec", "fw", "--", "ip", "-j", "addr").stdout)
    found = {
        link["ifname"]: {each["local"] for each in link["addr_info"] if each["scope"] == "global"}
        for link in shown
        if link["ifname"] != "lo"
    }
    assert found["inside"] == {"192.168.2.254", "2001:db8:2::fe"}
    assert set(found) == {"outside", "inside"}
    web = json.loads(home.run("exec", "web", "--", "ip", "-j", "link").stdout)
    assert {link["ifname"] for link in web} == {"lo", "eth1", "eth2"}
    home.run("exec", "web", "--", "ping", "-c1", "192.168.2.254")


def test_ctrl_c_while_it_starts_takes_everything_back(home: Home, pair: Path) -> None:
    starting = home.start("up", str(pair), start_new_session=True)
    assert starting.stderr is not None
    for line in starting.stderr:
        if "QEMU runs" in line or "booting" in line:
            break
    os.killpg(starting.pid, signal.SIGINT)
    starting.communicate(timeout=60)
    assert starting.returncode == 130
    assert home.processes() == set()
    assert home.lab_folders() == []


def test_the_death_of_the_starting_command_takes_everything_back(home: Home, pair: Path) -> None:
    starting = home.start("up", str(pair))
    assert starting.stderr is not None
    for line in starting.stderr:
        if "QEMU runs" in line or "booting" in line:
            break
    starting.kill()
    starting.communicate(timeout=60)
    wait_gone(home.processes())
    assert home.processes() == set()
    assert home.lab_folders() == []


def test_a_node_that_fails_its_commands_is_told_with_its_output(home: Home, tmp_path: Path) -> None:
    topology = tmp_path / "broken.yaml"
    topology.write_text("name: broken\nnodes: {a: {run: ['echo no such thing >&2; false']}}\n")
    failed = home.run("up", str(topology), status=4)
    assert "no such thing" in failed.stderr
    assert home.processes() == set()
    assert "netlab: init" in home.run("logs", "--name", "broken", "a").stdout


def test_a_deadline_says_what_each_node_was_waiting_for(home: Home, pair: Path) -> None:
    failed = home.run("up", str(pair), "--timeout", "1", status=4)
    assert "2 of 2 nodes are not ready after 1 s" in failed.stderr
    assert "a: " in failed.stderr
    assert home.processes() == set()


def test_more_memory_than_there_is_is_refused_before_anything_starts(
    home: Home, tmp_path: Path
) -> None:
    topology = tmp_path / "big.yaml"
    topology.write_text("name: big\ndefaults: {memory: 64 GiB}\nnodes: {'n[1-20]': {}}\n")
    refused = home.run("up", str(topology), status=3)
    assert "are available" in refused.stderr
    assert home.processes() == set()


def test_a_node_filter_starts_only_some_nodes(home: Home, pair: Path) -> None:
    home.run("up", str(pair), "--node-filter", "a")
    assert [node["name"] for node in home.status("--name", "pair")["nodes"]] == ["a"]


def test_a_dry_run_starts_nothing(home: Home, pair: Path) -> None:
    home.run("up", str(pair), "--dry-run")
    assert home.lab_folders() == []


def test_the_control_socket_is_for_our_eyes_only(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    control = home.folder / "run/netlab/pair/control"
    assert control.stat().st_mode & 0o777 == 0o600
    assert control.parent.stat().st_mode & 0o777 == 0o700


def test_nonsense_on_the_control_socket_does_not_disturb_the_lab(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    for request in (
        b"\x00\xff\xfe\r\n\r\n",
        b"POST /link HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]",
        b'POST /nodes/a/exec HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n{"argv": 1}',
        b"GET /nodes/..%2f..%2fetc/console HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(home.folder / "run/netlab/pair/control"))
            client.sendall(request)
            client.settimeout(5)
            assert b" 4" in client.recv(4096).split(b"\r\n")[0]
    home.run("exec", "a", "--", "true")
