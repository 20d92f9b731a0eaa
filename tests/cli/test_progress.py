from __future__ import annotations

import os
import sys
import time

import pytest
from rich.console import Console

from netlab.cli.archiving import open_progress as open_archive_progress
from netlab.cli.progress import LiveProgress, PlainProgress
from tests.cli.screens import read_screen


def event(node: str | None, state: str | None, message: str) -> dict[str, object]:
    return {"time": time.time(), "kind": "node", "node": node, "state": state, "message": message}


def test_without_a_terminal_each_change_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress()
    progress.record(event("r1", "booting", "QEMU runs\x1b[2J"))
    progress.record(event("r1", "ready", "ready"))
    progress.record({**event(None, None, "6 segments carry frames"), "kind": "sandbox"})
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [line.partition(" s  ")[2] for line in shown.err.splitlines()] == [
        "r1: booting: QEMU runs\\x1b[2J",
        "r1: ready",
        "sandbox: 6 segments carry frames",
    ]


def rendered(progress: LiveProgress, console: Console) -> list[str]:
    with console.capture() as capture:
        console.print(progress.render())
    return capture.get().splitlines()


def test_on_a_terminal_each_node_has_a_line() -> None:
    console = Console(width=60, height=10, color_system=None)
    progress = LiveProgress(["r1", "r2"], console)
    progress.record(event("r1", "booting", "QEMU runs as process 7"))
    progress.record(event("r2", "ready", "ready"))
    lines = rendered(progress, console)
    assert lines[0].split()[:2] == ["r1", "booting"]
    assert "QEMU runs as process 7" in lines[0]
    assert lines[1].split()[:2] == ["r2", "ready"]
    assert lines[2].startswith("1 of 2 ready")


def test_a_long_message_about_the_lab_stays_on_its_line() -> None:
    console = Console(width=40, height=10, color_system=None)
    progress = LiveProgress(["r1"], console)
    progress.record({**event(None, None, "tcg: " + "because " * 20), "kind": "accel"})
    lines = rendered(progress, console)
    assert len(lines) == 2
    assert lines[1].startswith("0 of 1 ready  accel: tcg: because")


def test_a_big_lab_shows_first_what_is_not_ready() -> None:
    console = Console(width=60, height=8, color_system=None)
    names = [f"r{n}" for n in range(100)]
    progress = LiveProgress(names, console)
    for name in names[:98]:
        progress.record(event(name, "ready", "ready"))
    lines = rendered(progress, console)
    assert len(lines) == 6
    assert [line.split()[0] for line in lines[:3]] == ["r98", "r99", "r0"]
    assert lines[-1].startswith("98 of 100 ready")


def test_the_rate_and_the_time_left_are_those_of_what_is_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second of two that are of one size is not over when the first is."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    reader, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with open_archive_progress("two") as progress:
            progress(100, 100)
            progress(10, 100)
        monkeypatch.undo()
    shown = read_screen(reader)
    assert shown.count("two") > 0
    assert "-:--:--" in shown[shown.rindex("10/100") :]
