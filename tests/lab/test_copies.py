"""`netlab cp` on real guests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.conftest import Home
from tests.lab.terminals import open_on_terminal

pytestmark = pytest.mark.machines


def run_in(home: Home, node: str, command: str) -> str:
    return home.run("exec", node, "--", "sh", "-c", command).stdout


def test_files_and_folders_go_in_out_and_across(home: Home, pair: Path, tmp_path: Path) -> None:
    home.run("up", str(pair))
    here = tmp_path / "here"
    (here / "deep").mkdir(parents=True)
    (here / "deep/it's $a:b").write_bytes(bytes(range(256)))
    (here / "run").write_text("#!/bin/sh\necho ran\n")
    (here / "run").chmod(0o750)

    home.run("cp", str(here / "run"), "a:/tmp/new/called")
    assert run_in(home, "a", "/tmp/new/called; stat -c %a /tmp/new/called") == "ran\n750\n"
    home.run("cp", str(here / "run"), str(here / "deep/it's $a:b"), "pair/a:/tmp/new")
    assert run_in(home, "a", "ls /tmp/new") == "called\nit's $a:b\nrun\n"
    # A folder that is not there is what the copy is called; one that is there takes it in.
    for expected in ("/tmp/tree/run", "/tmp/tree/here/run"):
        home.run("cp", f"{here}/", "a:/tmp/tree")
        assert run_in(home, "a", expected) == "ran\n"
    home.run("cp", f"{here}/.", "a:/tmp/tree")
    assert run_in(home, "a", "ls /tmp/tree") == "deep\nhere\nrun\n"

    # From node to node, and out again: the same bytes, names and permissions.
    home.run("cp", "a:/tmp/tree", "pair/b:/tmp/across")
    home.run("cp", "b:/tmp/across/run", "a:/tmp/back")
    assert run_in(home, "a", "/tmp/back") == "ran\n"
    home.run("cp", "b:/tmp/across", str(tmp_path))
    back = tmp_path / "across/here"
    assert (back / "deep/it's $a:b").read_bytes() == bytes(range(256))
    assert (back / "run").stat().st_mode & 0o777 == 0o750
    # A file is replaced, through a link too; a folder never is.
    (tmp_path / "old").write_text("old")
    (tmp_path / "link").symlink_to("old")
    home.run("cp", "a:/tmp/tree/run", str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "old").read_text() == "#!/bin/sh\necho ran\n"
    refused = home.run("cp", "b:/tmp/across", str(tmp_path), status=2)
    assert "there is a folder already" in refused.stderr


def test_what_cannot_be_copied_is_told(home: Home, pair: Path, tmp_path: Path) -> None:
    home.run("up", str(pair))
    (tmp_path / "file").write_text("x")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for words, status, message in (
        (("a:/none", str(tmp_path)), 1, "a: /none cannot be read"),
        ((str(tmp_path / "none"), "a:/tmp"), 2, "there is no such file or folder"),
        ((str(tmp_path / "file"), "a:/proc/nothing/x"), 1, "a: mkdir failed"),
        ((str(tmp_path / "file"), "a:/none/"), 2, "a:/none/: there is no such folder"),
        (("a:/etc/hosts", "b:/etc/hosts", str(tmp_path / "none")), 2, "no such folder"),
        (("a:/etc/hosts", str(fifo)), 2, "it is neither a file nor a folder"),
        (("a:/etc/hosts", "/proc/none"), 2, "No such file or directory"),
        (("a:/", str(tmp_path)), 2, "it has no name for its copy"),
    ):
        told = home.run("cp", *words, status=status).stderr
        assert message in told, told
        assert "Traceback" not in told
    assert {path.name for path in tmp_path.iterdir()} == {"file", "fifo", "pair.yaml"}
    os.kill(home.status("--name", "pair")["nodes"][1]["pid"], signal.SIGKILL)
    while home.status("--name", "pair")["nodes"][1]["state"] == "ready":
        pass
    assert "b is failed" in home.run("cp", "b:/etc/hosts", str(tmp_path), status=4).stderr


def test_a_long_copy_shows_how_far_it_is_and_can_be_interrupted(
    home: Home, pair: Path, tmp_path: Path
) -> None:
    home.run("up", str(pair))
    run_in(home, "a", "dd if=/dev/zero of=/tmp/big bs=1M count=24 2>/dev/null")
    words = ("cp", "a:/tmp/big", str(tmp_path / "big"))
    with open_on_terminal(home, *words, errors=True) as copy:
        copy.read_until(b"B/s")
        copy.type(b"\x03")
        copy.read_until(b"netlab: interrupted")
        assert copy.process.wait(30) == 130
        assert copy.is_restored()
    assert [path.name for path in tmp_path.iterdir()] == ["pair.yaml"]


SMALL_DISK = 'mount -t tmpfs -o size=2m none "$1" && cd "$1" && "$2" -m netlab.cli.main cp a:"$3" .'


@pytest.mark.parametrize("source", ["big", "tree"])
def test_a_full_disk_of_ours_is_told_and_keeps_nothing(
    home: Home, pair: Path, tmp_path: Path, source: str
) -> None:
    home.run("up", str(pair))
    run_in(home, "a", "mkdir /tmp/tree; cd /tmp; head -c 5000000 /dev/urandom >big; cp big tree")
    # In a mount namespace of its own: nobody else sees the disk.
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    script = f"{SMALL_DISK}; status=$?; ls -A; exit $status"
    done = subprocess.run(
        ["unshare", "--mount", *user, "sh", "-c", script, "sh",
         str(tmp_path), sys.executable, f"/tmp/{source}"],
        env=home.environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert f"/{source}: No space left on device" in done.stderr
    assert done.stdout == ""
