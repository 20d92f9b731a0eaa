"""`netlab test --script` with the real command on real guests."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.lab.conftest import Home

pytestmark = pytest.mark.machines

FINE = """\
with subtest("names"):
    assert a.succeed("hostname") == "a\\n"
for _ in range(2):
    with subtest("the other answers"):
        a.wait_until_succeeds("ping -c1 b")
log.info("told \\x1b[31m red")
b.succeed("echo saved >/tmp/saved")
b.copy_from_machine("/tmp/saved")
"""
BROKEN = """\
with subtest("works"):
    pass
with subtest("breaks"):
    a.succeed("printf 'no \\\\033[31m such thing' >&2; exit 3")
"""


def test_a_script_is_run_and_reported(home: Home, pair: Path, tmp_path: Path) -> None:
    script, junit, page = (tmp_path / name for name in ("fine.py", "junit.xml", "page.html"))
    script.write_text(FINE)
    done = home.run(
        "test", str(pair), "--script", str(script), "--junit", str(junit), "--report", str(page),
        "--artifacts", str(tmp_path / "out"),
    )  # fmt: skip
    assert "told \\x1b[31m red" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    shown = [line.split(maxsplit=3) for line in done.stdout.splitlines() if line[:6] == "passed"]
    titles = ["names", "the other answers", "the other answers (2)", str(script)]
    assert [words[3] for words in shown] == titles
    cases = ElementTree.parse(junit).getroot().iter("testcase")
    assert [(case.get("name"), len(case)) for case in cases] == [(title, 0) for title in titles]
    assert "the other answers (2)" in page.read_text()
    assert (tmp_path / "out/saved").read_text() == "saved\n"


def test_a_script_that_fails_says_where_and_returns_its_code(
    home: Home, pair: Path, tmp_path: Path
) -> None:
    script, junit = tmp_path / "broken.py", tmp_path / "junit.xml"
    script.write_text(BROKEN)
    done = home.run("test", str(pair), "--script", str(script), "--junit", str(junit), status=1)
    assert f"{script}:4: a: `printf" in done.stdout
    assert "no \\x1b[31m such thing" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "1 passed, 2 failed" in done.stdout
    cases = ElementTree.parse(junit).getroot().iter("testcase")
    tags = {case.get("name"): [one.tag for one in case] for case in cases}
    assert tags == {"works": [], "breaks": ["failure"], str(script): ["failure"]}
    script.write_text("a.wait_for_x()\n")
    refused = home.run("test", str(pair), "--script", str(script), "-f", "json", status=2)
    (result,) = json.loads(refused.stdout)["results"]
    assert (result["verdict"], result["kind"], result["line"]) == ("error", "script", 1)


def test_a_script_that_is_interrupted_is_told_and_leaves_nothing(
    home: Home, pair: Path, tmp_path: Path
) -> None:
    script, junit = tmp_path / "long.py", tmp_path / "junit.xml"
    script.write_text("log.info('it waits')\na.wait_for_console_text('nothing such')\n")
    running = home.start("test", str(pair), "--script", str(script), "--junit", str(junit))
    assert running.stdout is not None
    while "it waits" not in running.stdout.readline():
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130, told
    assert f"interrupted: {script}" in told
    (case,) = ElementTree.parse(junit).getroot().iter("testcase")
    assert (case.get("name"), [one.tag for one in case]) == (str(script), ["error"])


def test_a_script_ends_when_its_nodes_do_not_become_ready_in_time(
    home: Home, pair: Path, tmp_path: Path
) -> None:
    script = tmp_path / "early.py"
    script.write_text("log.info('it begins')\na.wait_for_console_text('nothing such')\n")
    done = home.run("test", str(pair), "--script", str(script), "--timeout", "0.5", status=4)
    assert "it begins" in done.stdout
    assert "2 of 2 nodes are not ready after 0.5 s" in done.stderr
    assert home.processes() == set()
