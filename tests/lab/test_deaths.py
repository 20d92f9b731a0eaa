"""kill -9 of anything at any moment: nothing is left behind, and the message is true."""

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.conftest import Home, Process, wait_gone

pytestmark = pytest.mark.machines

VICTIMS = {
    "lab process": "netlab.lab.main",
    "QEMU": "qemu-system",
    "sandbox": "netlab.sandbox.init",
}
RANDOM_ROUNDS = 6
BOOT = 4.0
"""Seconds in which a random moment of the start is chosen; about what a start takes."""


@dataclass(frozen=True)
class Round:
    victim: str
    delay: float | None
    """Seconds after the start, or None to wait until the lab is ready."""


def draw_rounds(victim: str) -> list[Round]:
    seed = int(os.environ.get("NETLAB_TEST_SEED", time.time_ns() % 1_000_000))
    print(f"NETLAB_TEST_SEED={seed}")
    chance = random.Random(seed)
    moments = [chance.uniform(0.2, BOOT) for _ in range(RANDOM_ROUNDS)]
    return [Round(victim, delay) for delay in (None, *moments)]


def find_victims(home: Home, victim: str) -> list[Process]:
    found: list[Process] = []
    for process in home.processes():
        try:
            words = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        # `unshare … python -m netlab.sandbox.init` names it too, but is not it.
        if any(VICTIMS[victim] in word for word in words[:4]) and "unshare" not in words[0]:
            found.append(process)
    return found


def start_and_kill(home: Home, topology: Path, chosen: Round) -> tuple[bool, str, int]:
    """Start a lab and kill the victim; return whether that hit it, what `up` said, its status."""
    starting = home.start("up", str(topology))
    with suppress(subprocess.TimeoutExpired):
        starting.wait(chosen.delay)
    victims = find_victims(home, chosen.victim)
    for process in victims[:1]:
        os.kill(process.pid, signal.SIGKILL)
    stdout, stderr = starting.communicate(timeout=120)
    return bool(victims), stdout + stderr, starting.returncode


@pytest.mark.parametrize("victim", VICTIMS)
def test_kill_minus_nine_at_random_moments_leaves_nothing_and_is_told(
    home: Home, pair: Path, victim: str
) -> None:
    for number, chosen in enumerate(draw_rounds(victim)):
        hit, said, status = start_and_kill(home, pair, chosen)
        told = f"round {number}: {chosen}, hit: {hit}, status {status}\n{said}"
        print(told)
        if chosen.delay is None:
            assert status == 0, told
            check_death_after_ready(home, chosen.victim)
        elif hit and status != 0:
            assert status == 4, told
            assert "killed" in said or "ended before it was ready" in said, told
            wait_gone(home.processes())
            assert home.processes() == set(), told
        everyone = home.processes()
        home.run("down", "--all", "-y")
        wait_gone(everyone)
        assert home.processes() == set(), told
        assert home.lab_folders() == [], told


def check_death_after_ready(home: Home, victim: str) -> None:
    if victim == "QEMU":
        status = home.status("--name", "pair")
        while all(node["state"] == "ready" for node in status["nodes"]):
            status = home.status("--name", "pair")
        dead = [node for node in status["nodes"] if node["state"] == "failed"]
        assert len(dead) == 1
        assert "QEMU was killed by SIGKILL" in dead[0]["reason"]
        alive = next(node["name"] for node in status["nodes"] if node["state"] == "ready")
        home.run("exec", alive, "--", "true")
        refused = home.run("exec", dead[0]["name"], "--", "true", status=4)
        assert "QEMU was killed by SIGKILL" in refused.stderr
        return
    wait_gone(home.processes())
    refused = home.run("exec", "pair/a", "--", "true", status=2)
    expected = "was killed; its machines" if victim == "lab process" else "sandbox"
    assert "lab pair is not up" in refused.stderr
    assert expected in refused.stderr
