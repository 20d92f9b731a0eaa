"""What guests are given, seen from inside them: names, MTUs, a console."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.conftest import Home
from tests.lab.terminals import open_on_terminal

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


def test_the_console_is_a_terminal_that_ctrl_bracket_leaves(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    with open_on_terminal(home, "console", "a") as console:
        # Typed before the console is there, and not lost.
        console.type(b"\recho typed-$((40 + 2))\r")
        console.read_until(b"typed-42")
        # Ctrl-C is the guest's: it ends what runs there, and not us. One program prints and sleeps:
        # between two commands the shell itself would be what Ctrl-C is for.
        console.type(b"sh -c 'echo begun-$((1 + 0)); exec sleep 1000'\r")
        console.read_until(b"begun-1")
        console.type(b"\x03")
        console.type(b"echo still-$((1 + 1))\r")
        console.read_until(b"still-2")
        console.type(b"\x1d")
        assert console.wait(20)[0] == 0
        assert console.is_restored()


def test_a_console_whose_machine_ends_says_so(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    with open_on_terminal(home, "console", "a") as console:
        console.type(b"\r")
        console.read_until(b"# ")
        console.type(b"poweroff\r")
        status, told = console.wait()
        assert status == 4
        assert "a: the machine has ended" in told
        assert console.is_restored()
    while home.status("--name", "pair")["nodes"][0]["state"] == "ready":
        pass
    refused = home.run("exec", "a", "--", "true", status=4)
    assert "a is stopped: powered off" in refused.stderr
