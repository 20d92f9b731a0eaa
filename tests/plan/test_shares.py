"""Which source a path of a guest has: the share, or what is there already."""

from __future__ import annotations

import pytest

from netlab.plan.resolve import resolve
from netlab.plan.snapshots import snapshot_obstacles
from netlab.topology.load import loads
from netlab.topology.source import Mistakes

DISK = "arch: x86_64, disk: {file: a.raw, format: raw}"
NODES = {
    "micro": "image: micro",
    "micro over the network": "vlans: 1, boot: network",
    "debian": "image: debian",
    "debian by its loader": "image: debian, boot: disk",
    "a disk": f"image: none, {DISK}",
}
WHOLE = [*NODES][1:]
CARRIED = ["/opt", "/opt/tools", "/usr/share/doc", "/var/lib/x", "/home/a", "/nix/store", "/etc/x"]
FREE = ["/mnt", "/mnt/x", "/media/x", "/srv", "/tmp/x", "/run/x", "/data", "/optional", "/x/usr"]


def provider(node: str, target: str, more: str = "") -> str:
    share = f"shares: {{source: ., target: {target}{more}}}"
    plan = resolve(loads(f"name: a\nnodes: {{a: {{id: 1, {NODES[node]}, {share}}}}}\n"))
    [planned] = plan.node("a").shares
    # A share that is off is no obstacle, and the only one that is warned of.
    assert planned.on == bool(snapshot_obstacles(plan.node("a"))) == (not plan.warnings)
    return planned.provided_by


@pytest.mark.parametrize("node", NODES)
def test_a_system_that_is_whole_keeps_its_paths_unless_a_share_says_shadow(node: str) -> None:
    kept = "image" if node in WHOLE else "share"
    assert {provider(node, target) for target in CARRIED} == {kept}
    assert {provider(node, target, ", shadow: true") for target in CARRIED} == {"share"}
    assert {provider(node, target) for target in FREE} == {"share"}


def test_a_share_that_is_off_is_told_once_with_its_place_and_what_forces_it() -> None:
    text = """\
name: a
groups:
  tools: {shares: [./a:/mnt/a, ./b:/opt/b]}
nodes:
  "r[1-3]": {id: 1, image: debian, groups: tools}
  m: {id: 9, groups: tools}
"""
    topology = loads(text, name="a.yaml")
    placed = Mistakes(topology.source)
    plan = resolve(topology, placed=placed)
    [warning] = placed.all()
    assert str(warning) == (
        'a.yaml:3:32: groups.tools.shares[1]: the share at "/opt/b" is off for r[1-3]: the system '
        "on its disk has that path itself (shadow: true has the share instead)"
    )
    assert plan.warnings == (warning.text,)
    assert [share.on for share in plan.node("r1").shares] == [True, False]
    assert [share.on for share in plan.node("m").shares] == [True, True]


def test_shares_of_the_nearest_replace_the_others() -> None:
    text = """\
name: a
defaults: {shares: ./a:/mnt/a}
nodes: {x: {shares: [./b:/mnt/b]}, y: , z: {shares: []}}
"""
    plan = resolve(loads(text))
    assert [[each.source for each in node.shares] for node in plan.nodes] == [["./b"], ["./a"], []]


def test_drivers_are_those_that_the_image_has_in_their_order() -> None:
    def drivers(node: str, more: str = "") -> tuple[str, ...]:
        share = f"shares: {{source: ., target: /mnt{more}}}"
        plan = resolve(loads(f"name: a\nnodes: {{a: {{{NODES[node]}, {share}}}}}\n"))
        return plan.node("a").shares[0].drivers

    assert drivers("micro") == drivers("debian") == ("virtiofs",)
    assert drivers("a disk") == ("virtiofs", "9p")
    assert drivers("a disk", ", driver: 9p") == ("9p",)


def test_what_keeps_a_node_from_being_saved_names_each_share() -> None:
    text = "name: a\nnodes: {a: {shares: [a:/mnt/a, b:/mnt/b]}, b: }\n"
    plan = resolve(loads(text))
    assert snapshot_obstacles(plan.node("a")) == ("the share at /mnt/a", "the share at /mnt/b")
    assert snapshot_obstacles(plan.node("b")) == ()
