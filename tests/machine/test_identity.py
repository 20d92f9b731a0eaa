"""The identity script, run by a real shell on a guest made of folders; and what is read back."""

import copy
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.machine.identity import script
from netlab.machine.verify import verify
from netlab.plan.model import HostPlan, InterfacePlan, NodePlan, RoutePlan

MakeNode = Callable[..., NodePlan]
MakeInterface = Callable[..., InterfacePlan]

HOSTS = (
    HostPlan(name="r1", addresses=("192.168.1.1", "2001:db8:1::1")),
    HostPlan(name="r2", addresses=("192.168.1.2",)),
)

_IP = """#!/bin/sh
note() {
    for word in "$@"; do printf '%s\\0' "$word"; done
    printf '\\n\\0'
} >>"$NETLAB_RECORD"
case "$*" in *-batch*)
    set -f
    while read -r line; do [ -z "$line" ] || note $line; done
    ;;
*) note "$@" ;;
esac
"""


class FolderGuest:
    """A guest's /etc, /proc/sys and /sys/class/net as folders, and an `ip` that takes notes."""

    def __init__(self, root: Path, links: dict[str, str]) -> None:
        self.root = root
        for folder in ("etc", "bin", "proc/sys/kernel", "proc/sys/net/ipv4/conf/eth0"):
            (root / folder).mkdir(parents=True)
        (root / "proc/sys/kernel/hostname").write_text("(none)\n")
        (root / "proc/sys/net/ipv4/ip_forward").write_text("0\n")
        (root / "proc/sys/net/ipv4/conf/eth0/rp_filter").write_text("2\n")
        for name, mac in links.items():
            (root / "sys/class/net" / name / "device").mkdir(parents=True)
            (root / "sys/class/net" / name / "address").write_text(mac + "\n")
        (root / "bin/ip").write_text(_IP)
        (root / "bin/ip").chmod(0o755)

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run a script with its absolute paths moved in here."""
        for folder in ("/etc/", "/proc/sys/", "/sys/class/"):
            text = text.replace(folder, f"{self.root}{folder}")
        environment = {
            "PATH": f"{self.root}/bin:{os.environ['PATH']}",
            "NETLAB_RECORD": str(self.root / "record"),
        }
        return subprocess.run(
            ["sh", "-s"],
            input=text,
            capture_output=True,
            text=True,
            env=environment,
            cwd=self.root,
            check=False,
        )

    def commands(self) -> list[list[str]]:
        record = (self.root / "record").read_text()
        return [line.split("\0")[:-1] for line in record.split("\n\0")[:-1]]


def make_router(make_node: MakeNode, make_interface: MakeInterface) -> NodePlan:
    return make_node(
        interfaces=(
            make_interface(0, "eth1", addresses=("192.168.1.1/24", "2001:db8:1::1/64")),
            make_interface(1, "eth0", mtu=9000, addresses=("10.0.0.0/31",)),
        ),
        loopback=("10.255.0.1/32",),
        routes=(
            RoutePlan(to="default", via="192.168.1.254", interface=None),
            RoutePlan(to="2001:db8:9::/48", via="2001:db8:1::9", interface="eth1"),
        ),
    )


def test_a_router_s_script(
    make_node: MakeNode,
    make_interface: MakeInterface,
    check_golden: Callable[[str, str], None],
) -> None:
    check_golden("router.sh", script(make_router(make_node, make_interface), HOSTS))


def test_the_script_sets_what_the_plan_says(
    make_node: MakeNode, make_interface: MakeInterface, tmp_path: Path
) -> None:
    guest = FolderGuest(tmp_path, {"eth0": "52:54:00:00:00:00", "eth1": "52:54:00:00:00:01"})
    done = guest.run(script(make_router(make_node, make_interface), HOSTS))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.split("\n")[0])["hostname"] == "r1"
    assert (tmp_path / "proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
    assert (tmp_path / "proc/sys/net/ipv4/conf/eth0/rp_filter").read_text() == "0\n"
    assert "192.168.1.2 r2\n" in (tmp_path / "etc/hosts").read_text()
    commands = guest.commands()
    # Two that change places: both are out of the way before either takes the other's name.
    assert commands[:6] == [
        ["link", "set", "dev", "eth0", "down"],
        ["link", "set", "dev", "eth0", "name", "netlab-tmp0"],
        ["link", "set", "dev", "eth1", "down"],
        ["link", "set", "dev", "eth1", "name", "netlab-tmp1"],
        ["link", "set", "dev", "netlab-tmp0", "name", "eth1"],
        ["link", "set", "dev", "netlab-tmp1", "name", "eth0"],
    ]
    assert ["address", "replace", "2001:db8:1::1/64", "dev", "eth1", "nodad"] in commands
    assert ["route", "replace", "default", "via", "192.168.1.254"] in commands


def test_an_interface_that_has_its_name_is_not_touched(
    make_node: MakeNode, make_interface: MakeInterface, tmp_path: Path
) -> None:
    guest = FolderGuest(tmp_path, {"eth0": "52:54:00:00:00:00"})
    guest.run(script(make_node(interfaces=(make_interface(0, "eth0"),)), ()))
    assert not any("name" in command for command in guest.commands())


def test_a_failed_step_is_told_and_the_others_are_done(
    make_node: MakeNode, make_interface: MakeInterface, tmp_path: Path
) -> None:
    guest = FolderGuest(tmp_path, {})
    stub = tmp_path / "bin/ip"
    stub.write_text(_IP + '[ "$2" = -j ] || { echo no >&2; exit 2; }\n')
    done = guest.run(script(make_router(make_node, make_interface), HOSTS))
    assert done.returncode == 1
    assert "/ip -force -batch -" in done.stderr
    assert json.loads(done.stdout.split("\n")[0])["ip_forward"] == "1"
    assert ["route", "replace", "default", "via", "192.168.1.254"] in guest.commands()


hostile = st.text(
    st.one_of(st.sampled_from("'\"$`\\;&|<>(){}*?!#~ -"), st.characters(exclude_categories=["C"])),
    min_size=1,
    max_size=15,
).filter(lambda text: "/" not in text)


@given(name=hostile, interface=hostile, address=hostile, host=hostile)
@settings(deadline=None, max_examples=25)
def test_hostile_names_stay_words(name: str, interface: str, address: str, host: str) -> None:
    node = NodePlan(
        name=f"{name}$(touch pwned)",
        id=1,
        id_given=True,
        image="micro",
        arch="x86_64",
        accel="tcg",
        cpus=1,
        memory=64,
        display="none",
        wire="exact",
        uuid="",
        interfaces=(
            InterfacePlan(
                name=interface,
                segment="",
                tap="",
                mac="52:54:00:00:00:00",
                mtu=1500,
                addresses=(address,),
            ),
        ),
        loopback=("`touch pwned`",),
        routes=(RoutePlan(to="'; touch pwned; '", via=None, interface=interface),),
        files=(),
        run=(),
    )
    with TemporaryDirectory(prefix="machine-") as folder:
        guest = FolderGuest(Path(folder), {"ens3": "52:54:00:00:00:00"})
        done = guest.run(script(node, (HostPlan(name=host, addresses=("1.1.1.1",)),)))
        assert done.returncode == 0
        assert not (guest.root / "pwned").exists()
        assert (guest.root / "proc/sys/kernel/hostname").read_text() == node.name + "\n"
        assert f"1.1.1.1 {host}" in (guest.root / "etc/hosts").read_text().split("\n")
        commands = guest.commands()
        assert ["link", "set", "dev", "netlab-tmp0", "name", interface] in commands
        assert ["link", "set", "dev", interface, "up"] in commands
        assert any(command[:3] == ["address", "replace", address] for command in commands)
        assert ["route", "replace", "'; touch pwned; '", "dev", interface] in commands


# Each its own JSON value in the script's output.
OBSERVED: dict[str, Any] = {
    "facts": {"hostname": "r1", "ip_forward": "1"},
    "links": [
        {
            "ifname": "lo",
            "flags": ["LOOPBACK", "UP"],
            "addr_info": [{"local": "10.255.0.1", "prefixlen": 32}],
        },
        {
            "ifname": "eth1",
            "address": "52:54:00:00:00:00",
            "mtu": 1500,
            "flags": ["BROADCAST", "UP", "LOWER_UP"],
            "addr_info": [
                {"local": "192.168.1.1", "prefixlen": 24},
                {"local": "2001:db8:1::1", "prefixlen": 64},
            ],
        },
        {
            "ifname": "eth0",
            "address": "52:54:00:00:00:01",
            "mtu": 9000,
            "flags": ["UP"],
            "addr_info": [{"local": "10.0.0.0", "prefixlen": 31}],
        },
    ],
    "routes": [
        {"dst": "default", "gateway": "192.168.1.254", "dev": "eth1"},
        {"dst": "192.168.1.0/24", "dev": "eth1"},
    ],
    "routes6": [{"dst": "2001:db8:9::/48", "gateway": "2001:db8:1::9", "dev": "eth1"}],
}


def dump(observed: dict[str, Any]) -> str:
    return "\n".join(map(json.dumps, observed.values()))


def test_a_guest_that_is_the_node_has_no_differences(
    make_node: MakeNode, make_interface: MakeInterface
) -> None:
    assert verify(make_router(make_node, make_interface), dump(OBSERVED)) == []


def _change(path: str, value: object) -> dict[str, Any]:
    changed = copy.deepcopy(OBSERVED)
    *parents, last = path.split(".")
    place: Any = changed
    for step in parents:
        place = place[int(step) if step.isdigit() else step]
    place[int(last) if last.isdigit() else last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "difference"),
    [
        ("facts.hostname", "(none)", "its name is '(none)'"),
        ("facts.ip_forward", "0", "it does not forward IPv4"),
        ("links.1.ifname", "ens3", "eth1: the interface with its MAC is called ens3"),
        (
            "links.1.address",
            "aa:aa:aa:aa:aa:aa",
            "eth1: no interface has the MAC 52:54:00:00:00:00",
        ),
        ("links.2.mtu", 1500, "eth0: the MTU is 1500, not 9000"),
        ("links.2.flags", [], "eth0: it is down"),
        ("links.2.flags", 7, "eth0: it is down"),
        ("links.2.addr_info", [], "eth0: the address 10.0.0.0/31 is missing"),
        ("links.2.addr_info.0.prefixlen", 24, "eth0: the address 10.0.0.0/31 is missing"),
        ("links.1.addr_info.1.tentative", True, "eth1: the address 2001:db8:1::1/64 is missing"),
        ("links.0.addr_info", [], "lo: the address 10.255.0.1/32 is missing"),
        ("routes.0.gateway", "192.168.1.1", "the route to default is missing"),
        ("routes6", [], "the route to 2001:db8:9::/48 is missing"),
    ],
)
def test_each_difference_is_named(
    make_node: MakeNode, make_interface: MakeInterface, path: str, value: object, difference: str
) -> None:
    observed = dump(_change(path, value))
    assert verify(make_router(make_node, make_interface), observed) == [difference]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "sh: ip: not found",
        "{}",
        '{"hostname": 7} [1] 7',
        "{} [[",
        "[" * 100_000,
        "7 " * 1_000_000,
    ],
)
def test_what_is_no_answer_is_a_difference_and_no_traceback(
    make_node: MakeNode, make_interface: MakeInterface, text: str
) -> None:
    assert verify(make_router(make_node, make_interface), text)
