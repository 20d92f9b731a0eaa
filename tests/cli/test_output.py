from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from netlab.cli.files import write_text
from netlab.cli.output import format_seconds, format_table, write_json, write_table
from netlab.errors import UsageError


def test_columns_are_aligned_and_nothing_is_cut_off() -> None:
    assert format_table(("node", "state"), [["r1", "ready"], ["a-long-name", "up"]]) == (
        "NODE         STATE\nr1           ready\na-long-name  up"
    )


def test_a_cell_is_one_printable_line(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(("a", "b"), [("x\ny\tz\x1b[2J", None)])
    assert capsys.readouterr().out == "A             B\nx y z\\x1b[2J  -\n"


def test_names_that_are_no_text_come_through_json(capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"\xff\xc3\xa4")
    write_json({"file": name})
    out = capsys.readouterr().out
    assert out.encode() == b'{\n  "file": "\\udcff\xc3\xa4"\n}\n'
    assert json.loads(out) == {"file": name}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"), (3.21, "3.2 s"), (59.4, "59 s"), (60, "1 min"), (250, "4 min 10 s"),
        (3600, "1 h"), (7500, "2 h 5 min"), (86400 * 3 + 4 * 3600, "3 d 4 h"),
    ],
)  # fmt: skip
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "out.svg"
    path.write_text("old")
    path.chmod(0o640)
    write_text("new", path)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.svg"]


def test_a_file_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        write_text("x", tmp_path / "missing/out.svg")
    with pytest.raises(UsageError, match="cannot be written"):
        write_text("x", tmp_path)


def test_a_new_file_gets_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text("x", tmp_path / "new")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640
