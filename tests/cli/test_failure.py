from __future__ import annotations

import errno
import io
import os

import pytest
import typer

from netlab.cli.failure import report
from netlab.errors import (
    CapacityError,
    CheckError,
    LaunchError,
    MissingProgramError,
    Mistake,
    NetlabError,
    TopologyError,
    UsageError,
)


def printed(error: BaseException) -> tuple[int, str]:
    stream = io.StringIO()
    return report(error, stream), stream.getvalue()


def test_an_error_is_printed_with_what_to_do_and_its_evidence() -> None:
    code, text = printed(UsageError("no", hint="say yes", evidence="line 1\nline 2"))
    assert code == 2
    assert text == "netlab: no\n  say yes\n\n    line 1\n    line 2\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CheckError("x"), 1),
        (UsageError("x"), 2),
        (MissingProgramError("qemu-img", "qemu-utils"), 3),
        (LaunchError("x"), 4),
        (NetlabError("x"), 4),
        (KeyboardInterrupt(), 130),
        (typer.Abort(), 130),
        (typer.Exit(7), 7),
        (SystemExit(5), 5),
        (SystemExit(None), 0),
    ],
)
def test_the_class_of_an_error_decides_the_exit_code(error: BaseException, code: int) -> None:
    assert printed(error)[0] == code


def test_a_topologys_mistakes_are_printed_alone_and_one_a_line() -> None:
    mistakes = [
        Mistake("ring.yaml", 7, 3, "nodes.r1", "unknown key"),
        Mistake("ring.yaml", 2, 1, "", "no name", "add `name: ring`"),
    ]
    code, text = printed(TopologyError(mistakes))
    assert code == 2
    assert text.splitlines() == [
        "ring.yaml:2:1: no name (add `name: ring`)",
        "ring.yaml:7:3: nodes.r1: unknown key",
    ]


def test_every_error_of_nested_groups_is_printed_once_and_the_gravest_code_wins() -> None:
    inner = ExceptionGroup("inner", [LaunchError("qemu"), UsageError("words")])
    code, text = printed(
        ExceptionGroup("outer", [CapacityError("memory"), inner, LaunchError("qemu")])
    )
    assert code == 4
    assert text.splitlines() == ["netlab: memory", "netlab: qemu", "netlab: words"]


def test_an_interruption_goes_before_every_other_code() -> None:
    group = BaseExceptionGroup("both", [LaunchError("qemu"), KeyboardInterrupt()])
    assert printed(group)[0] == 130


def test_an_unforeseen_exception_is_called_a_bug_and_shows_where() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 // 0
    code, text = printed(caught.value)
    assert code == 4
    assert "test_failure.py" in text
    assert text.splitlines()[-1].startswith("netlab: ZeroDivisionError: this is a bug in netlab")


def test_a_full_disk_is_told_and_called_no_bug_wherever_it_was_met() -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/srv/file")
    assert printed(error) == (3, "netlab: /srv/file: No space left on device (errno 28)\n")
    error = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    assert printed(error) == (3, "netlab: a file: Disk quota exceeded (errno 122)\n")


def test_what_would_steer_the_terminal_is_escaped() -> None:
    _, text = printed(UsageError("node \x1b]0;owned\x07 \u202e is unknown"))
    assert text == "netlab: node \\x1b]0;owned\\x07 \\u202e is unknown\n"
