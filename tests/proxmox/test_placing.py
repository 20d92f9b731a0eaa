"""The program that holds files in a guest, in the shell of this host."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netlab.plan.model import FilePlan
from netlab.proxmox.placing import write_program

LIMIT = 20


def make_file(path: Path, content: str, mode: int = 0o644) -> FilePlan:
    return FilePlan(path=str(path), content=content, encoding="utf-8", mode=mode)


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Return mode and content of all that is in a folder; a link's content is where it leads."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mode, describe(path))
        for path in sorted(folder.rglob("*"))
    }


def describe(path: Path) -> str:
    if path.is_symlink():
        return str(path.readlink())
    return "" if path.is_dir() else path.read_text()


@contextmanager
def held(kept: Path, files: list[FilePlan]) -> Generator[subprocess.Popen[str]]:
    """Start the program; what it keeps is in this folder in place of /run."""
    kept.mkdir(exist_ok=True)
    program = write_program(files).replace("/run/netlab.", f"{kept}/netlab.")
    with subprocess.Popen(
        ["/bin/sh"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(program)
        process.stdin.flush()
        yield process
        process.kill()


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    folder = tmp_path / "guest"
    (folder / "etc").mkdir(parents=True)
    (folder / "etc/hosts").write_text("mine\n")
    (folder / "etc/hosts").chmod(0o640)
    (folder / "etc/link").symlink_to("nowhere")
    return folder


def plan_files(guest: Path) -> list[FilePlan]:
    return [
        make_file(guest / "etc/hosts", "yours\n"),
        make_file(guest / "etc/link", "file\n"),
        make_file(guest / "it's/a new/folder $x", "#!/bin/sh\n", 0o755),
        make_file(guest / "etc/large", "x" * 300_000),
    ]


@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGHUP])
def test_what_was_there_comes_back_however_it_ends(
    tmp_path: Path, guest: Path, number: int | None
) -> None:
    before, files = snapshot(guest), plan_files(guest)
    with held(tmp_path / "run", files) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "placed\n"
        there = snapshot(guest)
        for file in files:
            mode, content = there[str(Path(file.path).relative_to(guest))]
            assert (content, stat.S_IMODE(mode)) == (file.content, file.mode)
        # As the agent does: the program and its children.
        if number is not None:
            os.killpg(process.pid, number)
        process.communicate(timeout=LIMIT)
    # What ended it is nobody's business; that it ended well is.
    assert number is not None or process.returncode == 0
    assert snapshot(guest) == before
    assert list((tmp_path / "run").iterdir()) == []


def test_a_file_that_cannot_be_made_leaves_nothing_of_the_others(
    tmp_path: Path, guest: Path
) -> None:
    before = snapshot(guest)
    files = [*plan_files(guest), make_file(guest / "etc/hosts/below", "no folder")]
    with held(tmp_path / "run", files) as process:
        said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert "etc/hosts" in said
    assert "placed" not in said
    assert snapshot(guest) == before
    assert list((tmp_path / "run").iterdir()) == []
