"""The error tree: exit codes, evidence, and the drawing in its docstring."""

import re

import pytest

from netlab import errors
from netlab.errors import (
    MachineDiedError,
    Mistake,
    NetlabError,
    QMPCommandError,
    TopologyError,
    describe_status,
)


def every_class() -> list[type[NetlabError]]:
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, NetlabError)
    ]


def test_the_drawing_shows_every_class_once() -> None:
    drawing = (errors.__doc__ or "").split("An error carries")[0]
    drawn = re.findall(r"\b\w+Error\b", drawing)
    assert sorted(drawn) == sorted(each.__name__ for each in every_class())


@pytest.mark.parametrize("kind", every_class())
def test_every_exit_code_is_one_of_the_documented(kind: type[NetlabError]) -> None:
    assert kind.exit_code in {1, 2, 3, 4}


def test_mistakes_are_sorted_by_position_and_printed_like_a_compiler() -> None:
    error = TopologyError([
        Mistake("ring.yaml", 12, 7, "links[2].endpoints", "node r9 is not declared", "r6?"),
        Mistake("ring.yaml", 3, 1, "nodes", "empty"),
        Mistake("ring.yaml", 0, 0, "", "not UTF-8"),
    ])
    assert str(error).splitlines() == [
        "ring.yaml: not UTF-8",
        "ring.yaml:3:1: nodes: empty",
        "ring.yaml:12:7: links[2].endpoints: node r9 is not declared (r6?)",
    ]
    assert error.exit_code == 2


def test_a_dead_machine_shows_its_command_ready_to_paste_and_its_last_words() -> None:
    error = MachineDiedError("r1", ["qemu", "-append", "a b"], -9, "out of memory")
    assert error.message == "r1: QEMU was killed by SIGKILL"
    assert error.evidence == "qemu -append 'a b'\nout of memory"


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "exited with status 0"), (-15, "was killed by SIGTERM"), (-99, "was killed by signal 99")],
)
def test_statuses_are_described_in_words(status: int, words: str) -> None:
    assert describe_status(status) == words


def test_an_answer_of_qemu_without_description_is_shown_whole() -> None:
    error = QMPCommandError({"execute": "stop"}, {"error": "odd"})
    assert "odd" in error.message
