"""The frame: help, exit codes, streams, start-up."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from netlab import __version__
from netlab.cli.verbs import ALIASES, VERBS, find_verb
from tests.cli.conftest import NETLAB, FakeLab, Shell

NAMES = [verb.name for verb in VERBS]
COMMANDS = [
    *([name] for name in NAMES if name not in {"image", "vma", "disk"}),
    *(["image", name] for name in ("build", "list", "show", "rm")),
    *(["disk", name] for name in ("list", "rm")),
    *(["vma", name] for name in ("create", "list", "config", "extract", "verify", "map")),
]

HEAVY = {"pydantic", "yaml", "rich", "trio", "httpx", "starlette", "hypercorn", "pyroute2"}


def test_help_lists_every_verb_and_hides_aliases(netlab: Shell) -> None:
    done = netlab("--help")
    assert (done.returncode, done.stderr) == (0, "")
    listed = re.findall(r"^  ([a-z][a-z-]+)  ", done.stdout, re.MULTILINE)
    assert listed[3:] == NAMES or listed == NAMES
    assert not set(ALIASES) & set(done.stdout.split())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_verbs_help_has_an_example_and_its_exit_codes(
    netlab: Shell, words: list[str]
) -> None:
    done = netlab(*words, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: netlab {' '.join(words)}" in done.stdout
    examples = done.stdout.partition("Examples:")[2].partition("Exit codes:")
    assert f"netlab {' '.join(words)}" in examples[0] or words == ["completion"]
    assert re.search(r"^ +0 +\w", examples[2], re.MULTILINE)


def test_the_table_of_verbs_says_what_the_verbs_say(netlab: Shell) -> None:
    group = netlab("image", "--help").stdout
    assert all(f"  {name} " in group for name in ("build", "list", "show", "rm"))


def test_nothing_asked_for_is_a_mistake_that_shows_the_verbs(netlab: Shell) -> None:
    done = netlab()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: netlab VERB" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["exce"], "did you mean 'exec'?"),
        (["nonsense"], "`netlab --help` lists the verbs"),
        (["status", "--nonsense"], "No such option: --nonsense"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
        (["up", "--max-workers", "none"], "--max-workers"),
        (["image", "burn"], "burn"),
        (["exec", "r1"], "no command is given"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2_and_no_traceback(
    netlab: Shell, words: list[str], message: str
) -> None:
    done = netlab(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("alias", "verb"), ALIASES.items())
def test_an_alias_is_the_verb_itself(netlab: Shell, alias: str, verb: str) -> None:
    assert find_verb(alias) == find_verb(verb)
    assert f"Usage: netlab {alias}" in netlab(alias, "--help").stdout


def test_versions_are_for_people_and_programs(netlab: Shell) -> None:
    assert netlab("--version").stdout == f"netlab {__version__}\n"
    assert f"netlab     {__version__}" in netlab("version").stdout
    assert json.loads(netlab("version", "-f", "json").stdout)["netlab"] == __version__


def test_every_verb_is_in_the_documentation() -> None:
    text = files("netlab").joinpath("docs/cli.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `netlab ([a-z-]+)` \|", text, re.MULTILINE)
    assert documented == NAMES


def test_every_exit_code_is_in_the_documentation() -> None:
    text = files("netlab").joinpath("docs/cli.md").read_text(encoding="utf-8")
    documented = [int(code) for code in re.findall(r"^\| ([0-9]+) \|", text, re.MULTILINE)]
    assert documented == [0, 1, 2, 3, 4, 130, 141]


def test_help_lists_topics_and_shows_them(netlab: Shell) -> None:
    listing = netlab("help").stdout
    for page in files("netlab").joinpath("docs").iterdir():
        if page.name.endswith(".md"):
            name = page.name.removesuffix(".md")
            assert f"\n  {name} " in listing.partition("Topics")[2]
            assert netlab("help", name).stdout == page.read_text(encoding="utf-8")


def test_help_of_a_verb_is_its_help(netlab: Shell) -> None:
    assert netlab("help", "down").stdout == netlab("down", "--help").stdout


def test_an_unknown_topic_names_the_known_ones(netlab: Shell) -> None:
    done = netlab("help", "gardening")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cli" in done.stderr


def imported(netlab: Shell, *words: str, **variables: str) -> set[str]:
    """Return the top-level modules that a command line imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", NETLAB, *words],
        capture_output=True,
        cwd=netlab.folder,
        env=netlab.environment(**variables),
        timeout=60,
        check=False,
    )
    lines = done.stderr.decode().splitlines()
    names = (line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:"))
    return {name.partition(".")[0] for name in names} | {"netlab.cli.main"}


def test_exec_starts_without_what_it_does_not_need(netlab: Shell, lab: FakeLab) -> None:
    del lab
    found = imported(netlab, "exec", "r1", "--", "true")
    assert "http" in found  # it did ask the lab
    assert not HEAVY & found


@pytest.mark.parametrize(
    "words", [["status", "--all"], ["events"], ["logs"], ["down", "--dry-run"]]
)
def test_quick_verbs_start_without_what_they_do_not_need(
    netlab: Shell, lab: FakeLab, words: list[str]
) -> None:
    del lab
    assert not HEAVY & imported(netlab, *words)


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["version"], ["exec", "--help"]])
def test_help_and_versions_start_without_anything_heavy(netlab: Shell, words: list[str]) -> None:
    assert not HEAVY & imported(netlab, *words)


def test_the_first_words_need_no_typer(netlab: Shell) -> None:
    assert "typer" not in imported(netlab, "--version")
    assert "typer" not in imported(netlab, "--help")
    assert "typer" not in imported(netlab, "ex", _NETLAB_COMPLETE="bash")


def test_completion_imports_nothing_heavy(netlab: Shell, lab: FakeLab) -> None:
    del lab
    assert not HEAVY & imported(netlab, "exec", "", _NETLAB_COMPLETE="bash")


def on_terminal(netlab: Shell, *words: str, **variables: str) -> str:
    """Return what a command line prints on a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [NETLAB, *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=netlab.folder,
        env=netlab.environment(TERM="xterm-256color", **variables),
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:
            pass  # Linux says EIO when the last user of a terminal is gone
        finally:
            os.close(ours)
        assert process.wait() == 0
    return shown.decode()


def test_a_terminal_gets_colours_unless_no_color_is_set(netlab: Shell, lab: FakeLab) -> None:
    del lab
    assert "\x1b[32mready" in on_terminal(netlab, "status")
    assert "\x1b[32m" not in on_terminal(netlab, "status", NO_COLOR="1")
    assert "\x1b" not in netlab("status").stdout


def test_a_topic_is_laid_out_on_a_terminal(netlab: Shell) -> None:
    shown = on_terminal(netlab, "help", "cli")
    assert "\x1b[" in shown
    assert "# The command line" not in shown


def test_a_reader_that_leaves_is_no_error_to_speak_of(netlab: Shell, lab: FakeLab) -> None:
    events = [
        {"time": 1.0, "kind": "lab", "node": None, "state": None, "message": "x" * 1000}
    ] * 1000
    lab.write_log(events)
    with subprocess.Popen(
        [NETLAB, "events"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=netlab.folder,
        env=netlab.environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize("words", ["plan missing.yaml", "nonsense"])
def test_an_error_that_cannot_be_told_still_gives_its_exit_code(netlab: Shell, words: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [NETLAB, *words.split()],
            cwd=netlab.folder, env=netlab.environment(), stderr=full, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 2


def test_what_an_encoding_lacks_is_spelled_out(netlab: Shell) -> None:
    done = netlab("schema", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads(netlab("schema").stdout)
