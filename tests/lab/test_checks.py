"""`netlab test` on real guests: every kind of check passes and fails, and all of it is told."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.lab.conftest import TOPOLOGIES, Home

pytestmark = pytest.mark.machines

CHECKS = r"""
name: checked
nodes: {a: {id: 1}, b: {id: 2}}
links: [a -- b]
checks:
  - {name: ping passes, ping: {from: a, to: [b, 10.0.0.1], count: 2}}
  - {name: ping fails, ping: {from: all, to: 192.0.2.1, count: 1, loss: 50%}}
  - {name: reachable passes, reachable: all}
  - {name: reachable by address, reachable: {from: a, to: "2001:db8:8000::1"}}
  - {name: reachable fails, reachable: {from: a, to: [b, 192.0.2.1], within: 1500ms}}
  - {name: unreachable passes, unreachable: {from: [a, b], to: 192.0.2.1}}
  - {name: unreachable fails, unreachable: [a, b]}
  - {name: unreachable is no success without a name, unreachable: {from: a, to: no.such.name}}
  - {name: command passes, command: {node: all, run: "echo one; exit 3", status: 3, output: one}}
  - {name: no shell, command: {node: b, run: [echo, "$HOME  x"], matches: "^.HOME  x$"}}
  - {name: becomes so, command: {node: a, run: "echo >>/n; wc -l </n", output: "4", within: 20s}}
  - {name: status fails, command: {node: a, run: "echo wrong >&2; false"}}
  - name: output fails
    command: {node: a, run: "printf '<script>alert(1)</script>\\033[31m'", output: x}
  - {name: match fails, command: {node: a, run: hostname, matches: "^b$", within: 300ms}}
  - {name: no such program, command: {node: a, run: [no-such-program]}}
  - {name: converged passes, converged: {within: 20s}}
  - {name: a goes away, command: {node: a, run: ip link set eth1 down}}
  - {name: unreachable now, unreachable: all}
  - {name: converged fails, converged: {within: 2s}}
"""

FAILED = {
    "ping fails": r"100% of a's pings to 192\.0\.2\.1 were lost, more than 50%: .* \(and 1 more\)",
    "reachable fails": r"not all is reachable within 1\.5 s: a does not reach 192\.0\.2\.1",
    "unreachable fails": r"a reaches b \(and 1 more\)",
    "unreachable is no success without a name": r"a cannot ping no\.such\.name: ",
    "status fails": r"a: `echo wrong >&2; false` ended with status 1, not 0: wrong",
    "output fails": r'printed "<script>alert\(1\)</script>.*", not "x"',
    "match fails": r'within 0\.3 s: a: `hostname` printed nothing that matches "\^b\$"',
    "no such program": r"a: `no-such-program` could not be run: ",
    "converged fails": r"not all is reachable within 2 s: a (does not reach|cannot ping) b",
}


def test_every_kind_of_check_passes_and_fails_on_real_guests(home: Home, tmp_path: Path) -> None:
    (tmp_path / "checked.yaml").write_text(CHECKS)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_beside.py").write_text("def test_beside(): pass\n")
    done = home.run(
        "test", str(tmp_path / "checked.yaml"),
        "--junit", str(tmp_path / "out/junit.xml"),
        "--report", str(tmp_path / "out/page.html"),
        "--artifacts", str(tmp_path / "out/evidence"),
        status=1,
    )  # fmt: skip
    assert "a: ready" in done.stderr
    names = re.findall(r"- \{?name: ([^,\n]+)", CHECKS)
    shown = re.findall(r"^(passed|FAILED) +[0-9.]+ m?s  (.*)$", done.stdout, re.MULTILINE)
    assert [name for _, name in shown] == [*names, "tests/test_beside.py::test_beside"]
    assert {name for word, name in shown if word == "FAILED"} == set(FAILED)
    assert f"{tmp_path}/checked.yaml:7: " in done.stdout
    assert re.search(r"^checked: 11 passed, 9 failed in ", done.stdout, re.MULTILINE)
    assert "\x1b" not in done.stdout
    root = ElementTree.parse(tmp_path / "out/junit.xml").getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("20", "9", "0")
    for case in root.iter("testcase"):
        name = case.get("name", "")
        failure = case.find("failure")
        assert (failure is not None) == (name in FAILED), name
        if failure is not None:
            assert re.search(FAILED[name], failure.get("message", "")), failure.get("message")
    by_name = {case.get("name"): float(case.get("time", "")) for case in root.iter("testcase")}
    assert by_name["reachable fails"] >= 1.4
    assert by_name["ping passes"] >= 1.0
    page = (tmp_path / "out/page.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert 'href="./evidence/status-fails/failure.txt"' in page
    kept = {path.name for path in (tmp_path / "out/evidence").iterdir()}
    assert kept == {re.sub("[^a-z]+", "-", name) for name in FAILED}
    assert "wrong" in (tmp_path / "out/evidence/status-fails/failure.txt").read_text()


DYING = """
name: dying
nodes: {a: {id: 1}}
checks:
  - name: it dies
    command:
      node: a
      run: "(until ps | grep -q 'sleep 3[0]'; do sleep 0.1; done; poweroff -f) >/dev/null 2>&1 &"
  - {name: while it dies, command: {node: a, run: sleep 30}}
  - {name: after it died, command: {node: a, run: "true"}}
