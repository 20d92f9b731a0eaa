"""The tutorial is true: its files are written, its commands run, what it shows is looked for."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import netlab
from tests.lab.conftest import NETLAB, Home

pytestmark = pytest.mark.machines

PAGE = (Path(netlab.__file__).parent / "docs/tutorial.md").read_text()
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = {
    "netlab": NETLAB,
    "pytest": (sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
}


def read_commands(text: str) -> Iterator[tuple[list[str], list[str], int]]:
    """Yield each command's words, the lines that it is to show, and its exit status."""
    for part in text.split("$ ")[1:]:
        command, *lines = part.splitlines()
        status = 0
        if lines and (last := re.fullmatch(r"\[(\d+)\]", lines[-1])):
            status = int(last[1])
            lines.pop()
        yield shlex.split(command), lines, status


def check_shown(lines: list[str], output: str) -> None:
    """Each line stands in the output, in that order; … stands for anything."""
    rest = output
    for line in lines:
        pattern = ".*".join(re.escape(piece.strip()) for piece in line.split("…"))
        found = re.search(pattern, rest)
        assert found, f"{line!r} is not shown in:\n{output}"
        rest = rest[found.end() :]


def run_commands(text: str, home: Home, folder: Path) -> int:
    count = 0
    for words, lines, status in read_commands(text):
        done = subprocess.run(
            [*PROGRAMS[words[0]], *words[1:]],
            cwd=folder,
            env={**home.environment, "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == status, f"{words}: {done.stdout}"
        check_shown(lines, done.stdout)
        count += 1
    return count


def test_the_tutorial_is_true(home: Home) -> None:
    folder = home.folder / "tutorial"
    folder.mkdir()
    commands = 0
    for language, name, text in BLOCK.findall(PAGE):
        if language == "console":
            commands += run_commands(text, home, folder)
        else:
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    assert commands == 8
    assert (folder / "report.xml").is_file()
    (evidence,) = (folder / "evidence").iterdir()
    assert "default via 10.0.1.1" in (evidence / "nodes/pc/guest.txt").read_text()
