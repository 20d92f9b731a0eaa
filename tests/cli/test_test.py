"""`netlab test` where no machine is needed: what it would run, and Python tests alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import NETLAB, Shell
from tests.cli.test_frame import on_terminal

PLAIN = "name: plain\nnodes: {a: {id: 1}, b: {id: 2}}\n"
CHECKED = (
    f"{PLAIN}checks:\n"
    "  - reachable: all\n"
    "  - {name: who is it, command: {node: a, run: hostname}}\n"
)


def write_tests(netlab: Shell, text: str, name: str = "test_plain.py") -> None:
    (netlab.folder / "plain.yaml").write_text(PLAIN)
    folder = netlab.folder / "tests"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def start(netlab: Shell, *words: str) -> subprocess.Popen[str]:
    """Start netlab so that it heeds Ctrl-C, and do not wait."""
    return subprocess.Popen(
        [NETLAB, *words],
        cwd=netlab.folder,
        env=netlab.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def read_cases(path: Path) -> dict[str, list[str]]:
    """Return the tags inside each case, by its name."""
    root = ElementTree.parse(path).getroot()
    return {case.get("name", ""): [one.tag for one in case] for case in root.iter("testcase")}


def test_a_list_says_what_would_be_run(netlab: Shell) -> None:
    write_tests(netlab, "def test_x(): pass\n")
    (netlab.folder / "plain.yaml").write_text(CHECKED)
    rows = json.loads(netlab("test", "plain.yaml", "--list", "-f", "json").stdout)
    assert [(row["name"], row["kind"]) for row in rows] == [
        ("all nodes reach each other", "reachable"),
        ("who is it", "command"),
        ("test_plain.py", "python"),
    ]
    assert [row["place"] for row in rows[:2]] == ["plain.yaml:4", "plain.yaml:5"]
    listed = netlab("test", "plain.yaml", "--list", "--only", "WHO")
    assert listed.stdout.splitlines()[1:] == ["who is it  command  plain.yaml:5"]
    assert "test_plain" not in netlab("test", "plain.yaml", "--list", "--no-python").stdout


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        (PLAIN, [], "plain.yaml: there is nothing to run"),
        (CHECKED, ["--only", "nothing"], "no check is called 'nothing'"),
        (CHECKED.replace("all", "[a, c]"), [], "plain.yaml:4:20: checks[0].reachable[1]: the node"),
        (CHECKED, ["--timeout", "inf"], "expected seconds"),
        (CHECKED, ["--junit", "plain.yaml/junit.xml"], "plain.yaml: cannot be made"),
    ],
)
def test_nothing_to_run_and_wrong_input_are_exit_code_2(
    netlab: Shell, text: str, words: list[str], message: str
) -> None:
    (netlab.folder / "plain.yaml").write_text(text)
    done = netlab("test", "plain.yaml", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("with:\n", [], "script.py:1:"),
        ("pass\n", ["--only", "all"], "--script runs a script alone"),
        (None, [], "script.py: No such file or directory"),
    ],
)
def test_a_script_that_is_none_starts_nothing(
    netlab: Shell, text: str | None, words: list[str], message: str
) -> None:
    (netlab.folder / "plain.yaml").write_text(CHECKED)
    if text is not None:
        (netlab.folder / "script.py").write_text(text)
    done = netlab("test", "plain.yaml", "--script", "script.py", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_script_stands_in_place_of_checks_and_tests(netlab: Shell) -> None:
    write_tests(netlab, "def test_x(): pass\n")
    (netlab.folder / "plain.yaml").write_text(CHECKED)
    (netlab.folder / "script.py").write_text("start_all()\n")
    listed = netlab("test", "plain.yaml", "--script", "script.py", "--list", "-f", "json")
    row = {"name": "script.py", "kind": "script", "place": "script.py"}
    assert json.loads(listed.stdout) == [row]


def test_validate_finds_the_mistakes_of_checks(netlab: Shell) -> None:
    (netlab.folder / "a.yaml").write_text(
        f"{PLAIN}checks:\n  - ping: {{from: a, to: b, cuont: 2}}\n"
    )
    done = netlab("validate", "a.yaml")
    assert done.returncode == 2
    assert 'a.yaml:4:28: checks[0].ping.cuont: unknown key "cuont"' in done.stderr


def test_python_tests_alone_are_run_and_reported(netlab: Shell) -> None:
    write_tests(
        netlab,
        "import pytest, time\n"
        "def test_passes(): time.sleep(0.3)\n"
        "class TestMore:\n"
        "    @pytest.mark.parametrize('x', ['a::b'])\n"
        "    def test_of_a_class(self, x): pass\n"
        "def test_skips(): pytest.skip('no need')\n",
    )
    done = netlab("test", "plain.yaml", "--junit", "new/junit.xml", "--report", "new/page.html")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines[:2]] == ["passed", "passed"]
    assert lines[0].endswith("tests/test_plain.py::test_passes")
    assert lines[1].endswith("tests/test_plain.py::TestMore::test_of_a_class[a::b]")
    assert "skipped" in lines[2]
    assert lines[-1].startswith("plain: 2 passed, 1 skipped in ")
    root = ElementTree.parse(netlab.folder / "new/junit.xml").getroot()
    assert [suite.get("name") for suite in root] == ["plain.tests"]
    case = root.find("testsuite/testcase[@name='test_passes']")
    assert case is not None
    assert (case.get("file"), case.get("line")) == ("tests/test_plain.py", "2")
    assert 0.3 <= float(case.get("time", "")) < 30
    assert "test_of_a_class" in (netlab.folder / "new/page.html").read_text()


def test_python_tests_that_fail_are_exit_code_1_and_say_why(netlab: Shell) -> None:
    write_tests(
        netlab,
        "import pytest\n"
        "def test_fails():\n    print('<script>said</script>')\n    assert 'one' == 'two'\n"
        "@pytest.fixture\n"
        "def broken(): raise RuntimeError('no lab')\n"
        "def test_errs(broken): pass\n",
    )
    done = netlab("test", "plain.yaml", "-f", "json", "--report", "page.html", "--junit", "j.xml")
    assert done.returncode == 1
    record = json.loads(done.stdout)
    assert [result["verdict"] for result in record["results"]] == ["failed", "error"]
    assert "assert 'one' == 'two'" in done.stderr
    assert read_cases(netlab.folder / "j.xml") == {
        "test_fails": ["failure"],
        "test_errs": ["error"],
    }
    assert "<script" not in (netlab.folder / "page.html").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_that_name\n", "collection failure"),
        ("def test_(: pass\n", "SyntaxError"),
    ],
)
def test_a_test_file_that_cannot_be_collected_is_wrong_input(
    netlab: Shell, text: str, message: str
) -> None:
    write_tests(netlab, text)
    done = netlab("test", "plain.yaml")
    assert done.returncode == 2
    assert message in done.stdout


def test_a_conftest_that_is_broken_is_shown_with_what_pytest_said(netlab: Shell) -> None:
    write_tests(netlab, "raise RuntimeError('thus')\n", "conftest.py")
    done = netlab("test", "plain.yaml", "--junit", "j.xml")
    assert done.returncode == 2
    assert "RuntimeError: thus" in done.stdout
    assert read_cases(netlab.folder / "j.xml") == {"pytest": ["error"]}


def test_a_test_process_that_dies_is_no_success(netlab: Shell) -> None:
    write_tests(
        netlab, "import os\ndef test_first(): pass\ndef test_dies(): os.kill(os.getpid(), 9)\n"
    )
    done = netlab("test", "plain.yaml", "--junit", "j.xml")
    assert done.returncode == 4
    assert "while this ran pytest was killed by SIGKILL" in done.stdout
    assert read_cases(netlab.folder / "j.xml") == {
        "tests/test_plain.py::test_first": [],
        "tests/test_plain.py::test_dies": ["error"],
    }


def test_a_folder_without_a_test_is_nothing_to_run(netlab: Shell) -> None:
    write_tests(netlab, "", "data.txt")
    done = netlab("test", "plain.yaml")
    assert done.returncode == 2
    assert "there is nothing to run" in done.stderr


def test_python_tests_without_pytest_are_exit_code_3_with_the_command(netlab: Shell) -> None:
    write_tests(netlab, "def test_x(): pass\n")
    (netlab.folder / "sitecustomize.py").write_text("import sys\nsys.modules['pytest'] = None\n")
    done = netlab("test", "plain.yaml", PYTHONPATH=str(netlab.folder))
    assert (done.returncode, done.stdout) == (3, "")
    assert "pip install 'netlab-vm[test]'" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_test_is_told_and_the_reports_are_whole(
    netlab: Shell, number: signal.Signals
) -> None:
    write_tests(
        netlab,
        "import time\n"
        "def test_first(): pass\n"
        "def test_long():\n    open('began', 'w').close()\n    time.sleep(60)\n"
        "def test_last(): pass\n",
    )
    os.mkfifo(netlab.folder / "began")
    process = start(netlab, "test", "plain.yaml", "--junit", "j.xml", "--report", "page.html")
    with (netlab.folder / "began").open():
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "passed" in stdout.splitlines()[0]
    assert "netlab: interrupted: tests/test_plain.py::test_long" in stderr
    cases = read_cases(netlab.folder / "j.xml")
    assert cases["test_first"] == []
    assert cases["tests/test_plain.py::test_long"] == ["error"]
    assert "interrupted" in (netlab.folder / "page.html").read_text()
    assert sorted(path.name for path in netlab.folder.glob(".*")) == []


def test_tests_that_are_still_collected_can_be_interrupted_too(netlab: Shell) -> None:
    write_tests(netlab, "import time\nopen('began', 'w').close()\ntime.sleep(60)\n")
    os.mkfifo(netlab.folder / "began")
    process = start(netlab, "test", "plain.yaml", "--junit", "j.xml")
    with (netlab.folder / "began").open():
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "netlab: interrupted: the Python tests" in stderr
    assert read_cases(netlab.folder / "j.xml")["the Python tests"] == ["error"]


def test_a_terminal_gets_colours_unless_no_color_is_set(netlab: Shell) -> None:
    write_tests(netlab, "def test_passes(): pass\n")
    shown = on_terminal(netlab, "test", "plain.yaml")
    assert "\x1b[32mpassed" in shown
    assert "plain: 1 passed in " in shown
    assert "\x1b[32m" not in on_terminal(netlab, "test", "plain.yaml", NO_COLOR="1")


def test_a_report_that_cannot_be_written_is_told_and_no_success(netlab: Shell) -> None:
    write_tests(netlab, "def test_passes(): pass\n")
    done = netlab("test", "plain.yaml", "--junit", "/dev/full")
    assert done.returncode == 2
    assert "/dev/full: cannot be written: No space left on device" in done.stderr


def test_options_and_files_are_completed(netlab: Shell) -> None:
    assert netlab.complete("test", "--ju") == ["--junit"]
    assert netlab.complete("test", "--report", "") == [":files"]
    assert netlab.complete("test", "") == [":files"]
