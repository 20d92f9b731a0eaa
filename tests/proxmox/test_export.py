"""Nodes as machines on Proxmox."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.errors import ConfigurationError, UsageError
from netlab.plan.model import Plan
from netlab.plan.resolve import resolve
from netlab.proxmox.configuration import parse, parse_properties, write
from netlab.proxmox.export import Disk, EfiVariables, ExportOptions, configure, write_size
from netlab.proxmox.exporting import Request
from netlab.proxmox.leftovers import left_out
from netlab.proxmox.machine_request import check_export
from netlab.proxmox.networks import Network, assign_networks, parse_mapping
from netlab.proxmox.recipe import Member, write_manifest, write_recipe
from netlab.topology.load import loads
from tests.plan.conftest import Lab, labs
from tests.proxmox.facts import RESTORED_DRIVE, RESTORED_MAP, broken_rules
from tests.proxmox.plans import pair, wide

GOLDEN = Path(__file__).parent / "golden"
DISK = Disk(drive="scsi0", size=3 << 30, serial="a 0")
OPTIONS = ExportOptions(vmid=9001, disks=(DISK,))


def mistakes(plan: Plan, options: ExportOptions) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        configure(plan, plan.nodes[0], options)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("name", "node", "options"),
    [
        ("bios", "a", OPTIONS),
        (
            "efi",
            "b",
            ExportOptions(
                vmid=100,
                disks=(Disk(drive="virtio0", size=1000), Disk(drive="sata5", size=1 << 40)),
                efi=EfiVariables(size=540_672, enrolled=True),
                storage="tank",
                mapping=(("vlan7", Network("lan7")), ("a:up--b:down", Network("vmbr9", 5))),
                unplugged=frozenset({"lan"}),
                description="notes: 100 %\n\nläuft",
                tags=("Blue", "a"),
            ),
        ),
    ],
)
def test_a_node_gives_the_configuration_that_is_written_down(
    name: str, node: str, options: ExportOptions, golden: Callable[[Path, str], None]
) -> None:
    plan = pair()
    configuration = configure(plan, plan.node(node), options)
    text = write(configuration)
    golden(GOLDEN / f"{name}.conf", text)
    assert parse(text) == configuration


@given(labs(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_node_that_is_exported_keeps_every_rule_of_proxmox(lab: Lab, uefi: bool) -> None:
    plan = lab.plan()
    efi = EfiVariables(size=540_672) if uefi else None
    for node in plan.nodes:
        configuration = configure(plan, node, replace(OPTIONS, efi=efi))
        assert broken_rules(configuration) == []
        text = write(configuration)
        assert parse(text) == configuration
        assert all(
            mac.mac.upper() in (configuration.get(f"net{index}") or "")
            for index, mac in enumerate(node.interfaces)
        )
        drives = re.findall(r"^(?:scsi|efidisk)0: .*$", text, re.MULTILINE)
        maps = re.findall(r"^#qmdump#.*$", text, re.MULTILINE)
        assert len(drives) == len(maps) == 1 + uefi
        assert all(RESTORED_DRIVE.match(line) for line in drives)
        assert all(RESTORED_MAP.match(line) for line in maps)


@given(labs())
@settings(max_examples=60, deadline=None)
def test_two_segments_are_never_one_network(lab: Lab) -> None:
    plan = lab.plan()
    networks = assign_networks(plan, bridge="vmbr0")
    assert len(set(networks.values())) == len(networks) == len(plan.segments)
    vlans = {one.vlan: networks[one.name].tag for one in plan.segments if one.vlan is not None}
    assert all(tag == vlan for vlan, tag in vlans.items() if vlan != 1)
    assert 1 not in {network.tag for network in networks.values()}


def test_vlan_1_gets_a_number_as_links_do_unless_it_is_mapped() -> None:
    """On a bridge that knows VLANs, 1 is that of the host and of the network outside."""
    interfaces = "{n: {vlan: 1}, l: {vlan: 2001, addresses: none}}"
    text = f"name: x\nnodes: {{a: {{interfaces: {interfaces}}}, b: {{vlans: 1}}}}\n"
    text += "links: [a -- b]\n"
    plan = resolve(loads(text))
    (link,) = [segment.name for segment in plan.segments if segment.vlan is None]
    by_rule = {"vlan1": Network("vmbr0", 2002), "vlan2001": Network("vmbr0", 2001)}
    assert assign_networks(plan, bridge="vmbr0") == {**by_rule, link: Network("vmbr0", 2003)}
    made = [configure(plan, node, OPTIONS).get("net0") or "" for node in plan.nodes]
    assert [value.rpartition(",")[2] for value in made] == ["tag=2002", "tag=2002"]
    mapping = parse_mapping("vlan1=vmbr0/1")
    networks = assign_networks(plan, bridge="vmbr0", mapping=mapping)
    assert (networks["vlan1"].tag, networks[link].tag) == (1, 2002)


def test_what_proxmox_cannot_carry_is_told_at_once() -> None:
    plan = pair()
    plan = replace(
        plan, nodes=(replace(plan.nodes[0], name="a_b", memory=8, arch="aarch64", boot="network"),)
    )
    options = ExportOptions(
        vmid=99,
        disks=(
            Disk(drive="scsi31", size=1),
            Disk(drive="scsi0", size=0),
            Disk(drive="scsi0", size=1),
        ),
        efi=EfiVariables(size=131_072),
        storage="-",
        bridge="vm br",
        mapping=(("vlan8", Network("x")),),
        unplugged=frozenset({"eth9"}),
        cpu="Pentium9",
        tags=("lab-other", "a;b"),
    )
    found = "\n".join(mistakes(plan, options))
    for expected in (
        "a_b: name: 'a_b' is not possible",
        "a_b: arch: a machine for aarch64 cannot be exported",
        "a_b: boot: it boots from the network, and an exported machine from its disk",
        "a_b: memory.current: '8' is not possible",
        "a_b: vmid: '99' is not possible",
        "a_b: scsi31: is no disk",
        "a_b: scsi0: it has 0 bytes",
        "a_b: scsi0: is there twice",
        "a_b: efidisk0: variables of type 4m have 540672 bytes, not 131072",
        "a_b: storage: '-' is not possible",
        "a_b: bridge: 'vm br' is not possible",
        "a_b: vlan8: the lab has no such segment (did you mean vlan7?)",
        "a_b: eth9: the node has no such interface",
        "a_b: cpu.cputype: 'Pentium9' is not possible",
        "a_b: tags: 'lab-other' cannot be given (lab-pair is there by itself)",
        "a_b: tags: 'a;b' cannot be given",
    ):
        assert expected in found


def test_the_thirty_third_network_card_is_a_mistake_and_the_thirty_second_is_not() -> None:
    full, over = wide(32), wide(33)
    assert configure(full, full.nodes[0], OPTIONS).get("net31") is not None
    assert mistakes(over, OPTIONS) == [
        "a: interfaces: 33 interfaces, and a machine on Proxmox takes 32 (use VLANs on fewer "
        "interfaces, or more nodes)"
    ]


def test_a_segment_of_hundreds_leaves_room_in_the_notes() -> None:
    ends = "\n".join(
        f"  - {{endpoints: ['n[1-200]:e{number}'], addresses: none}}" for number in range(32)
    )
    plan = resolve(loads(f'name: large\nnodes: {{"n[1-200]": {{id: 1}}}}\nlinks:\n{ends}\n'))
    description = configure(plan, plan.nodes[0], OPTIONS).description
    assert "e31: n1:e31--n2:e31" in description
    assert len(description) < 8192


def test_a_machine_without_a_disk_is_a_mistake() -> None:
    assert mistakes(pair(), replace(OPTIONS, disks=())) == [
        "a: disks: there is none (Proxmox boots from disks alone)"
    ]


def test_an_mtu_is_said_by_all_cards_of_a_zone_in_which_one_has_another() -> None:
    """All virtual networks are in one zone, which has the greatest MTU of theirs."""
    names = ("vlan7", "a:up--b:down", "a:cable--b:cable")
    plan = pair()

    def written(*bridges: str) -> list[str | None]:
        networks = tuple(zip(names, map(Network, bridges), strict=True))
        made = configure(plan, plan.node("a"), replace(OPTIONS, mapping=networks))
        values = [dict(parse_properties(entry.value)) for entry, _ in made.numbered("net")]
        return [one.get("mtu") for one in values]

    assert written("lan7", "wire", "cable") == ["1500", "9000", "1500"]
    assert written("lan7", "vmbr1", "cable") == [None, "9000", None]
    assert written("vmbr1", "wire", "cable") == [None, "9000", "1500"]


def test_an_mtu_with_which_no_machine_starts_is_a_mistake() -> None:
    text = "name: a\nnodes: {a: {id: 1}, b: {id: 2}}\nlinks:\n"
    text += "  - {endpoints: [a:low, b:low], mtu: 575, addresses: none}\n"
    text += "  - {endpoints: [a:least, b:least], mtu: 576, addresses: none}\n"
    assert mistakes(resolve(loads(text)), OPTIONS) == [
        "a: low.mtu: an MTU of 575, and Proxmox starts no machine with less than 576 (write 576 or "
        "more)"
    ]


def test_two_segments_that_are_mapped_to_one_network_are_a_mistake() -> None:
    one = (("vlan7", Network("lan")), ("a:up--b:down", Network("lan")))
    assert mistakes(pair(), replace(OPTIONS, mapping=one)) == [
        "a: a:up--b:down: lan would join the segments vlan7, a:up--b:down (a segment is a network "
        "of its own: map it to another)"
    ]
    # The vlan that another segment has by its number.
    taken = (("a:up--b:down", Network("vmbr0", 7)),)
    assert "vmbr0/7 would join" in mistakes(pair(), replace(OPTIONS, mapping=taken))[0]
    outside = (("vlan7", Network("x", 0)),)
    assert "x/0: 0 is no VLAN" in "\n".join(mistakes(pair(), replace(OPTIONS, mapping=outside)))


def test_a_segment_that_is_mapped_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="lan is mapped twice"):
        parse_mapping("lan=vmbr0,wan=vmbr1,lan=vmbr2")


def test_a_tag_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(UsageError, match="does not say where a segment goes"):
        parse_mapping(f"lan=vmbr0/{'9' * 5000}")


def test_a_mapping_is_read_from_the_command_line() -> None:
    assert parse_mapping("vlan7=lan,a:up--b:down=vmbr1/30") == (
        ("vlan7", Network("lan")), ("a:up--b:down", Network("vmbr1", 30)),
    )  # fmt: skip
    assert parse_mapping("a:x=y--b:z=lan") == (("a:x=y--b:z", Network("lan")),)
    with pytest.raises(UsageError, match="'vlan7', 'x=a/b' does not say"):
        parse_mapping("vlan7,x=a/b,y=ok")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (1, "1K"),
        (1024, "1K"),
        (540_672, "528K"),
        (4 << 20, "4M"),
        (3 << 30, "3G"),
        (5 << 40, "5120G"),
    ],
)
def test_a_size_is_written_without_a_rest(size: int, text: str) -> None:
    assert write_size(size) == text


def test_a_whole_lab_has_a_manifest_and_a_recipe(golden: Callable[[Path, str], None]) -> None:
    plan = pair()
    mapping = (("vlan7", Network("lan7")),)
    networks = assign_networks(plan, bridge="vmbr0", mapping=mapping)
    members = [
        Member(node="a", vmid=9001, archive="vzdump-qemu-9001-2026_01_02-03_04_05.vma.zst"),
        Member(node="b", vmid=9002, archive="a b;c.vma"),
    ]
    golden(GOLDEN / "pair.manifest.json", write_manifest(plan, networks, members))
    golden(GOLDEN / "pair.recipe.txt", write_recipe(plan, networks, members, storage="local-lvm"))


def test_model_and_identity_go_along_and_what_proxmox_has_no_word_for_is_told() -> None:
    text = """
