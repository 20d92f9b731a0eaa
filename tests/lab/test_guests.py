"""What guests are given, seen from inside them: names, MTUs, a console."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.conftest import NETLAB, Home

pytestmark = pytest.mark.machines

NAMES = """\
name: names
nodes:
  a:
    id: 1
    vlans: [1, 2]
    interfaces:
      enp0s3: {vlan: 4, assign_ip: true}
      fifteen-bytes-x: {vlan: 3, addresses: 192.168.3.200/24}
      "it's$x": {vlan: 3}
  b: {id: 2, vlans: [1]}
links:
  - {endpoints: [a:jumbo, b:jumbo], mtu: 9000}
  - a:uplink -- b:core
"""


def test_names_orders_and_mtus_are_those_of_the_file(home: Home, tmp_path: Path) -> None:
    topology = tmp_path / "names.yaml"
    topology.write_text(NAMES)
    home.run("up", str(topology))
    shown = home.run("exec", "a", "--", "sh", "-c", "ls /sys/class/net").stdout.split()
    assert set(shown) == {
        "lo", "eth1", "eth2", "enp0s3", "fifteen-bytes-x", "it's$x", "jumbo", "uplink",
    }  # fmt: skip
    home.run("exec", "a", "--", "ping", "-c1", "-W2", "-M", "do", "-s", "8972", "-I", "jumbo", "b")
    home.run("exec", "b", "--", "ip", "link", "show", "core")
    home.run("exec", "b", "--", "ping", "-c1", "-W2", "192.168.1.1")
    status = home.status("--name", "names")
    order = [interface["name"] for interface in status["nodes"][0]["interfaces"]]
    assert order == ["eth1", "eth2", "enp0s3", "fifteen-bytes-x", "it's$x", "jumbo", "uplink"]


def read_until(terminal: int, wanted: bytes, seconds: float = 20) -> bytes:
    deadline = time.monotonic() + seconds
    seen = b""
    while wanted not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, seen
        seen += os.read(terminal, 4096)
    return seen


@contextmanager
def open_console(home: Home) -> Generator[tuple[int, subprocess.Popen[str]]]:
    """Run `netlab console a` on a terminal; ended whatever happens."""
    ours, theirs = pty.openpty()
    console = subprocess.Popen(
        [*NETLAB, "console", "a"],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=home.environment,
        start_new_session=True,
        text=True,
    )
    os.close(theirs)
    try:
        yield ours, console
    finally:
        console.kill()
        console.communicate()
        os.close(ours)


def test_the_console_is_a_terminal_that_ctrl_bracket_leaves(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    with open_console(home) as (terminal, console):
        # Typed before the console is there, and not lost.
        os.write(terminal, b"\recho typed-$((40 + 2))\r")
        read_until(terminal, b"typed-42")
        # Ctrl-C is the guest's: it ends what runs there, and not us.
        os.write(terminal, b"echo begun-$((1 + 0)); sleep 1000\r")
        read_until(terminal, b"begun-1")
        os.write(terminal, b"\x03")
        os.write(terminal, b"echo still-$((1 + 1))\r")
        read_until(terminal, b"still-2")
        os.write(terminal, b"\x1d")
        assert console.wait(20) == 0


def test_a_console_whose_machine_ends_says_so(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    with open_console(home) as (terminal, console):
        os.write(terminal, b"\r")
        read_until(terminal, b"# ")
        os.write(terminal, b"poweroff\r")
        assert console.wait(30) == 4
        assert console.stderr is not None
        assert "a: the machine has ended" in console.stderr.read()
    while home.status("--name", "pair")["nodes"][0]["state"] == "ready":
        pass
    refused = home.run("exec", "a", "--", "true", status=4)
    assert "a is stopped: powered off" in refused.stderr
