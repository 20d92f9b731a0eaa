from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from netlab.cli.completion import SCRIPTS
from netlab.cli.completion import Shell as ShellName
from netlab.cli.verbs import VERBS
from tests.cli.conftest import NETLAB, FakeLab, Shell


def test_verbs_are_completed_without_their_aliases(netlab: Shell) -> None:
    assert netlab.complete("") == [verb.name for verb in VERBS]
    assert netlab.complete("e") == ["exec", "events", "export"]
    assert netlab.complete("de") == []


@pytest.mark.usefixtures("lab")
def test_the_nodes_of_the_running_lab_are_completed(netlab: Shell) -> None:
    assert netlab.complete("exec", "r") == ["r1", "r2", "r3", "r4", "r5", "r6"]
    assert netlab.complete("console", "r2") == ["r2"]
    assert netlab.complete("exec", "ring/r3") == ["ring/r3"]
    assert netlab.complete("exec", "--node-filter", "r6") == ["r6"]
    assert netlab.complete("exec", "r1", "") == []


@pytest.mark.usefixtures("lab", "second_lab")
def test_the_nodes_of_several_labs_carry_their_labs_names(netlab: Shell) -> None:
    assert netlab.complete("exec", "other/r1") == ["other/r1"]
    assert "ring/r1" in netlab.complete("exec", "")
    assert netlab.complete("exec", "--name", "ring", "r1") == ["r1"]


def test_only_labs_that_are_up_are_completed(
    netlab: Shell, lab: FakeLab, second_lab: FakeLab
) -> None:
    assert netlab.complete("down", "--name", "") == [second_lab.name, lab.name]
    assert netlab.complete("shell", "") == [second_lab.name, lab.name]
    second_lab.end()
    assert netlab.complete("down", "-n", "") == [lab.name]


def test_options_are_completed_with_what_they_mean(netlab: Shell) -> None:
    assert netlab.complete("up", "--max") == ["--max-workers"]
    done = netlab("up", "--dry", _NETLAB_COMPLETE="zsh")
    assert done.stdout == "--dry-run\tOnly say what would be done.\n"


def test_the_values_of_choices_are_completed(netlab: Shell) -> None:
    assert netlab.complete("status", "-f", "") == ["table", "json"]
    assert netlab.complete("completion", "z") == ["zsh"]
    assert netlab.complete("graph", "--format", "s") == ["svg"]


def test_topologies_are_files(netlab: Shell) -> None:
    assert netlab.complete("up", "") == [":files"]
    assert netlab.complete("plan", "-t", "ri") == [":files"]
    assert netlab.complete("graph", "-o", "x") == [":files"]


def test_verbs_of_a_group_are_completed(netlab: Shell) -> None:
    assert netlab.complete("image", "") == ["build", "list", "show", "rm", "prune"]
    assert netlab.complete("image", "build", "--re") == ["--rebuild"]
    assert netlab.complete("vma", "") == ["create", "list", "config", "extract", "verify", "map"]
    assert netlab.complete("vma", "extract", "a") == [":files"]


def test_topics_are_completed(netlab: Shell) -> None:
    assert netlab.complete("help", "cl") == ["cli"]


@pytest.mark.parametrize(
    "words", [["nonsense", ""], ["image", "burn", ""], ["up", "--nonsense", ""]]
)
def test_nonsense_is_completed_in_silence(netlab: Shell, words: list[str]) -> None:
    netlab.complete(*words)


@pytest.mark.parametrize("name", list(ShellName))
def test_every_shell_has_a_script(netlab: Shell, name: ShellName) -> None:
    done = netlab("completion", name.value)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", SCRIPTS[name])


@pytest.mark.usefixtures("lab")
def test_bash_itself_completes_running_nodes(netlab: Shell, tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(SCRIPTS[ShellName.bash])
    drive = (
        f'PATH="{NETLAB.parent}:$PATH"; source "{script}"; '
        "compopt() { :; }; COMP_WORDS=(netlab exec r); COMP_CWORD=2; _netlab; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", drive],
        capture_output=True,
        text=True,
        env=netlab.environment(),
        cwd=netlab.folder,
        check=True,
    )
    assert done.stdout.split() == ["r1", "r2", "r3", "r4", "r5", "r6"]


@pytest.mark.parametrize("name", list(ShellName))
def test_the_shells_accept_their_scripts(name: ShellName, tmp_path: Path) -> None:
    if shutil.which(name.value) is None:
        pytest.skip(f"{name.value} is not installed")
    script = tmp_path / "script"
    script.write_text(SCRIPTS[name])
    subprocess.run([name.value, "-n", script], check=True)