name: odd
nodes:
  a:
    id: 1
    image: debian
    cdroms: x.iso
    cloud_init: true
    tpm: true
    firmware: {kind: uefi, code: own.fd, vars: own.vars}
    cpu: Haswell,aes=on,-pcid
    rng: false
    vmgenid: 78fa612e-42a1-5e99-b558-4d22482faab7
    smbios: {product: "a, b", serial: s, oem_strings: x}
    credentials: {secret: x}
    qemu_args: -s
    shares: [./tools:/mnt/tools, ./off:/opt/off]
  b: {id: 2, cpu: "Haswell-v4,+avx2"}
"""
    plan = resolve(loads(text))
    made = configure(plan, plan.node("a"), OPTIONS)
    assert made.get("cpu") == "cputype=Haswell,flags=+aes;-pcid"
    assert made.get("rng0") is None
    assert made.get("vmgenid") == "78fa612e-42a1-5e99-b558-4d22482faab7"
    smbios = (made.get("smbios1") or "").partition(",")[2]
    assert smbios == "product=YSwgYg==,serial=cw==,base64=1"
    words = [line.partition(" ")[2].partition(":")[0] for line in left_out(plan.node("a"))]
    assert words == [
        "the share at /mnt/tools is left out",
        "firmware.code is left out",
        "cdroms are left out",
        "the seed of cloud_init is left out",
        "what its TPM keeps is left out",
        "qemu_args are left out",
        "smbios.oem_strings are left out",
        "credentials are left out",
    ]
    assert not list(left_out(plan.node("b")))
    with pytest.raises(ConfigurationError, match="cpu") as caught:
        configure(plan, plan.node("b"), OPTIONS)
    assert "'Haswell-v4'" in str(caught.value)
    assert "'+avx2'" in str(caught.value)


def test_a_node_without_a_disk_of_its_own_cannot_be_exported() -> None:
    text = "name: a\nnodes: {a: {image: none, arch: x86_64, agent: false, cdroms: x.iso}}\n"
    plan = resolve(loads(text))
    with pytest.raises(ConfigurationError, match="a: disks: it runs from a CD-ROM"):
        check_export(plan, plan.nodes, Request(folder=Path("dump")))


def test_a_disk_on_a_bus_that_proxmox_does_not_have_cannot_be_exported() -> None:
    plan = resolve(loads("name: a\nnodes: {a: {image: debian, disk: {bus: nvme}}}\n"))
    with pytest.raises(ConfigurationError, match=r"a: disks: .* nvme \(use scsi or virtio\)"):
        check_export(plan, plan.nodes, Request(folder=Path("dump")))


def test_the_mistakes_of_all_nodes_are_told_at_once_and_those_of_the_request_once() -> None:
    plan = resolve(loads("name: l\nnodes: {a: {}, b: {image: debian, disk: {bus: nvme}}, c: {}}\n"))
    nodes = [replace(plan.node("a"), arch="aarch64"), plan.node("b"), plan.node("c")]
    mapping = parse_mapping("nowhere=vmbr1")
    request = Request(folder=Path("dump"), mapping=mapping, storage="s")
    with pytest.raises(ConfigurationError) as caught:
        check_export(plan, [*nodes, replace(nodes[0], name="d")], request)
    assert [(one.file, one.path) for one in caught.value.mistakes] == [
        ("a", "arch"), ("b", "disks"), ("d", "arch"), ("l", "nowhere"), ("l", "storage")
    ]  # fmt: skip
