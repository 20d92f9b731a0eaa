"""Machines from Proxmox as a topology."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import event, given, settings

from netlab.errors import ConfigurationError
from netlab.plan.model import Plan
from netlab.plan.resolve import resolve
from netlab.proxmox.configuration import Configuration, DriveMap
from netlab.proxmox.export import Disk, ExportOptions, configure
from netlab.proxmox.importing import Archive, Device, find_parts, make_topology
from netlab.proxmox.schema import is_drive
from netlab.topology.load import loads
from tests.plan.conftest import Lab, labs
from tests.proxmox.archives import DISK, NONE, STORE, archive, lost, make, node_of
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


ELSEWHERE = """#The billing system
#%C3%9Cbernommen%3A 100 %25
agent: 1
args: -device foo
bios: ovmf
boot: order=net0;virtio1;scsi2
cicustom: user=local:snippets/user.yml
cipassword: $5$secret
cores: 4
efidisk0: zfs:vm-200-disk-9,efitype=4m,size=4M
hostpci0: 0000:01:00,pcie=1
ide0: zfs:vm-200-disk-0,size=4M
ide2: none,media=cdrom
ide3: zfs:vm-200-cloudinit,media=cdrom
ipconfig0: ip=dhcp
machine: pc-i440fx-9.2+pve1,viommu=virtio
memory: 4096
name: billing
net0: virtio=BC:24:11:00:00:01,bridge=vmbr0,tag=30,trunks=5;6
onboot: 1
parent: clean
sata5: zfs:vm-200-disk-1,size=4M,wwn=0x5000c50015ea71aa
scsi2: zfs:vm-200-disk-2,backup=1,cache=writeback,discard=on,serial=a%20b,size=4M,ssd=1
scsi3: zfs:vm-200-disk-3,ro=1,serial=same,size=4M
scsi4: zfs:vm-200-disk-4,backup=0,size=4M
scsihw: virtio-scsi-pci
serial1: /dev/ttyS0
smbios1: uuid=607767C3-55D3-85DE-A139-001C328E2CCA,base64=1,serial=YWI=
tags: billing;old
tpmstate0: zfs:vm-200-disk-5,size=4M,version=v2.0
unused0: zfs:vm-200-disk-6
usb0: host=1234:5678
virtio1: zfs:vm-200-disk-7,iothread=1,serial=same,size=4M
vmgenid: 1
#qmdump#map:efidisk0:drive-efidisk0:zfs:raw:
#qmdump#map:ide0:drive-ide0:zfs:raw:
#qmdump#map:sata5:drive-sata5:zfs:raw:
#qmdump#map:scsi2:drive-scsi2:zfs:raw:
#qmdump#map:scsi3:drive-scsi3:zfs:raw:
#qmdump#map:scsi9:drive-scsi9:zfs:raw:
#qmdump#map:tpmstate0:drive-tpmstate0-backup:zfs:raw:
#qmdump#map:virtio1:drive-virtio1:zfs:raw:

[PENDING]
cores: 8

[clean]
#before the upgrade
cores: 2
memory: 512
snaptime: 1700000000

