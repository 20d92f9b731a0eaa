"""Machines from Proxmox as a topology."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from netlab.errors import ConfigurationError
from netlab.plan.model import Plan
from netlab.plan.resolve import resolve
from netlab.proxmox.configuration import Configuration, parse
from netlab.proxmox.export import Disk, ExportOptions, configure
from netlab.proxmox.importing import Archive, Device, make_topology
from netlab.topology.load import loads
from tests.plan.conftest import Lab, labs
from tests.proxmox.plans import pair
from tests.proxmox.strategies import configurations, likely_configurations

GOLDEN = Path(__file__).parent / "golden"

WEB = """#Web server
agent: 1,fstrim_cloned_disks=1
args: -S
balloon: 512
bios: ovmf
boot: order=scsi0;ide2;net0
cores: 2
cpu: x86-64-v2-AES
efidisk0: local-lvm:vm-100-disk-0,efitype=4m,pre-enrolled-keys=1,size=528K
ide2: none,media=cdrom
machine: q35
memory: 2048
meta: creation-qemu=9.2.0,ctime=1700000000
name: Web.example.org
net0: virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1,tag=30
net1: virtio=BC:24:11:00:00:02,bridge=vmbr1,mtu=9000
ostype: l26
scsi0: local-lvm:vm-100-disk-1,iothread=1,size=8G
scsihw: virtio-scsi-single
smbios1: uuid=607767c3-55d3-85de-a139-001c328e2cca
sockets: 2
vga: qxl,memory=32
vmgenid: eb18f8ff-7ca8-50d8-af46-0ef4a6dd8ad3
#qmdump#map:efidisk0:drive-efidisk0:local-lvm:raw:
#qmdump#map:scsi0:drive-scsi0:local-lvm:raw:

