"""`netlab exec -it`: a program in a guest on the user's own terminal."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.lab.conftest import NETLAB, Home
from tests.lab.terminals import open_on_terminal

pytestmark = pytest.mark.machines


def runs_in_guest(home: Home, program: str) -> bool:
    done = home.start("exec", "a", "--", "pidof", program)
    done.communicate(timeout=60)
    return done.returncode == 0


def test_a_program_in_a_guest_has_our_terminal(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    words = ("exec", "-it", "-e", "GREETING=it's $me", "pair/a", "--", "sh", "-i")
    with open_on_terminal(home, *words, rows=33, columns=101) as shell:
        shell.read_until(b"# ")
        shell.type(b"stty size; echo $TERM $GREETING\r")
        seen = shell.read_until(b"vt100 it's $me\r\n")
        assert b"33 101\r\n" in seen
        # Ctrl-C is the program's: it ends what runs there, and neither the shell nor us.
        shell.type(b"sh -c 'echo be\"\"gun; exec sleep 1000'\r")
        shell.read_until(b"begun\r\n")
        shell.type(b"\x03")
        shell.resize(50, 132)
        shell.type(b"until [ \"$(stty size)\" = '50 132' ]; do :; done; echo lar''ger\r")
        shell.read_until(b"larger\r\n")
        shell.type(b"exit 7\r")
        assert shell.wait() == (7, "")
        assert shell.is_restored()
    assert not runs_in_guest(home, "sleep")


def test_a_program_that_is_left_is_ended(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    with open_on_terminal(home, "exec", "-it", "a", "--", "sh", "-c", "echo on; cat") as left:
        left.read_until(b"on\r\n")
        left.type(b"typed\r\x1d")
        assert left.wait() == (130, "")
        assert left.is_restored()
    while runs_in_guest(home, "cat"):
        pass
    # So is one whose terminal we are told to give back.
    with open_on_terminal(home, "exec", "-t", "a", "--", "sh", "-c", "echo on; cat") as ended:
        ended.read_until(b"on\r\n")
        ended.process.terminate()
        assert ended.wait() == (130, "netlab: interrupted\n")
        assert ended.is_restored()
    with open_on_terminal(home, "exec", "-it", "a", "--", "sh", "-c", "kill -9 $$") as killed:
        assert killed.wait() == (137, "")
    with open_on_terminal(home, "exec", "-it", "a", "--", "no-such-program") as unknown:
        unknown.read_until(b"no-such-program")
        assert unknown.wait()[0] == 127


def test_a_terminal_outlives_machine_and_lab(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    with open_on_terminal(home, "exec", "-it", "b", "--", "sh", "-c", "echo on; cat") as died:
        died.read_until(b"on\r\n")
        os.kill(home.status("--name", "pair")["nodes"][1]["pid"], signal.SIGKILL)
        status, told = died.wait()
        assert (status, "SIGKILL" in told) == (4, True), told
        assert died.is_restored()
    with open_on_terminal(home, "exec", "-it", "b", "--", "sh") as late:
        status, told = late.wait()
        assert (status, "b is failed" in told) == (4, True), told
    with open_on_terminal(home, "exec", "-it", "c", "--", "sh") as unknown:
        status, told = unknown.wait()
        assert (status, "no node 'c'" in told) == (2, True), told
    with open_on_terminal(home, "exec", "-it", "a", "--", "sh", "-c", "echo on; cat") as down:
        down.read_until(b"on\r\n")
        home.run("down", "-y")
        status, told = down.wait()
        assert (status, "pair" in told) == (4, True), told
        assert down.is_restored()


def test_what_is_streamed_comes_as_it_is_printed(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    with subprocess.Popen(
        [*NETLAB, "exec", "--stream", "a", "--", "sh", "-c", "cat; exit 5"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=home.environment,
    ) as spoken:
        assert spoken.stdin is not None
        assert spoken.stdout is not None
        for line in (b"one\n", b"two\n"):
            spoken.stdin.write(line)
            spoken.stdin.flush()
            assert spoken.stdout.readline() == line
        spoken.stdin.close()
        assert spoken.stdout.read() == b""
    assert spoken.returncode == 5
    with subprocess.Popen(
        [*NETLAB, "exec", "--stream", "a", "--", "yes"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=home.environment,
    ) as left:
        assert left.stdout is not None
        assert left.stderr is not None
        left.stdout.readline()
        left.stdout.close()
        assert left.stderr.read() == b""
    assert left.returncode == 141
    while runs_in_guest(home, "yes"):
        pass


def test_output_comes_as_it_is_printed_on_two_streams(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    script = "echo one; echo bad >&2; until test -e /root/go; do sleep 0.1; done; echo two; exit 5"
    told = home.start("exec", "a", "--", "sh", "-c", script)
    assert told.stdout is not None
    assert told.stderr is not None
    assert (told.stdout.readline(), told.stderr.readline()) == ("one\n", "bad\n")
    home.run("exec", "a", "--", "touch", "/root/go")
    assert told.communicate(timeout=60) == ("two\n", "")
    assert told.returncode == 5
    assert home.run("exec", "a", "--", "sh", "-c", "kill -9 $$", status=137).stdout == ""
    more_than_the_agent_keeps = home.run("exec", "a", "--", "head", "-c", "17000000", "/dev/zero")
    assert len(more_than_the_agent_keeps.stdout) == 17_000_000


def test_a_guest_without_room_for_output_tells_it_at_the_end(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    assert "netlab." in home.run("exec", "a", "--", "ls", "/tmp").stdout
    home.run("exec", "a", "--", "sh", "-c", "head -c 33000000 /dev/zero >/tmp/full")
    told = home.run("exec", "a", "--", "sh", "-c", "ls /tmp; echo bad >&2; exit 3", status=3)
    assert (told.stdout, told.stderr) == ("full\n", "bad\n")


def test_ctrl_c_ends_the_command_in_the_guest_too(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    for options in ((), ("--stream",)):
        running = home.start("exec", *options, "a", "--", "sleep", "1000")
        while not runs_in_guest(home, "sleep"):
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        assert "netlab: interrupted" in running.communicate(timeout=60)[1]
        assert running.returncode == 130
        while runs_in_guest(home, "sleep"):
            pass