[special:cloudinit]
ide3: zfs:vm-200-cloudinit,media=cdrom
"""


def test_machines_give_the_topology_that_is_written_down(
    golden: Callable[[Path, str], None],
) -> None:
    archives = [archive(WEB, "100.conf"), archive(DATABASE + DISK, "101.conf")]
    imported = make_topology(archives, name="office", store=STORE)
    golden(GOLDEN / "office.yaml", imported.text)
    plan = resolve(loads(imported.text))
    assert imported.nodes == ("web-example-org", "web")
    # The same bridge and VLAN is the same segment; one VLAN on two bridges is two.
    shared = next(segment for segment in plan.segments if segment.name == "vlan30")
    assert len(shared.ports) == 2
    assert len(plan.segments) == len(imported.networks) == 4
    node = plan.node("web-example-org")
    assert (node.cpus, node.memory, node.interfaces[1].mtu) == (4, 2048, 9000)
    assert node.interfaces[1].mac == "bc:24:11:00:00:02"
    assert node.disks[0].file == "/store/a1/scsi0.raw"
    assert node.firmware.vars == "/store/a1/efidisk0.raw"
    assert plan.node("web").accel == "tcg"


def test_a_machine_from_elsewhere_is_a_node_and_what_it_lacks_is_told_with_its_line(
    golden: Callable[[Path, str], None],
) -> None:
    imported = make(replace(archive(ELSEWHERE, "qemu-server.conf"), others=("qemu-server.fw",)))
    golden(GOLDEN / "billing.yaml", imported.text)
    node = resolve(loads(imported.text)).nodes[0]
    # What a start looks at first is the first, and each keeps its bus where there is one.
    assert [(Path(disk.file or "").stem, disk.bus, disk.read_only) for disk in node.disks] == [
        ("virtio1", "virtio", False),
        ("scsi2", "scsi", False),
        ("ide0", "sata", False),
        ("scsi3", "scsi", True),
        ("sata5", "sata", False),
    ]
    # Settings that say nothing of the machine itself are all that is not told.
    lines = {mistake.line for mistake in imported.left_out}
    silent = {
        line.partition(":")[0]
        for number, line in enumerate(ELSEWHERE.partition("\n\n")[0].splitlines(), 1)
        if number not in lines and not line.startswith("#")
    }
    assert silent == {
        "agent", "bios", "cores", "efidisk0", "memory", "name", "smbios1", "vmgenid",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cores: 1\n", "the archive has no disk"),
        (f"machine: virt\n{DISK}", "1.conf:1:1: machine: there is no machine 'virt'"),
        (f"arch: aarch64\n{DISK}", "1.conf:1:1: arch: a machine for aarch64 cannot"),
        (f"{DISK}net0: virtio=01:00:00:00:00:01\n", "1.conf:3:1: net0.virtio: '01:00"),
        (f"{DISK}#qmdump#map:scsi1:drive-scsi0:a1:raw:\n", "several drives are mapped"),
    ],
)
def test_what_no_node_can_be_is_a_mistake(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        make(archive(text))


def test_what_two_machines_have_and_one_alone_can_is_kept_by_the_first() -> None:
    uuid = "607767c3-55d3-85de-a139-001c328e2cca"
    text = f"net0: virtio=BC:24:11:00:00:01,bridge=vmbr0\nsmbios1: uuid={uuid}\n{DISK}"
    imported = make(archive(text, "1.conf"), archive(text, "2.conf"))
    first, second = resolve(loads(imported.text)).nodes
    assert first.interfaces[0].mac == "bc:24:11:00:00:01" != second.interfaces[0].mac
    assert first.uuid == uuid != second.uuid
    told = [str(mistake) for mistake in imported.left_out if mistake.file == "2.conf"]
    assert told[:-1] == [
        "2.conf:1:1: net0: bc:24:11:00:00:01 is the address of net0 of vm, too: it gets another",
        "2.conf:2:1: smbios1.uuid: it is the UUID of vm, too: it gets another",
    ]


def test_text_of_a_configuration_is_never_a_variable() -> None:
    node = node_of(
        f"{DISK}virtio0: a1:v,serial=%24%7Barchives%7D\n#qmdump#map:virtio0:drive-virtio0:a1:raw:\n"
    )
    assert [disk.serial for disk in node.disks] == [None, "${archives}"]


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
    return resolve(loads(make_topology(archives, name="back", store=STORE).text))


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
        make(replace(archive(text + maps), devices=(Device("drive-scsi1", 1),)))
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
    keys = ["scsi0", *(entry.key for entry in configuration.entries if is_drive(entry.key))]
    maps = tuple(DriveMap(key, f"drive-{key}", "a1", "raw") for key in sorted(set(keys)))
    configuration = replace(configuration, maps=maps)
    devices = tuple(Device(drive.device, 4 << 20) for drive in maps)
    try:
        imported = make(Archive(configuration=configuration, devices=devices))
    except ConfigurationError as error:
        event(f"mistakes: {error.mistakes[0].path}")
        return
    event("a topology")
    (node,) = resolve(loads(imported.text)).nodes
    parts = {
        part.name for part in find_parts(Archive(configuration=configuration, devices=devices))
    }
    named = [node.firmware.vars, *(disk.file for disk in node.disks)]
    assert {Path(file).name for file in named if file is not None} <= parts


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
    imported = make(archive(f"name: {name}\n{DISK}"))
    assert imported.nodes == (node,)
    assert "1.conf:1:1: name:" in imported.text


def test_a_name_that_is_there_twice_is_two_names() -> None:
    imported = make(*[archive(f"name: a\n{DISK}")] * 3)
    assert imported.nodes == ("a", "a-2", "a-3")


def test_network_cards_that_proxmox_does_not_know_are_told_and_are_no_interfaces() -> None:
    """There are net0 to net31; with a number of 5,000 digits even to count is impossible."""
    keys = ["net32", "net01", f"net{'9' * 5000}"]
    text = "".join(f"{key}: virtio\n" for key in keys) + f"scsihw: virtio-scsi-single\n{DISK}"
    assert node_of(text).interfaces == ()
    assert lost(text) == [
        f"{line}:1: {key}: 'virtio' is left out" for line, key in enumerate(keys, 1)
    ]


def test_cards_are_numbered_without_gaps_and_those_that_were_not_are_told() -> None:
    text = "net0: virtio\nnet3: virtio\nnet31: virtio\nscsihw: virtio-scsi-single\n" + DISK
    told = [line for line in lost(text) if "router" not in line]
    assert told == [
        "2:1: net3: it becomes net1 in an export",
        "3:1: net31: it becomes net2 in an export",
    ]


def test_more_sockets_or_memory_than_a_node_has_are_told_where_the_machine_says_so() -> None:
    assert lost(f"cores: 2\nscsihw: virtio-scsi-single\nsockets: 200\n{DISK}") == [
        "3:1: sockets: 200 sockets are one, with all CPUs in it",
        "3:1: sockets: 400 CPUs, and a node has at most 255",
    ]
    with pytest.raises(ConfigurationError) as caught:
        make(archive(f"cores: many\nmemory: 1048577\n{DISK}"))
    assert str(caught.value).splitlines()[1:] == [
        "1.conf:2:1: memory: 1048577 MiB, and a node has at most 1048576"
    ]
    assert node_of(f"memory: 1048576\n{DISK}").memory == 1 << 20


@pytest.mark.parametrize(("true", "false"), [("1", "0"), ("on", "off"), ("YES", "No")])
def test_a_boolean_may_be_spelled_as_proxmox_reads_it(true: str, false: str) -> None:
    drive = f"a1:v,ro={true}\n#qmdump#map:virtio0:drive-virtio0:a1:raw:\n"
    node = node_of(f"agent: {true}\nkvm: {false}\nvirtio0: {drive}")
    assert (node.agent, node.accel) == (True, "tcg")
    assert node.disks[0].read_only
    other = node_of(f"agent: {false}\nkvm: {true}\n{DISK}")
    assert (other.agent, other.accel) == (False, node_of(DISK).accel)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sockets: 2", "1:1: sockets: 2 sockets are one, with all CPUs in it"),
        ("sockets: 1", None),
        ("cores: 300", "1:1: cores: 300 CPUs, and a node has at most 255"),
        ("cores: 255", None),
        ("rng0: source=/dev/urandom,max_bytes=1024,period=1000", None),
        ("rng0: /dev/urandom,max_bytes=0", "1:1: rng0.max_bytes: '0' becomes 1024"),
        ("rng0: /dev/urandom,period=10", "1:1: rng0.period: '10' becomes 1000"),
        ("rng0: /dev/hwrng", "1:1: rng0.source: '/dev/hwrng' becomes /dev/urandom"),
        ("rng0: /dev/urandom,later=x", "1:1: rng0.later: 'x' is left out"),
        ("vga: std,memory=32", "1:1: vga.memory: '32' is left out"),
        ("vga: serial0", None),
        ("vga: nonsense", "1:1: vga: 'nonsense' becomes std"),
        ("vga: serial9", "1:1: vga: 'serial9' becomes std"),
        ("ostype: nonsense", "1:1: ostype: 'nonsense' is left out"),
        ("agent: 0,fstrim_cloned_disks=0,freeze-fs-on-backup=on,type=virtio", None),
        ("agent: 1,fstrim_cloned_disks=1", "1:1: agent.fstrim_cloned_disks: '1' is left out"),
        ("agent: 1,freeze-fs-on-backup=0", "1:1: agent.freeze-fs-on-backup: '0' is left out"),
        ("agent: 1,later=x", "1:1: agent.later: 'x' is left out"),
        ("agent: 1,type=isa", "1:1: agent.type: an agent on an ISA port is not reached in a lab"),
        ("agent: 1,type=x", f"1:1: agent.type: 'x' {NONE} virtio (allowed is virtio or isa)"),
        ("agent: maybe", f"1:1: agent.enabled: 'maybe' {NONE} 0 (allowed is 0 or 1)"),
        ("bios: nonsense", f"1:1: bios: 'nonsense' {NONE} seabios (allowed is seabios or ovmf)"),
        (
            "boot: nonsense",
            "1:1: boot.legacy: 'nonsense' is not possible (allowed is letters of acdn)",
        ),
        ("bootdisk: ide9", "1:1: bootdisk: a node starts from its disks, not from 'ide9'"),
        ("tags: lab-x;mine;netlab", "1:1: tags: 'mine' is left out"),
        ("tags: lab-x;netlab", None),
        ("tags: lab-x;mine", "1:1: tags: 'lab-x;mine' is left out"),
    ],
)
def test_what_of_a_setting_is_lost_is_told(text: str, told: str | None) -> None:
    assert lost(f"{text}\nscsihw: virtio-scsi-single\n{DISK}") == ([told] if told else [])
