"""The parts of a machine from Proxmox: which a node has, and which are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netlab.errors import ConfigurationError
from netlab.plan.parts import DevicesPlan
from netlab.proxmox.configuration import parse
from netlab.proxmox.hardware import variables_size
from netlab.proxmox.importing import Device, find_parts
from tests.proxmox.archives import DISK, NONE, archive, lost, make, node_of


def test_what_a_machine_is_by_default_there_is_said() -> None:
    assert lost(DISK) == ["1:1: scsi0: it is sata0 in a lab"]
    node = node_of(DISK)
    assert (node.machine, node.firmware.kind, node.agent, node.display) == (
        "pc", "bios", False, "std",
    )  # fmt: skip
    assert (node.cpus, node.memory, node.image, node.configure) == (1, 512, None, False)
    assert [disk.bus for disk in node.disks] == ["sata"]
    assert not node.disks[0].discard
    assert node.devices == DevicesPlan(cpu="kvm64", rng=False)
    assert node_of(f"kvm: 0\n{DISK}").devices.cpu == "qemu64"


@pytest.mark.parametrize(
    ("text", "cpu", "told"),
    [
        ("cpu: host", None, ""),
        ("cpu: max", "max", ""),
        ("cpu: Penryn", "Penryn", ""),
        ("cpu: Haswell-noTSX-IBRS,flags=+aes", "Haswell-noTSX-IBRS,+aes", ""),
        ("cpu: cputype=Haswell,flags=+aes;-pcid", "Haswell,+aes,-pcid", ""),
        ("cpu: max\nkvm: 0", None, ""),
        ("cpu: max,flags=+aes\nkvm: 0", "max,+aes", ""),
        ("cpu: kvm64,hidden=1", "kvm64", "cpu.hidden: '1'"),
        ("cpu: host,flags=+aes", None, "cpu.flags: '+aes'"),
        ("cpu: kvm64,flags=+nested-virt", "kvm64", "cpu.flags: '+nested-virt'"),
        ("cpu: x86-64-v2-AES", None, "cpu: 'x86-64-v2-AES' is none of QEMU's"),
        ("cpu: SapphireRapids", None, "cpu: 'SapphireRapids' is none of QEMU's"),
        ("cpu: custom-mine", None, "cpu: 'custom-mine' is none of QEMU's"),
    ],
)
def test_a_cpu_is_the_same_where_every_qemu_has_it(text: str, cpu: str | None, told: str) -> None:
    text = f"{text}\nscsihw: virtio-scsi-single\n{DISK}"
    assert node_of(text).devices.cpu == cpu
    assert told in " ".join(lost(text))
    assert bool(lost(text)) == bool(told)


def test_what_firmware_says_of_a_machine_is_kept_where_it_is_text() -> None:
    uuid = "uuid=607767c3-55d3-85de-a139-001c328e2cca"
    strings = "manufacturer=QWNtZSwgSW5jLg==,product=w6Q=,serial=QS0xNw=="
    text = f"smbios1: {uuid},base64=1,{strings}\nscsihw: virtio-scsi-single\n{DISK}"
    said = node_of(text).devices.smbios
    assert (said.manufacturer, said.serial, said.product) == ("Acme, Inc.", "A-17", None)
    assert lost(text) == ["1:1: smbios1.product: 'ä' is left out"]
    plain = node_of(f"smbios1: {uuid},product=Box\n{DISK}").devices.smbios
    assert plain.product == "Box"


@pytest.mark.parametrize(
    ("scsihw", "bus"),
    [("virtio-scsi-single", "scsi"), ("virtio-scsi-pci", "scsi"), ("lsi", "sata"),
     ("lsi53c810", "sata"), ("megasas", "sata"), ("pvscsi", "sata")],
)  # fmt: skip
def test_a_controller_that_no_lab_has_becomes_one_that_every_guest_knows(
    scsihw: str, bus: str
) -> None:
    text = f"scsihw: {scsihw}\n{DISK}"
    assert [disk.bus for disk in node_of(text).disks] == [bus]
    told = {
        "virtio-scsi-single": [],
        "virtio-scsi-pci": [
            "1:1: scsihw: 'virtio-scsi-pci' becomes virtio-scsi-single in an export"
        ],
    }
    assert lost(text) == told.get(scsihw, ["2:1: scsi0: it is sata0 in a lab"])


def test_a_controller_without_disks_is_nothing_that_is_lost() -> None:
    assert lost(f"scsihw: virtio-scsi-pci\n{DISK.replace('scsi0', 'virtio0')}") == []


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        # What an export writes itself, in every spelling; matters of other jobs, and of a storage.
        ("discard=on,iothread=1", None),
        ("iothread=on,detect_zeroes=1", None),
        ("backup=1,format=qcow2,replicate=0,size=4M", None),
        ("iothread=0", "iothread: '0' is left out"),
        ("detect_zeroes=0", "detect_zeroes: '0' is left out"),
        ("aio=threads", "aio: 'threads' is left out"),
        ("cache=none", "cache: 'none' is left out"),
        ("ssd=1", "ssd: '1' is left out"),
    ],
)
def test_what_of_a_disk_is_lost_is_told(properties: str, told: str | None) -> None:
    text = DISK.replace("disk-0\n", f"disk-0,{properties}\n")
    found = lost(f"scsihw: virtio-scsi-single\n{text}")
    assert found == ([f"2:1: scsi0.{told}"] if told else [])


def test_disks_for_which_there_is_no_room_on_a_bus_hang_on_another_or_are_told() -> None:
    keys = [f"scsi{number}" for number in range(31)] + [f"virtio{number}" for number in range(16)]
    text = "scsihw: virtio-scsi-single\n"
    text += "".join(f"{key}: a1:v\n#qmdump#map:{key}:drive-{key}:a1:raw:\n" for key in keys)
    assert len(node_of(text).disks) == 31 + 8
    assert sum("no room" in line for line in lost(text)) == 8


@pytest.mark.parametrize(
    ("boot", "first"),
    [
        ("", "scsi0"),
        ("boot: order=virtio0;scsi0\n", "virtio0"),
        ("boot: c\nbootdisk: virtio0\n", "virtio0"),
        ("boot: order=net0\n", "scsi0"),
    ],
)
def test_a_node_starts_from_the_disk_that_the_machine_started_from(boot: str, first: str) -> None:
    text = f"{boot}{DISK}virtio0: a1:v\n#qmdump#map:virtio0:drive-virtio0:a1:raw:\n"
    assert node_of(text).disks[0].file == f"/store/a1/{first}.raw"


@pytest.mark.parametrize(
    ("value", "size"),
    [("efitype=4m,size=4M", 540_672), ("size=528K", 131_072), ("efitype=2m", 131_072)],
)
def test_variables_are_as_long_as_their_type_says(value: str, size: int) -> None:
    maps = "#qmdump#map:efidisk0:drive-efidisk0:a1:raw:\n"
    text = f"bios: ovmf\nefidisk0: a1:v,{value}\n{DISK}{maps}"
    assert variables_size(parse(text)) == size
    assert node_of(text).firmware.vars == "/store/a1/efidisk0.raw"
    short = replace(
        archive(text), devices=(Device("drive-scsi0", 1), Device("drive-efidisk0", size - 512))
    )
    with pytest.raises(ConfigurationError, match=f"variables of its type have {size}"):
        make(short)


def test_firmware_without_variables_of_its_own_gets_those_of_the_host() -> None:
    firmware = node_of(f"bios: ovmf\n{DISK}").firmware
    assert (firmware.kind, firmware.vars) == ("uefi", None)


EFI = "bios: ovmf\nefidisk0: a1:v{}\n" + DISK + "#qmdump#map:efidisk0:drive-efidisk0:a1:raw:\n"


@pytest.mark.parametrize(
    ("machine", "properties", "secure"),
    [
        ("machine: pc-q35-9.2+pve1\n", ",efitype=4m,pre-enrolled-keys=1", True),
        ("machine: q35\n", ",efitype=4m,pre-enrolled-keys=0", False),
        ("machine: q35\n", ",efitype=4m", False),
        ("machine: q35\n", ",efitype=2m,pre-enrolled-keys=1", None),
        ("", ",efitype=4m,pre-enrolled-keys=1", None),
    ],
)
def test_secure_boot_is_kept_where_a_lab_has_it(
    machine: str, properties: str, secure: bool | None
) -> None:
    text = machine + EFI.format(properties)
    assert node_of(text).firmware.secure_boot is (secure is True)
    told = any("pre-enrolled-keys" in line for line in lost(text))
    assert told is (secure is None)


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        (",efitype=4m,pre-enrolled-keys=no,size=4M,format=raw", []),
        (",efitype=4m,ms-cert=2023k", ["3:1: efidisk0.ms-cert: '2023k' is left out"]),
        (",efitype=8m", [f"3:1: efidisk0.efitype: '8m' {NONE} 2m (allowed is 2m or 4m)"]),
        (
            ",pre-enrolled-keys=x",
            [f"3:1: efidisk0.pre-enrolled-keys: 'x' {NONE} 0 (allowed is 0 or 1)"],
        ),
    ],
)
def test_what_of_a_firmwares_variables_is_lost_is_told(properties: str, told: list[str]) -> None:
    assert lost("scsihw: virtio-scsi-single\n" + EFI.format(properties)) == told


def test_words_of_a_disk_and_its_controller_that_proxmox_has_not_are_told() -> None:
    text = f"scsihw: virtio-scsi-new\n{DISK}"
    found = "1:1: scsihw: 'virtio-scsi-new' is none of Proxmox's: it is taken as lsi (allowed is "
    assert [line.startswith(found) for line in lost(text)] == [True, False]
    text = DISK.replace("disk-0\n", "disk-0,discard=x,media=tape,ro=perhaps\n")
    assert [line.partition(":1: ")[2] for line in lost(f"scsihw: virtio-scsi-single\n{text}")] == [
        f"scsi0.discard: 'x' {NONE} ignore (allowed is ignore or on)",
        f"scsi0.media: 'tape' {NONE} disk (allowed is disk or cdrom)",
        f"scsi0.ro: 'perhaps' {NONE} 0 (allowed is 0 or 1)",
    ]


def test_a_tpm_is_a_new_one() -> None:
    text = f"machine: q35\ntpmstate0: a1:v,version=v2.0\n{DISK}"
    assert node_of(text).devices.tpm
    assert not node_of(text.replace("v2.0", "v1.2")).devices.tpm


@pytest.mark.parametrize(
    ("drive", "told"),
    [
        ("ide2: a1:iso/x.iso,media=cdrom", "'a1:iso/x.iso' is left out: the archive does not have"),
        ("ide2: none,media=cdrom", "an empty CD-ROM drive"),
        ("ide2: a1:vm-1-cloudinit,media=cdrom", "Proxmox makes it anew"),
        ("efidisk0: a1:v,efitype=4m", "starts by BIOS has no use for it"),
        ("tpmstate0: a1:v", "a TPM of a lab is a 2.0: it has none"),
        ("tpmstate0: a1:v,version=v2.0", "is a new one: nothing that the old one sealed opens"),
    ],
)
def test_drives_that_are_no_disk_of_a_node_are_told_and_not_extracted(
    drive: str, told: str
) -> None:
    key = drive.partition(":")[0]
    found = archive(f"{drive}\n{DISK}#qmdump#map:{key}:drive-{key}:a1:raw:\n")
    (message,) = [line for line in map(str, make(found).left_out) if key in line]
    assert told in message
    assert [part.name for part in find_parts(found)] == ["scsi0.raw"]
