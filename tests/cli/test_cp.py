"""`netlab cp` where no machine is needed: what its words mean, and what they cannot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.cli.copying import Place
from netlab.cli.cp import split_place
from tests.cli.conftest import Shell


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("r1:/etc/hosts", ("r1", "/etc/hosts")),
        ("ring/r1:/a:b", ("ring/r1", "/a:b")),
        ("hosts", ("", "hosts")),
        ("./a:b", ("", "./a:b")),
        ("/a:b", ("", "/a:b")),
        ("../a:b", ("", "../a:b")),
        ("a/b/c:d", ("", "a/b/c:d")),
    ],
)
def test_a_colon_says_that_a_path_is_a_nodes_unless_a_slash_says_ours(
    text: str, meaning: tuple[str, str]
) -> None:
    assert split_place(text) == meaning


@given(st.text(), st.sampled_from(["/", "./", "../"]))
def test_every_path_of_ours_can_be_written(path: str, start: str) -> None:
    assert split_place(start + path) == ("", start + path)


def test_a_copy_is_called_what_its_source_is() -> None:
    assert Place(path="/etc/bird/", node="r1").name() == "bird"
    assert Place(path="/etc/bird/..", node="r1").name() == "etc"
    assert Place(path="some/where/.").name() == "."


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a"], "a source and a target are needed"),
        (["a", "b"], "neither a nor b is in a node"),
        (["r1:/a", "b", "c"], "neither b nor c is in a node"),
        (["a:b", "r1:/tmp"], "begins with /"),
        (["a:/b", "r1:/tmp"], "lab ring has no node 'a'"),
        (["a:/b", "r1:/tmp"], "a path of ours with a colon in it begins with ./"),
        (["x/r1:/b", "r1:/tmp"], "lab x is not up"),
        (["a", "r1:"], "a path is missing"),
        (["", "r1:/x"], "a path is missing"),
        (["a", "r1:tmp"], "r1:tmp: a path in a node begins with /"),
        (["--name", "ring", "a", "other/r1:/tmp"], "two labs are given"),
    ],
)
def test_what_cannot_be_copied_is_exit_code_2(
    netlab: Shell, words: list[str], message: str
) -> None:
    done = netlab("cp", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.mark.usefixtures("lab")
def test_files_and_nodes_are_completed(netlab: Shell) -> None:
    assert netlab.complete("cp", "r1") == [":files", "r1:"]
    assert netlab.complete("cp", "x", "ring/r2") == [":files", "ring/r2:"]
