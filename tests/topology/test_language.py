"""What the language means, one rule a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from netlab.errors import TopologyError
from netlab.plan.model import NodePlan, Plan
from netlab.plan.resolve import resolve
from netlab.topology import ranges
from netlab.topology.load import load, loads, read_name
from netlab.topology.model import Node, Topology


def plan(text: str, **variables: str) -> Plan:
    return resolve(loads(text, variables=variables))


def interfaces(node: NodePlan) -> dict[str, tuple[str, ...]]:
    return {interface.name: interface.addresses for interface in node.interfaces}


def test_vlans_come_first_then_explicit_interfaces_then_links() -> None:
    node = plan(
        "name: a\nnodes:\n"
        "  r: {interfaces: {up: {vlan: 3}, eth1: {vlan: 1}}, vlans: [2, 1]}\n  s:\n"
        "links: [r -- s, r:x -- s]\n"
    ).node("r")
    assert [(one.name, one.segment) for one in node.interfaces] == [
        ("eth2", "vlan2"),
        ("eth3", "vlan1"),
        ("up", "vlan3"),
        ("eth1", "vlan1"),
        ("eth4", "r:eth4--s:eth1"),
        ("x", "r:x--s:eth2"),
    ]


def test_no_interface_appears_that_nobody_asked_for() -> None:
    result = plan("name: a\nnodes: {r: , s: {interfaces: {x: {vlan: 1}}}}\n")
    assert result.node("r").interfaces == ()
    assert [one.name for one in result.node("s").interfaces] == ["x"]
    assert result.node("s").interfaces[0].addresses == ()


def test_a_setting_of_the_node_wins_over_later_groups_over_earlier_ones_over_defaults() -> None:
    text = (
        "name: a\ndefaults: {memory: 150, cpus: 1, mtu: 1401, run: [d]}\n"
        "groups: {g: {memory: 200, cpus: 2, mtu: 1402}, h: {memory: 300, cpus: 3}}\n"
        "nodes: {r: {groups: [h, g], memory: 400}, s: {groups: [g, h], run: []}, t: }\n"
    )
    nodes = plan(text).nodes
    assert [(node.memory, node.cpus, node.run) for node in nodes] == [
        (400, 2, ("d",)),
        (300, 3, ()),
        (150, 1, ("d",)),
    ]


def test_files_are_merged_by_path_and_other_lists_replaced() -> None:
    text = (
        "name: a\ndefaults: {files: {/a: default, /b: default}}\n"
        "nodes: {r: {files: {/b: {text: node, mode: 0755}, /c: node}}}\n"
    )
    files = plan(text).node("r").files
    assert [(file.path, file.content, file.mode) for file in files] == [
        ("/a", "default", 0o644),
        ("/b", "node", 0o755),
        ("/c", "node", 0o644),
    ]


def test_scalars_are_what_is_written_and_not_what_yaml_makes_of_them() -> None:
    result = plan(
        "name: on\nnodes:\n  no: {files: {/a: 52:54:00:12:34:56, /b: 1.10, /c: 010, /d: yes}}\n"
    )
    assert result.lab == "on"
    assert result.nodes[0].name == "no"
    contents = [file.content for file in result.nodes[0].files]
    assert contents == ["52:54:00:12:34:56", "1.10", "010", "yes"]


@pytest.mark.parametrize(
    ("text", "mebibytes"), [("128", 128), ("128 MiB", 128), ("1 GiB", 1024), ("2GiB", 2048)]
)
def test_memory_is_mebibytes_unless_it_says_otherwise(text: str, mebibytes: int) -> None:
    assert plan(f"name: a\nnodes: {{r: {{memory: {text}}}}}\n").nodes[0].memory == mebibytes


def test_variables_are_filled_from_the_command_line_then_the_file_then_the_default() -> None:
    text = (
        "name: a\nvars: {one: file, two: file}\n"
        "nodes: {r: {run: ['${one} ${two} ${three:-default} $${four} $five ${six:-}.']}}\n"
    )
    assert plan(text, one="line").nodes[0].run == ("line file default ${four} $five .",)


def test_variables_are_not_looked_for_in_keys_in_vars_or_in_files_beside(tmp_path: Path) -> None:
    (tmp_path / "beside").write_text("${x}")
    (tmp_path / "a.yaml").write_text(
        "name: a\nvars: {x: '${y}'}\nnodes: {r: {files: {'/${x}': '${x}', /b: {from: beside}}}}\n"
    )
    files = resolve(load(tmp_path / "a.yaml")).nodes[0].files
    assert [(file.path, file.content) for file in files] == [("/${x}", "${y}"), ("/b", "${x}")]


def test_the_environment_fills_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("image", "micro")
    with pytest.raises(TopologyError, match='the variable "image" has no value'):
        plan("name: a\nnodes: {r: {image: '${image}'}}\n")


def test_files_are_found_beside_the_topology_and_above_it(tmp_path: Path) -> None:
    folder = tmp_path / "labs"
    folder.mkdir()
    (tmp_path / "shared").write_bytes(b"\xff\0")
    (folder / "a.yaml").write_text("name: a\nnodes: {r: {files: {/x: {from: ../shared}}}}\n")
    (file,) = resolve(load(folder / "a.yaml")).nodes[0].files
    assert (file.encoding, file.content) == ("base64", "/wA=")


def test_an_id_on_a_range_counts_on() -> None:
    nodes = plan('name: a\nnodes: {x: {id: 2}, "r[1-3]": {id: 11}}\n').nodes
    assert [(node.name, node.id, node.id_given) for node in nodes] == [
        ("x", 2, True),
        ("r1", 11, True),
        ("r2", 12, True),
        ("r3", 13, True),
    ]


def test_nodes_without_an_id_are_warned_of_once_and_briefly() -> None:
    warnings = plan('name: a\nnodes: {"r[1-6]": , web: , db: {id: 8}}\n').warnings
    assert len(warnings) == 1
    assert warnings[0].startswith("r[1-6], web have no id: ")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("ring", ["a1-a2", "a2-a3", "a3-a4", "a4-a1"]),
        ("line", ["a1-a2", "a2-a3", "a3-a4"]),
        ("star", ["a1-a2", "a1-a3", "a1-a4"]),
        ("mesh", ["a1-a2", "a1-a3", "a1-a4", "a2-a3", "a2-a4", "a3-a4"]),
    ],
)
def test_a_rule_makes_its_links(rule: str, expected: list[str]) -> None:
    segments = plan(f'name: a\nnodes: {{"a[1-4]": }}\nlinks: [{rule}: "a[1-4]"]\n').segments
    ends = [[end.split(":")[0] for end in segment.name.split("--")] for segment in segments]
    assert ["-".join(end) for end in ends] == expected


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("r1", ["r1"]),
        ("r[1-3]", ["r1", "r2", "r3"]),
        ("r[08-11]", ["r08", "r09", "r10", "r11"]),
        ("r[1,3,a]x", ["r1x", "r3x", "rax"]),
        ("p[1-2]r[1,5-6]", ["p1r1", "p1r5", "p1r6", "p2r1", "p2r5", "p2r6"]),
    ],
)
def test_a_range_is_written_out(pattern: str, names: list[str]) -> None:
    assert list(ranges.expand(pattern)) == names
    assert ranges.count(pattern) == len(names)


def test_names_are_told_compactly() -> None:
    assert (
        ranges.compact(["r1", "r2", "r3", "web", "s9", "s10", "s07"]) == "r[1-3], web, s[9-10], s07"
    )


def test_a_link_of_two_draws_by_its_ids_whatever_its_place_and_direction() -> None:
    head = "name: a\nnodes: {r: {id: 3}, s: {id: 7}, t: {id: 1}}\nlinks:\n"
    one = plan(f"{head}  - r:x -- s:y\n  - s -- t\n")
    other = plan(f"{head}  - s -- t\n  - s:y -- r:x\n")
    assert interfaces(one.node("r"))["x"] == interfaces(other.node("r"))["x"]
    assert interfaces(one.node("r"))["x"] == ("10.0.0.34/31", "2001:db8:8000:11::1/64")
    assert interfaces(one.node("s"))["y"] == ("10.0.0.35/31", "2001:db8:8000:11::2/64")
    bridges = {segment.bridge for segment in one.segments}
    assert bridges == {segment.bridge for segment in other.segments}


def test_every_pair_of_4096_ids_has_room_in_the_default_pool() -> None:
    text = (
        "name: a\nnodes: {r: {id: 4095}, s: {id: 4096}, t: {id: 1}, u: {id: 2}}\n"
        "links: [r -- s, t -- u, t -- u, r -- t]\n"
    )
    result = plan(text)
    assert interfaces(result.node("r"))["eth1"][0] == "10.255.239.254/31"
    assert interfaces(result.node("t"))["eth2"][0] == "10.255.255.254/31"


def test_links_and_nodes_may_have_no_automatic_addresses() -> None:
    result = plan("name: a\naddressing: {p2p: none}\nnodes: {r: , s: }\nlinks: [r -- s]\n")
    assert interfaces(result.node("r")) == {"eth1": ()}
    result = plan(
        "name: a\nnodes: {r: , s: }\n"
        "links: [{endpoints: [r, {node: s, addresses: none}]}, {line: [r, s], addresses: none}]\n"
    )
    assert interfaces(result.node("r")) == {
        "eth1": ("10.0.0.0/31", "2001:db8:8000::1/64"),
        "eth2": (),
    }
    assert interfaces(result.node("s")) == {"eth1": (), "eth2": ()}


def test_hosts_are_loopbacks_where_there_are_and_interfaces_otherwise_v4_first() -> None:
    text = (
        "name: a\nnodes: {r: {loopback: true, vlans: 1}, s: {vlans: 1}, "
        "t: {interfaces: {x: {vlan: 1, addresses: "
        "['2001:db8:1::9/64', 'fe80::9/64', 192.168.1.9/24]}}}}\n"
    )
    hosts = {host.name: host.addresses for host in plan(text).hosts}
    assert hosts == {
        "r": ("172.16.0.1", "2001:db8:7fff::1"),
        "s": ("192.168.1.2", "2001:db8:1::2"),
        "t": ("192.168.1.9", "2001:db8:1::9"),
    }


def test_an_address_on_two_segments_is_a_warning_and_not_a_mistake() -> None:
    result = plan(
        "name: a\nnodes: {r: {id: 1, loopback: 10.9.9.9}, s: {id: 2, loopback: 10.9.9.9}}\n"
    )
    assert result.warnings == ("10.9.9.9 is used more than once: r:lo, s:lo",)


def test_the_mtu_that_is_nearest_to_the_interface_wins() -> None:
    result = plan(
        "name: a\ndefaults: {mtu: 1400}\nnodes: {r: {mtu: 1450}, s: , "
        "t: {interfaces: {x: {vlan: 1, mtu: 2000}}, vlans: 1}}\n"
        "links: [r -- s, {endpoints: [r, {node: s, mtu: 1300}], mtu: 9000}]\n"
    )
    assert [one.mtu for one in result.node("r").interfaces] == [1450, 9000]
    assert [one.mtu for one in result.node("s").interfaces] == [1400, 1300]
    assert [(segment.name, segment.mtu) for segment in result.segments] == [
        ("vlan1", 2000),
        ("r:eth1--s:eth1", 1450),
        ("r:eth2--s:eth2", 9000),
    ]


def test_another_name_for_the_lab_changes_what_the_host_sees_and_not_the_addresses() -> None:
    topology = loads("name: a\nnodes: {r: {vlans: 1}}\n")
    one, other = resolve(topology), resolve(topology, lab="b")
    assert (one.lab, other.lab, other.topology) == ("a", "b", "a")
    first, second = one.nodes[0].interfaces[0], other.nodes[0].interfaces[0]
    assert first.mac != second.mac
    assert one.nodes[0].uuid != other.nodes[0].uuid
    assert first.addresses == second.addresses


def test_a_topology_can_be_written_in_python() -> None:
    result = resolve(Topology(name="a", nodes={"r": Node(vlans=(1,))}))
    assert interfaces(result.nodes[0]) == {"eth1": ("192.168.1.1/24", "2001:db8:1::1/64")}


def test_mistakes_of_a_topology_without_text_say_where_by_path() -> None:
    with pytest.raises(TopologyError) as caught:
        resolve(Topology(name="a", nodes={"r": Node(image="x")}))
    assert (
        str(caught.value)
        == '<topology>: nodes.r.image: the image "x" is not known (there is micro, debian, or none)'
    )


def test_a_mark_at_the_start_of_the_file_and_carriage_returns_are_no_part_of_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfname: a\r\nnodes: {r: }\r\n")
    assert resolve(load(tmp_path / "a.yaml")).lab == "a"


def test_a_default_takes_the_place_of_an_empty_value() -> None:
    text = "name: a\nvars: {m: ''}\nnodes: {a: {memory: '${m:-192}'}}\n"
    assert plan(text).nodes[0].memory == 192


def test_loopback_none_is_no_loopback() -> None:
    text = "name: a\ndefaults: {loopback: true}\nnodes: {a: {id: 1, loopback: none}}\n"
    assert plan(text).nodes[0].loopback == ()


def test_a_labs_name_is_read_although_the_rest_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: lab${n:-1}\nnodes: {a: {memori: 1, run: ['${unset}']}}\n")
    assert read_name(path) == "lab1"
    path.write_text("nodes: {}\n")
    with pytest.raises(TopologyError, match="gives its lab no name"):
        read_name(path)
    path.write_text("name: Not A Name\n")
    with pytest.raises(TopologyError, match=r"a\.yaml:1:7: name: "):
        read_name(path)


def machine_with(strings: int, length: int, more: str = "") -> str:
    texts = ", ".join(f"{number:0{length}}" for number in range(strings))
    return f"name: a\nnodes:\n  a:\n    smbios: {{oem_strings: [{texts}]}}\n{more}"


def test_the_strings_of_smbios_are_bounded_together() -> None:
    secret = "    credentials: {key: x}\n"
    credential = len("io.systemd.credential.binary:key=eA==") + 1
    for text in (machine_with(255, 223), machine_with(254, 223, secret)):
        plan(text)
    with pytest.raises(TopologyError) as caught:
        plan(machine_with(256, 1024))
    assert [str(mistake).partition(": ")[2] for mistake in caught.value.mistakes] == [
        "nodes.a.smbios.oem_strings: 262400 bytes of OEM strings have no room in SMBIOS (at most"
        " 57344 bytes, each with its end; use files for more)",
        "nodes.a.smbios.oem_strings: SMBIOS cannot count 256 OEM strings (at most 255; use files"
        " for more)",
    ]
    with pytest.raises(TopologyError, match="cannot count 256 OEM strings and credentials"):
        plan(machine_with(255, 3, secret))
    with pytest.raises(TopologyError, match=f"{57344 + credential} bytes of OEM strings and"):
        plan(machine_with(56, 1023, secret))


def test_nothing_behind_a_key_is_the_same_as_leaving_it_out() -> None:
    interface = "{vlan: 1, assign_ip: , addresses: , mtu: , mac: }"
    disk = "{size: 1 GiB, bus: , serial: , discard: , read_only: , persist: , file: }"
    share = "{source: x, target: /srv/x, writable: , shadow: , driver: , tag: }"
    end = "{node: b, interface: , addresses: , mtu: , mac: }"
    given = f"""
        name: a
        nodes:
          a:
            id: 1
            groups:
            interfaces: {{x: {interface}}}
            disks: [{disk}]
            shares: [{share}]
            files: {{/etc/a: {{text: x, mode: }}}}
            smbios: {{serial: x, oem_strings: }}
          b: {{id: 2}}
        links: [{{endpoints: [a, {end}], addresses: , mtu: }}]
    """
    left_out = """
        name: a
        nodes:
          a:
            id: 1
            interfaces: {x: {vlan: 1}}
            disks: [{size: 1 GiB}]
            shares: [{source: x, target: /srv/x}]
            files: {/etc/a: x}
            smbios: {serial: x}
          b: {id: 2}
        links: [{endpoints: [a, b]}]
    """
    assert resolve(loads(given)) == resolve(loads(left_out))