[clean]
memory: 512
"""
DATABASE = """bios: seabios
kvm: 0
memory: 512
name: web
net0: e1000=BC:24:11:00:00:03,bridge=vmbr0,tag=30,link_down=1
net1: virtio=BC:24:11:00:00:04,bridge=vmbr2,tag=30,rate=10
net2: virtio=BC:24:11:00:00:05
net3: virtio=BC:24:11:00:00:06,bridge=vmbr1,mtu=1
ostype: win11
serial0: socket
vga: serial0
"""


def archive(text: str, file: str, *devices: str) -> Archive:
    return Archive(
        configuration=parse(text, file=file),
        devices=tuple(Device(f"drive-{name}", 1) for name in devices),
    )


def test_machines_give_the_topology_that_is_written_down(
    golden: Callable[[Path, str], None],
) -> None:
    archives = [archive(WEB, "100.conf", "scsi0", "efidisk0"), archive(DATABASE, "101.conf")]
    imported = make_topology(archives, name="office")
    golden(GOLDEN / "office.yaml", imported.text)
    plan = resolve(loads(imported.text))
    assert imported.nodes == ("web-example-org", "web")
    # The same bridge and VLAN is the same segment; one VLAN on two bridges is two.
    shared = next(segment for segment in plan.segments if segment.name == "vlan30")
    assert len(shared.ports) == 2
    assert len(plan.segments) == len(imported.networks) == 4
    node = plan.node("web-example-org")
    assert (node.cpus, node.memory, node.interfaces[1].mtu) == (4, 2048, 9000)
    assert plan.node("web").accel == "tcg"


def test_what_the_node_boots_from_is_put_in_and_no_longer_listed() -> None:
    plain = archive(WEB, "100.conf", "scsi0", "efidisk0")
    told = Archive(
        configuration=plain.configuration,
        devices=plain.devices,
        boot={"wire": "fast"},
        told=frozenset({"scsi0", "efidisk0", "bios", "boot", "scsihw"}),
    )
    imported = make_topology([told], name="x")
    assert resolve(loads(imported.text)).nodes[0].wire == "fast"
    listed = {mistake.path for mistake in imported.left_out}
    assert not listed & told.told
    assert "args" in listed
    before = {mistake.path for mistake in make_topology([plain], name="x").left_out}
    assert told.told <= before


def test_what_a_machine_is_by_default_there_and_not_here_is_listed() -> None:
    def listed(text: str, *told: str) -> list[str]:
        archive = Archive(configuration=parse(text), told=frozenset(told))
        return [mistake.path for mistake in make_topology([archive], name="x").left_out]

    assert listed("cores: 1\n") == ["agent", "machine"]
    assert listed("agent: 1\nmachine: q35\n") == []
    assert listed("agent: 1\n", "machine") == []
    assert listed("agent: 0\nmachine: pc\n") == ["agent", "agent", "machine"]


def test_a_lab_that_went_to_proxmox_comes_back_with_the_same_wiring() -> None:
    plan = pair()
    back = round_trip(plan)
    assert wiring(back) == wiring(plan)
    assert [
        (node.name, node.cpus, node.memory, node.accel, node.display) for node in back.nodes
    ] == [(node.name, node.cpus, node.memory, node.accel, node.display) for node in plan.nodes]


@given(labs())
@settings(max_examples=40, deadline=None)
def test_any_lab_comes_back_with_the_same_wiring(lab: Lab) -> None:
    plan = lab.plan()
    assert wiring(round_trip(plan)) == wiring(plan)


def round_trip(plan: Plan) -> Plan:
    archives = [
        Archive(
            configuration=configure(
                plan, node, ExportOptions(vmid=100, disks=(Disk(drive="scsi0", size=1),))
            ),
            devices=(Device("drive-scsi0", 1024),),
        )
        for node in plan.nodes
    ]
    return resolve(loads(make_topology(archives, name="back").text))


def wiring(plan: Plan) -> set[frozenset[tuple[str, int, int]]]:
    """Return which interfaces, by their number, meet on a segment, with their MTU."""
    segments: dict[str, set[tuple[str, int, int]]] = {}
    for node in plan.nodes:
        for index, interface in enumerate(node.interfaces):
            segments.setdefault(interface.segment, set()).add((node.name, index, interface.mtu))
    return {frozenset(ends) for ends in segments.values()}


def test_what_has_to_be_understood_and_cannot_be_is_told_with_its_line() -> None:
    text = "cores: many\nmemory: 1G\nnet0: virtio,tag=0\nnet1: virtio,bridge=a b\nscsi0: a1:v\n"
    maps = "#qmdump#map:scsi0:drive-scsi0:a1:raw:\n"
    with pytest.raises(ConfigurationError) as caught:
        make_topology([archive(text + maps, "1.conf", "scsi1")], name="x")
    found = [line.split(" (")[0] for line in str(caught.value).splitlines()]
    assert found == [
        "1.conf: no drive is mapped to the device 'drive-scsi1'",
        "1.conf:1:1: cores: 'many' is not possible",
        "1.conf:2:1: memory.current: '1G' is not possible",
        "1.conf:3:1: net0.tag: '0' is not possible",
        "1.conf:4:1: net1.bridge: 'a b' is not possible",
        "1.conf:6:1: scsi0: the archive has no device 'drive-scsi0' for it",
    ]


@given(configurations() | likely_configurations())
@settings(deadline=None)
def test_any_configuration_is_a_topology_or_a_list_of_mistakes(
    configuration: Configuration,
) -> None:
    devices = tuple(Device(drive.device, 1) for drive in configuration.maps)
    try:
        imported = make_topology([Archive(configuration=configuration, devices=devices)], name="x")
    except ConfigurationError:
        return
    assert loads(imported.text).name == "x"


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("localhost", "localhost-2"),
        ("42", "42-2"),
        ("A.b", "a-b"),
        ("--", "vm"),
        ("x" * 60, "x" * 40),
    ],
)
def test_every_machine_gets_a_name_that_a_node_can_have(name: str, node: str) -> None:
    imported = make_topology([archive(f"name: {name}\n", "1.conf")], name="x")
    assert imported.nodes == (node,)
    assert "1.conf:1:1: name:" in imported.text


def test_a_name_that_is_there_twice_is_two_names() -> None:
    imported = make_topology([archive("name: a\n", "1.conf")] * 3, name="x")
    assert imported.nodes == ("a", "a-2", "a-3")
