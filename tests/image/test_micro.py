"""The micro image as a guest: booted, looked at, and told to go."""

from __future__ import annotations

from collections.abc import Generator

import pytest
import trio

from netlab.image.store import Image, Store, open_store
from tests.image.guest import LIMIT, Guest, open_guest

# One guest is for all of them.
pytestmark = [pytest.mark.machines, pytest.mark.xdist_group("micro")]

MODULES = (
    "8021q", "bonding", "br_netfilter", "bridge", "dummy", "ifb", "ip6_gre", "ip_gre", "ipip",
    "ipvlan", "macvlan", "mpls_iptunnel", "mpls_router", "nf_conntrack", "nf_nat", "nf_tables",
    "sch_htb", "sch_netem", "sch_tbf", "sit", "tun", "veth", "vrf", "vxlan", "wireguard",
)  # fmt: skip

PROGRAMS = {
    "arping -V": "iputils",
    "bird --version": "BIRD version 2",
    "bridge -V": "bridge utility",
    "ethtool --version": "ethtool version",
    "ip -V": "iproute2",
    "iperf3 --version": "iperf 3",
    "nft --version": "nftables",
    "ping -V": "iputils",
    "qemu-ga --version": "QEMU Guest Agent",
    "ss -V": "iproute2",
    "tc -V": "iproute2",
    "tcpdump --version": "libpcap version",
    "traceroute --version": "Modern traceroute",
}


@pytest.fixture(scope="module")
def micro() -> Image:
    """The user's own micro image: built if it is not there, as `netlab up` would."""
    return trio.run(open_store().ensure, "micro")


@pytest.fixture(scope="module")
def guest(micro: Image) -> Generator[Guest]:
    """One machine for all tests that leave it as it was."""
    with open_guest(micro) as running:
        running.sync()
        yield running


def test_the_root_is_in_ram_and_not_for_everybody_to_write(guest: Guest) -> None:
    assert guest.run("stat -c '%a %U' /; sed -n 's, / , ,p' /proc/mounts").splitlines() == [
        "755 root",
        "rootfs rootfs rw 0 0",
    ]
    assert guest.run("stat -c '%a %n' /tmp /root /run /dev/shm").splitlines() == [
        "1777 /tmp", "700 /root", "755 /run", "1777 /dev/shm",
    ]  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_a_module_loads(guest: Guest, module: str) -> None:
    guest.run(f"modprobe {module} && test -d /sys/module/{module}")


def test_what_is_built_into_the_kernel_is_no_module_that_is_missing(guest: Guest) -> None:
    guest.run("modprobe ext4")
    assert guest.attempt("modprobe no_such_module")[0] != 0


@pytest.mark.parametrize("command", PROGRAMS)
def test_a_program_runs_and_is_no_applet(guest: Guest, command: str) -> None:
    assert PROGRAMS[command] in guest.attempt(command)[1]


def test_all_kinds_of_interfaces_can_be_made(guest: Guest) -> None:
    guest.run("""
        set -e
        ip link add d0 type dummy
        ip link add b0 type bridge vlan_filtering 1
        ip link set d0 master b0 up
        bridge vlan add vid 7 dev d0
        ip link add link d0 name d0.5 type vlan id 5
        ip link add v0 type vrf table 10
        ip link add x0 type vxlan id 5 dstport 4789 dev d0
        ip link add w0 type wireguard
        ip link add p0 type veth peer name p1
        ip link add m0 link p0 type macvlan
        ip link add bond7 type bond
        ip link add g0 type gre local 10.0.0.1 remote 10.0.0.2
        ip link add i0 type ifb
        ip -6 route add 2001:db8::/64 dev lo
        tc qdisc add dev p0 root handle 1: netem delay 10ms 1ms distribution normal loss 1%
        tc qdisc add dev p1 root tbf rate 1mbit burst 32kbit latency 400ms
        tc qdisc add dev d0 root fq_codel
        modprobe tun
        ip tuntap add t0 mode tap
        nft add table inet t
        nft add chain inet t c '{ type filter hook input priority 0; }'
        nft add rule inet t c ct state established counter accept
        for name in d0.5 v0 x0 w0 m0 bond7 g0 i0 t0 b0 d0 p0; do ip link del $name; done
        nft delete table inet t
    """)


def test_ping_knows_both_families_and_its_limits(guest: Guest) -> None:
    assert "1 received" in guest.run("ping -c 1 -W 2 127.0.0.1")
    assert "1 received" in guest.run("ping -6 -c 1 -W 2 ::1")
    assert "1 received" in guest.run("ping -c 1 -W 2 $(cat /etc/hostname)0 || ping -c 1 localhost")


