"""Which files make a guest the node without netlab around, and which of them win."""

from __future__ import annotations

from netlab import resolve
from netlab.plan.model import FilePlan, Plan
from netlab.proxmox.memory import identity_archive
from netlab.proxmox.persistence import lasting_files, memory_files, system_files
from netlab.topology.load import loads

MINE = "10.9.9.9 mine"
TEXT = f"""\
name: pair
nodes:
  a:
    id: 1
    files: {{/etc/hosts: "{MINE}\\n", /etc/inittab: "::once:/bin/mine\\n", {{}}}}
    run: [echo started]
  b: {{id: 2}}
links: [a -- b]
"""
SYSCTL = "/etc/sysctl.d/90-netlab.conf"


def make_plan(*more: str) -> Plan:
    return resolve(loads(TEXT.replace("{}", ", ".join(more))))


def contents(files: tuple[FilePlan, ...]) -> dict[str, str]:
    """Return what is in a guest when files lie over each other in their order."""
    return {file.path: file.content for file in files}


def test_a_nodes_own_file_wins_over_netlabs() -> None:
    plan = make_plan(f"{SYSCTL}: mine")
    node = plan.nodes[0]
    found = contents(system_files(node, plan.hosts))
    assert found["/etc/hosts"] == f"{MINE}\n"
    assert found[SYSCTL] == "mine"
    assert found["/etc/hostname"] == "a\n"
    assert (
        contents(memory_files(node, plan.hosts, "image's", ran=False))["/etc/hosts"] == f"{MINE}\n"
    )


def test_what_a_guest_of_a_lab_has_is_not_written_again() -> None:
    plan = make_plan(f"{SYSCTL}: mine")
    node = plan.nodes[0]
    placed = contents(lasting_files(node))
    assert not {"/etc/hosts", "/etc/hostname", "/etc/inittab", SYSCTL} & set(placed)
    assert "/etc/systemd/network/10-netlab-0.link" in placed
    ran = contents(memory_files(node, plan.hosts, "image's", ran=True))
    assert set(ran) == {"/etc/inittab", "/usr/lib/netlab/start"}


def test_a_guest_in_memory_starts_as_the_node_and_with_its_own_table() -> None:
    plan = make_plan()
    for ran in (True, False):
        found = contents(memory_files(plan.nodes[0], plan.hosts, "image's", ran=ran))
        assert found["/etc/inittab"].splitlines() == [
            "::sysinit:/bin/sh /usr/lib/netlab/start",
            "::once:/bin/mine",
        ]
        start = found["/usr/lib/netlab/start"]
        assert "/etc/hosts" not in start
        assert "/proc/sys/kernel/hostname a" in start
        assert "echo started" in start
    other = contents(memory_files(plan.nodes[1], plan.hosts, "image's", ran=False))
    assert other["/etc/inittab"].endswith("image's")
    assert "a\n" in other["/etc/hosts"]
    assert MINE.encode() not in identity_archive(plan.nodes[0], plan.hosts, ran=True)
    assert MINE.encode() in identity_archive(plan.nodes[0], plan.hosts, ran=False)
