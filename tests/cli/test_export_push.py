"""`netlab export --to`: machines on a host of Proxmox, all of them or none."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from tests.cli.conftest import NETLAB, Here
from tests.cli.screens import read_screen
from tests.proxmox.facts import complain
from tests.proxmox.serving import Serving, serve

TOPOLOGY = """\
name: pair
defaults: {image: none, arch: x86_64, configure: false}
nodes:
  a: {id: 1, disk: {file: a.raw, format: raw}}
  b: {id: 2, disk: {file: b.raw, format: raw}, vlans: [7]}
links:
  - {endpoints: [a:up, b:down], mtu: 9000}
"""
SIZES = {"a": 1 << 20, "b": 4 << 20}


@pytest.fixture
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serve(tmp_path_factory.mktemp("certificate")) as host:
        host.inside.add_vm(5000, "theirs", config={"tags": "production"})
        yield host


@pytest.fixture
def pair(here: Here) -> Here:
    """A folder with a topology of two nodes that need no image."""
    (here.folder / "pair.yaml").write_text(TOPOLOGY)
    for name, size in SIZES.items():
        (here.folder / f"{name}.raw").write_bytes(os.urandom(size))
    return here


def words(serving: Serving, *more: str) -> list[str]:
    host = serving.host
    where = ["--to", host.address, "--node", "pve1", "--fingerprint", str(host.fingerprint)]
    return ["export", "--image", "pair.yaml", "--lab", "--map", "a:up--b:down=wire", *where, *more]


def push(shell: Here, serving: Serving, *more: str) -> subprocess.CompletedProcess[str]:
    return shell(*words(serving, *more), NETLAB_PROXMOX_TOKEN=serving.host.token)


def assert_nothing_is_left(serving: Serving) -> None:
    inside = serving.inside
    assert serving.tags() == {5000: "production"}
    assert not inside.storages["local"].get("volumes")
    assert not inside.storages["local-lvm"].get("volumes")
    assert inside.sdn == inside.pending == {"zones": {}, "vnets": {}}
    assert inside.lock == ""


def test_two_nodes_are_machines_on_their_networks(pair: Here, serving: Serving) -> None:
    done = push(pair, serving, "--vmid", "200", "--start", "--notes", "mine", "-f", "json")
    assert (done.returncode, done.stderr) == (0, "")
    *steps, last = map(json.loads, done.stdout.splitlines())
    assert last["event"] == "done"
    assert last["machines"] == [{"node": "a", "vmid": 200}, {"node": "b", "vmid": 201}]
    assert (last["networks"], last["left"]) == (["wire"], [])
    sent = [one for one in steps if one["about"] == "upload virtio0 of 201 (b)"]
    assert 0 < sent[-1]["done"] == sent[-1]["total"]
    inside = serving.inside
    machines = {one.name: one for one in inside.vms if one.vmid != 5000}
    assert {name: one.status for name, one in machines.items()} == {"a": "running", "b": "running"}
    assert machines["a"].config["net0"].endswith("bridge=wire,mtu=9000")
    assert machines["b"].config["net0"].endswith("bridge=vmbr0,tag=7")
    assert machines["b"].config["net1"].endswith("bridge=wire,mtu=9000")
    assert machines["b"].config["tags"] == "lab-pair;netlab"
    assert machines["b"].config["description"] == "mine"
    assert inside.sdn["zones"]["netlab"]["mtu"] == 9000
    assert content(pair.folder, inside, "netlab-201-virtio0.qcow2") == read(pair.folder / "b.raw")
    assert not inside.storages["local"]["volumes"]


def content(folder: Path, inside: Any, upload: str) -> bytes:
    flat, raw = folder / "flat.qcow2", folder / "flat.raw"
    flat.write_bytes(inside.contents[upload])
    command = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(flat), str(raw)]
    subprocess.run(command, check=True)
    return raw.read_bytes()


def read(path: Path) -> bytes:
    return path.read_bytes()


def test_a_dry_run_prints_the_calls_of_a_push_and_makes_none(pair: Here, serving: Serving) -> None:
    # Without a token: there is nobody to show it to.
    table = pair(*words(serving, "--dry-run", "--start"))
    programs = pair(*words(serving, "--dry-run", "--start", "-f", "json"))
    assert (table.returncode, programs.returncode) == (0, 0)
    assert serving.calls() == []
    planned = json.loads(programs.stdout)
    assert (planned["left_out"], table.stderr) == ([], "")
    calls = planned["calls"]
    assert {one["about"]: complaints(one) for one in calls if complaints(one)} == {}
    shown = [tuple(line.split()[:2]) for line in table.stdout.splitlines()]
    wanted = [(one["method"], one["path"]) for one in calls]
    assert wanted == shown
    assert push(pair, serving, "--start").returncode == 0
    assert [path.replace("%3A", ":").replace("%2F", "/") for _, path in wanted] == [
        path.replace("%3A", ":").replace("%2F", "/") for _, path in serving.calls()
    ]


def complaints(call: dict[str, Any]) -> dict[str, str]:
    parameters = {**call["parameters"], **({"lock-token": "a"} if call["locked"] else {})}
    if "checksum" in parameters:
        parameters["checksum"] = "0" * 64
    path = call["path"].removeprefix("/api2/json").replace("%3A", ":").replace("%2F", "_")
    return complain(call["method"], path, parameters)


def test_a_failure_at_the_second_machine_takes_the_first_back(pair: Here, serving: Serving) -> None:
    # Room for one of them.
    serving.inside.storages["local-lvm"]["avail"] = 2 * SIZES["a"]
    done = push(pair, serving)
    assert done.returncode == 4
    assert "cannot create the machine 1002 (b): " in done.stderr
    assert "could not be taken back" not in done.stderr
    assert ("POST", "/api2/json/nodes/pve1/qemu") in serving.calls()
    assert_nothing_is_left(serving)


def test_a_task_that_fails_shows_its_log(pair: Here, serving: Serving) -> None:
    serving.inside.apply_error = "ifreload failed"
    done = push(pair, serving)
    assert done.returncode == 4
    message = "netlab: cannot put the networks to work: ifreload failed\n"
    # The reason is at the log's end, too, and said once; what is next could not be taken back.
    assert f"{message}\n    starting to reload the network\n    could not be" in done.stderr
    assert "TASK ERROR" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interruption_takes_everything_back(
    number: signal.Signals, pair: Here, serving: Serving
) -> None:
    temporary = pair.folder / "tmp"
    temporary.mkdir()
    # The interruption meets a task that runs, however slow we are.
    serving.inside.time_scale, serving.inside.busy_with = 1, 1002
    environment = pair.shell.environment(
        NETLAB_PROXMOX_TOKEN=serving.host.token, TMPDIR=str(temporary)
    )
    with subprocess.Popen(
        [NETLAB, *words(serving)],
        cwd=pair.folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        upload = ("POST", "/api2/json/nodes/pve1/storage/local/upload")
        while serving.calls().count(upload) < 2 and process.poll() is None:
            time.sleep(0.01)
        assert list(temporary.iterdir())
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.endswith("netlab: interrupted\n")
    assert serving.calls().count(upload) == 2
    assert_nothing_is_left(serving)
    assert list(temporary.iterdir()) == []


def test_a_token_that_is_not_known_there_is_told_and_nothing_is_done(
    pair: Here, serving: Serving
) -> None:
    token = pair.folder / "token"
    token.write_text("netlab@pve!lab=wrong\n")
    done = pair(*words(serving, "--token-file", str(token)))
    assert done.returncode == 4
    assert "the token is not known there" in done.stderr
    assert "wrong" not in done.stderr
    assert_nothing_is_left(serving)


@pytest.mark.parametrize("fingerprint", ["0" * 64, None], ids=["another one", "none"])
def test_a_host_that_nobody_vouches_for_is_told_nothing(
    fingerprint: str | None, pair: Here, serving: Serving
) -> None:
    given = words(serving)
    place = given.index("--fingerprint")
    given[place : place + 2] = ["--fingerprint", fingerprint] if fingerprint else []
    done = pair(*given, NETLAB_PROXMOX_TOKEN=serving.host.token)
    assert done.returncode == 4
    assert "certificate" in done.stderr
    assert serving.calls() == []


def test_numbers_that_are_taken_are_told_before_anything_is_done(
    pair: Here, serving: Serving
) -> None:
    done = push(pair, serving, "--vmid", "4999")
    assert done.returncode == 4
    assert "cannot look whether 5000 is free" in done.stderr
    assert "--vmid" in done.stderr
    assert all(method == "GET" for method, _ in serving.calls())


def test_what_the_api_would_not_take_is_refused_before_the_first_call(
    pair: Here, serving: Serving
) -> None:
    done = push(pair, serving, "--import-storage", "a/b", "--storage", "c/d", "--vmid", "7")
    assert done.returncode == 2
    assert "vmid: '7' is not possible" in done.stderr
    assert "storage: 'c/d' is not possible" in done.stderr
    done = push(pair, serving, "--import-storage", "a/b")
    assert done.returncode == 2
    assert "push: import-storage: 'a/b' is not possible" in done.stderr
    assert serving.calls() == []


def write(pair: Here, **settings: Any) -> None:
    """Let the node b have more settings."""
    node = {"id": 2, "disk": {"file": "b.raw", "format": "raw"}, **settings}
    machine = {"image": "none", "arch": "x86_64", "configure": False}
    nodes = {"a": {"id": 1, "disk": {"file": "a.raw", "format": "raw"}}, "b": node}
    topology = {"name": "pair", "defaults": machine, "nodes": nodes, "links": ["a:up -- b:down"]}
    (pair.folder / "pair.yaml").write_text(json.dumps(topology))


@pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=["push", "dry run"])
def test_arguments_of_qemu_are_refused_before_the_first_call(
    more: tuple[str, ...], pair: Here, serving: Serving
) -> None:
    write(pair, qemu_args=["-no-reboot"], disks=[{"size": 1, "bus": "nvme"}])
    done = push(pair, serving, *more)
    assert "Proxmox has no disks on nvme" in done.stderr
    write(pair, qemu_args=["-no-reboot"])
    done = push(pair, serving, "--vmid", "7", *more)
    assert (done.returncode, done.stdout) == (2, "")
    assert "b: qemu_args: they cannot be given by an API token, only by root (leave" in done.stderr
    # All that is wrong is told at once.
    assert "a: vmid: '7' is not possible" in done.stderr
    assert serving.calls() == []


def test_an_archive_is_without_arguments_of_qemu_and_that_is_said(pair: Here) -> None:
    write(pair, qemu_args=["-no-reboot"])
    done = pair("export", "--image", "pair.yaml#b", "-o", "dump")
    assert done.returncode == 0
    assert "b: qemu_args are left out" in done.stderr


def test_what_is_left_out_is_told_before_the_first_call(pair: Here, serving: Serving) -> None:
    # A volume descriptor is what makes it one (ECMA-119).
    (pair.folder / "disc.iso").write_bytes(bytes(1 << 15) + b"\1CD001\1".ljust(1 << 15, b"\0"))
    write(pair, cdroms=[{"file": "disc.iso"}], credentials={"key": "secret"})
    lines = [
        "b: cdroms are left out: upload the images there, and give it a drive",
        "b: credentials are left out: no secret goes into a backup by itself",
    ]
    table = pair(*words(serving, "--dry-run"))
    assert table.stderr.splitlines() == lines
    programs = pair(*words(serving, "--dry-run", "-f", "json"))
    assert json.loads(programs.stdout)["left_out"] == lines
    assert serving.calls() == []
    said = push(pair, serving).stderr.splitlines()
    assert said[:3] == [*lines, "look whether 1001 is free"]
    assert [said.count(line) for line in lines] == [1, 1]
    done = push(pair, serving, "--vmid", "200", "-f", "json")
    assert (done.returncode, done.stderr) == (0, "")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert told[:2] == [{"event": "left_out", "line": line} for line in lines]
    assert (told[2]["event"], told[-1]["left_out"]) == ("progress", lines)


@pytest.mark.parametrize(("size", "kind"), [(131_072, "2m"), (540_672, "4m")])
def test_a_dry_run_says_of_the_variables_what_a_push_does(
    size: int, kind: str, pair: Here, serving: Serving
) -> None:
    (pair.folder / "vars.fd").write_bytes(os.urandom(size))
    write(pair, firmware={"vars": "vars.fd"})
    planned = pair(*words(serving, "--dry-run", "-f", "json"))
    calls = json.loads(planned.stdout)["calls"]
    (create,) = (one for one in calls if one["about"].startswith("create the machine 1002"))
    assert f"efitype={kind}" in create["parameters"]["efidisk0"]
    assert push(pair, serving).returncode == 0
    assert create["parameters"] == sent_to_create(serving)[1002]


def sent_to_create(serving: Serving) -> dict[int, dict[str, str]]:
    """Return what the calls that made machines said, by number."""
    bodies = [
        dict(parse_qsl(body.decode(), keep_blank_values=True))
        for method, path, body in serving.inside.requests
        if (method, path) == ("POST", "/api2/json/nodes/pve1/qemu")
    ]
    return {int(body["vmid"]): body for body in bodies}


@pytest.mark.parametrize("kind", ["archive", "push"])
def test_a_terminal_shows_of_which_node_bytes_rate_and_time_left_are(
    kind: str, pair: Here, serving: Serving
) -> None:
    given = ["export", "--image", "pair.yaml", "--lab", "-o", "dump"]
    given = given if kind == "archive" else words(serving, "--start")
    environment = pair.shell.environment(NETLAB_PROXMOX_TOKEN=serving.host.token, TERM="xterm")
    reader, terminal = os.openpty()
    with subprocess.Popen(
        [NETLAB, *given], cwd=pair.folder, env=environment, stderr=terminal
    ) as process:
        os.close(terminal)
        shown = re.sub("\x1b[^a-zA-Z]*[a-zA-Z]", "", read_screen(reader))
    assert process.returncode == 0, shown
    # What is there when a bar goes is always drawn.
    if kind == "archive":
        assert re.search(r"4\.\d/4\.\d MiB.*(\?|B/s).*(-:--:--|0:00:00) export b", shown)
    else:
        assert re.search(r"start the machine 1002 \(b\) *\r?\n", shown)
        assert "0/?" not in shown