"""


def test_a_machine_that_dies_is_an_error_and_the_rest_is_looked_at(
    home: Home, tmp_path: Path
) -> None:
    (tmp_path / "dying.yaml").write_text(DYING)
    done = home.run("test", str(tmp_path / "dying.yaml"), "-f", "json", status=4)
    results = json.loads(done.stdout)["results"]
    assert [result["verdict"] for result in results] == ["passed", "error", "error"]
    assert "QEMU exited with status 0" in results[1]["message"]
    assert re.search("a is stopped|QEMU exited", results[2]["message"])


def test_ctrl_c_takes_the_lab_down_and_says_what_was_under_way(home: Home, tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_text(
        "name: long\nnodes: {a: {id: 1}}\nchecks:\n"
        "  - {name: first, command: {node: a, run: 'true'}}\n"
        "  - {name: second, command: {node: a, run: 'echo under way >/dev/console; sleep 50'}}\n"
        "  - {name: third, command: {node: a, run: 'true'}}\n"
    )
    junit, page = tmp_path / "junit.xml", tmp_path / "page.html"
    home.environment["TMPDIR"] = str(tmp_path)
    running = home.start(
        "test", str(tmp_path / "long.yaml"), "--junit", str(junit), "--report", str(page),
        start_new_session=True,
    )  # fmt: skip
    assert running.stdout is not None
    assert "first" in running.stdout.readline()
    # The second check says on the console that it is under way.
    while not any(b"under way" in log.read_bytes() for log in tmp_path.rglob("console.log")):
        assert running.poll() is None
    os.killpg(running.pid, signal.SIGINT)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 130, stderr
    assert "netlab: interrupted: second" in stderr
    assert "Traceback" not in stderr
    assert re.search(r"1 passed, 1 interrupted, 1 skipped in .*, interrupted", stdout)
    assert home.processes() == set()
    root = ElementTree.parse(junit).getroot()
    tags = {case.get("name"): [one.tag for one in case] for case in root.iter("testcase")}
    assert tags == {"first": [], "second": ["error"], "third": ["skipped"]}
    assert "Interrupted while this was under way: second" in page.read_text()


def test_a_lab_that_does_not_start_is_in_the_reports(home: Home, pair: Path) -> None:
    pair.write_text(pair.read_text() + "checks: [reachable: all]\n")
    junit = pair.with_name("junit.xml")
    done = home.run("test", str(pair), "--timeout", "0.5", "--junit", str(junit), status=4)
    assert "2 of 2 nodes are not ready after 0.5 s" in done.stderr
    root = ElementTree.parse(junit).getroot()
    tags = {case.get("name"): [one.tag for one in case] for case in root.iter("testcase")}
    assert tags == {"the start of lab pair": ["error"], "all nodes reach each other": ["skipped"]}


def test_a_lab_that_is_up_is_joined_when_only_its_checks_changed(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    pair.write_text(pair.read_text() + "checks: [reachable: all]\n")
    assert "is up already" in home.run("up", str(pair)).stderr


def test_the_checks_of_the_first_page_pass(home: Home) -> None:
    home.run("test", str(TOPOLOGIES / "ring.yaml"), "--no-python")


def test_the_evidence_of_a_python_test_is_linked_in_the_report(home: Home, pair: Path) -> None:
    (pair.parent / "tests").mkdir()
    (pair.parent / "tests/test_pair.py").write_text(
        "async def test_red(lab):\n    await lab['a'].succeed('exit 3')\n"
    )
    page = pair.parent / "page.html"
    artifacts = pair.parent / "kept"
    words = ("--report", str(page), "--artifacts", str(artifacts))
    done = home.run("test", str(pair), *words, status=1)
    assert "a: `exit 3` exited with status 3" in done.stdout
    (folder,) = artifacts.iterdir()
    assert (folder / "nodes/a/guest.txt").is_file()
    assert f'href="./kept/{folder.name}/summary.txt"' in page.read_text()