BIRD = """
router id 10.0.0.1;
protocol device {}
protocol kernel { ipv4 { export all; }; }
protocol static { ipv4; route 198.51.100.0/24 blackhole; }
"""


def test_a_routing_daemon_routes(guest: Guest) -> None:
    guest.run(f"echo '{BIRD}' >/etc/bird/bird.conf; bird")
    assert "Daemon is up and running" in guest.run("birdc show status")
    guest.run("until ip route | grep 198.51.100; do birdc show route; done")
    guest.run("birdc down; rm /etc/bird/bird.conf")


def test_packets_are_captured_and_measured(guest: Guest) -> None:
    text = guest.run("""
        iperf3 -s -1 -D
        tcpdump -i lo -c 4 -w /tmp/lo.pcap tcp port 5201 & capture=$!
        until iperf3 -c 127.0.0.1 -n 100K >/tmp/iperf; do :; done
        wait $capture
        tcpdump -r /tmp/lo.pcap | wc -l
        rm /tmp/lo.pcap
    """)
    assert "\n4\n" in text


def test_a_program_of_the_users_own_is_found_and_wins(guest: Guest) -> None:
    make = "mkdir -p /usr/local/bin; printf '#!/bin/sh\\necho own' >/usr/local/bin/tac"
    guest.run(f"{make}; chmod +x /usr/local/bin/tac")
    assert guest.run("env tac; . /etc/profile; env tac; rm -r /usr/local") == "own\nown\n"


def test_every_applet_has_its_link(guest: Guest) -> None:
    assert guest.run("for name in $(busybox --list); do type $name; done | grep found || :") == ""


def test_nothing_is_left_of_programs_whose_parents_have_gone(guest: Guest) -> None:
    guest.run("for number in 1 2 3 4 5; do (sleep 0 & ) ; done")
    guest.run("until ! grep -l '^State:.Z' /proc/[0-9]*/status; do :; done")


def test_names_and_users_are_known(guest: Guest) -> None:
    assert guest.run("id -un; hostname; id -u bird tcpdump 2>&1 | wc -l").split()[:2] == [
        "root",
        "micro",
    ]
    assert "localhost" in guest.run("getent hosts ::1 || cat /etc/hosts")


def test_the_clock_can_be_set(guest: Guest) -> None:
    guest.call("guest-set-time", time=2_000_000_000 * 10**9)
    assert guest.run("date -u +%Y-%m; hwclock -u -r").startswith("2033-05\nWed May 18")


def test_interfaces_of_the_machine_are_there_when_the_agent_is(guest: Guest) -> None:
    assert "eth0" in guest.run("ls /sys/class/net")
    assert "LOWER_UP" in guest.run("ip link show lo")


def test_the_console_is_a_shell_with_job_control(guest: Guest) -> None:
    assert guest.wait_console("netlab: init")
    guest.console.sendall(b"echo $((6 * 7))-$(tty)\n")
    assert guest.wait_console(r"42-\S+\r") == "42-/dev/ttyS0\r"


def test_memory_is_left_for_work(guest: Guest) -> None:
    available = int(guest.run("awk '/MemAvailable/ { print $2 }' /proc/meminfo"))
    assert available > 24 << 10


def test_there_is_room_below_the_usual_memory(micro: Image) -> None:
    """While it is unpacked, the image is there twice: a kernel that grows must not tip it over."""
    with open_guest(micro, memory=120) as guest:
        guest.sync()


def test_a_killed_agent_comes_back(micro: Image) -> None:
    with open_guest(micro) as guest:
        guest.sync()
        # From the console: an agent that is killed by its own command may take the answer with it.
        guest.console.sendall(b"killall -9 qemu-ga; echo killed-$?\n")
        guest.wait_console(r"killed-0\r")
        guest.sync()
        assert guest.run("cat /etc/hostname") == "micro\n"


@pytest.mark.parametrize("mode", ["powerdown", "reboot"])
def test_the_agent_ends_the_machine(micro: Image, mode: str) -> None:
    with open_guest(micro) as guest:
        guest.sync()
        guest.send("guest-shutdown", mode=mode)
        assert guest.process.wait(LIMIT) == 0


def test_a_shell_ends_the_machine_too(micro: Image) -> None:
    with open_guest(micro) as guest:
        guest.wait_console("# ")
        guest.console.sendall(b"poweroff\n")
        assert guest.process.wait(LIMIT) == 0


def test_the_store_finds_it_in_milliseconds(micro: Image) -> None:
    assert isinstance(open_store(), Store)
    assert trio.run(open_store().ensure, "micro") == micro
