"""A node of a plan as a virtual machine on Proxmox: pure.

What it becomes there is what it is in the lab: the same CPUs, memory, firmware, network cards with
the same MAC addresses in the same order, screen, serial console and agent. What Proxmox has no
word for, or would take for something else, is a mistake before anything is written.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from netlab.errors import ConfigurationError, Mistake
from netlab.plan.model import InterfacePlan, NodePlan, Plan
from netlab.plan.names import generation_id
from netlab.plan.parts import SmbiosPlan
from netlab.proxmox.configuration import (
    Configuration,
    DriveMap,
    make_configuration,
    write_properties,
)
from netlab.proxmox.formats import STORAGE, VMID
from netlab.proxmox.networks import Network, assign_networks, network_mistakes
from netlab.proxmox.rules import check
from netlab.proxmox.schema import RULES, is_drive

EfiType = Literal["4m", "2m"]

EFI_SIZES: Mapping[EfiType, int] = {"4m": 540_672, "2m": 131_072}
"""Bytes of the firmware's variables: OVMF_VARS_4M.fd and OVMF_VARS.fd (PVE/QemuServer/OVMF.pm)."""

TAG = "netlab"
"""The tag of every machine that comes from netlab; no other is ever touched there."""

LAB_TAG = "lab-"
"""What the tag of a lab begins with."""

CONTROLLER = "virtio-scsi-single"
"""What SCSI disks hang on: one controller each, so that each can have a thread of its own."""

SMALLEST_MTU = 576
"""Bytes of a card's MTU without which a machine does not start (print_netdevice_full in
PVE/QemuServer.pm)."""

_UNITS = (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10))
_LONGEST_NAME = 80
_CARDS = RULES["net"].count or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk of the exported machine.

    Attributes:
        drive: Bus and number there, such as ``scsi0`` or ``virtio1``.
        size: In bytes.
        serial: What the guest reads as its serial number, or empty.
        discard: Whether the storage takes back what the guest discards.
        read_only: Whether the guest may only read it.
    """

    drive: str
    size: int
    serial: str = ""
    discard: bool = True
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EfiVariables:
    """The variables of a machine that boots by UEFI.

    Attributes:
        size: In bytes.
        type: Which of OVMF's builds they belong to.
        enrolled: Whether keys for secure boot are in them.
    """

    size: int
    type: EfiType = "4m"
    enrolled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What the plan does not say about a node that goes to Proxmox.

    Attributes:
        vmid: The machine's number there, 100 to 999999999.
        disks: Its disks, the one that it boots from first.
        efi: The variables of its firmware, or None: it boots by BIOS.
        storage: Where a restore puts its disks when nobody says another place.
        bridge: The bridge of segments that ``mapping`` does not name.
        mapping: Segments with the networks that they get.
        unplugged: Interfaces whose cable is out.
        machine: QEMU's machine, ``q35`` or ``pc``, or a version of one.
        cpu: The CPU type under KVM.
        system: What kind of guest it is: Proxmox's ``ostype``.
        description: Notes for people; by rule which node of which lab it is.
        tags: More tags, beside that of netlab and that of the lab.
    """

    vmid: int
    disks: tuple[Disk, ...]
    efi: EfiVariables | None = None
    storage: str = "local-lvm"
    bridge: str = "vmbr0"
    mapping: tuple[tuple[str, Network], ...] = ()
    unplugged: frozenset[str] = frozenset()
    machine: str = "q35"
    cpu: str = "host"
    system: str = "l26"
    description: str | None = None
    tags: tuple[str, ...] = ()


def configure(plan: Plan, node: NodePlan, options: ExportOptions) -> Configuration:
    """Return a node's configuration for Proxmox.

    Args:
        plan: The lab.
        node: The node, one of the plan's.
        options: What the plan does not say.

    Raises:
        ConfigurationError: All that Proxmox cannot carry, or would not take.
    """
    networks = assign_networks(plan, bridge=options.bridge, mapping=options.mapping)
    drives = tuple(_drives(options))
    configuration = make_configuration(
        (
            *_hardware(node, options),
            *((drive.drive, value) for drive, value in drives),
            *_cards(plan, node, networks, options),
            *_boot(options),
            ("tags", ";".join(sorted({TAG, lab_tag(plan), *map(str.lower, options.tags)}))),
        ),
        description=_description(plan, node)
        if options.description is None
        else options.description,
        maps=(drive for drive, _ in drives),
        file=node.name,
    )
    mistakes = [
        *(Mistake(node.name, 0, 0, *found) for found in _option_mistakes(plan, node, options)),
        *(
            Mistake(node.name, 0, 0, *found)
            for found in network_mistakes(plan, networks, options.mapping)
        ),
        *check(configuration),
    ]
    if mistakes:
        raise ConfigurationError(mistakes)
    return configuration


def lab_tag(plan: Plan) -> str:
    """Return the tag of every machine of a lab."""
    return f"{LAB_TAG}{plan.lab}"


def _hardware(node: NodePlan, options: ExportOptions) -> Iterator[tuple[str, str]]:
    yield "name", node.name
    yield "cores", str(node.cpus)
    yield "sockets", "1"
    yield "memory", str(node.memory)
    if node.accel == "tcg":
        yield "kvm", "0"
    yield "cpu", _cpu(node, options)
    yield "machine", options.machine
    yield "bios", "seabios" if options.efi is None else "ovmf"
    yield "scsihw", CONTROLLER
    yield "serial0", "socket"
    # Without a screen the terminal in the web interface is the serial console.
    yield "vga", "serial0" if node.display == "none" else node.display
    yield "agent", f"enabled={int(node.agent)}"
    yield "smbios1", write_properties([("uuid", node.uuid), *_smbios(node.devices.smbios)])
    # A restore gives it another; what it says here is only that there is one.
    yield "vmgenid", node.devices.vmgenid or generation_id(node.uuid)
    yield "ostype", options.system
    if node.devices.rng:
        yield "rng0", write_properties([("source", "/dev/urandom")])


def _cpu(node: NodePlan, options: ExportOptions) -> str:
    if node.devices.cpu is None:
        return "max" if node.accel == "tcg" else options.cpu
    model, *features = node.devices.cpu.split(",")
    flags = ";".join(map(_flag, features))
    return write_properties([("cputype", model), ("flags", flags or None)]) if flags else model


def _flag(feature: str) -> str:
    """Return a feature as Proxmox writes it, which knows +aes and -aes alone."""
    name, _, value = feature.partition("=")
    return {"on": f"+{name}", "off": f"-{name}"}.get(value, feature)


def _smbios(smbios: SmbiosPlan) -> Iterator[tuple[str, str | int | None]]:
    """Yield what firmware says of a machine: as base64, which any text may be."""
    said = {
        "manufacturer": smbios.manufacturer,
        "product": smbios.product,
        "version": smbios.version,
        "serial": smbios.serial,
        "sku": smbios.sku,
        "family": smbios.family,
    }
    for key, value in said.items():
        if value is not None:
            yield key, base64.b64encode(value.encode()).decode()
    if any(said.values()):
        yield "base64", 1


def _boot(options: ExportOptions) -> Iterator[tuple[str, str]]:
    if options.disks:
        yield "boot", f"order={';'.join(disk.drive for disk in options.disks)}"


def _drives(options: ExportOptions) -> Iterator[tuple[DriveMap, str]]:
    """Yield every drive and its value, its volume numbered as a restore would number it."""
    for number, disk in enumerate(options.disks):
        threads = disk.drive.startswith(("scsi", "virtio"))
        yield (
            _map(disk.drive, options),
            write_properties([
                ("", _volume(options, number)),
                ("discard", "on" if disk.discard else "ignore"),
                ("iothread", 1 if threads else None),
                ("ro", 1 if disk.read_only else None),
                ("serial", quote(disk.serial, safe="") or None),
                ("size", write_size(disk.size)),
            ]),
        )
    if options.efi is not None:
        yield (
            _map("efidisk0", options),
            write_properties([
                ("", _volume(options, len(options.disks))),
                ("efitype", options.efi.type),
                ("pre-enrolled-keys", int(options.efi.enrolled)),
                ("size", write_size(options.efi.size)),
            ]),
        )


def _map(drive: str, options: ExportOptions) -> DriveMap:
    return DriveMap(drive, f"drive-{drive}", options.storage, "raw")


def _volume(options: ExportOptions, number: int) -> str:
    return f"{options.storage}:vm-{options.vmid}-disk-{number}"


def _cards(
    plan: Plan, node: NodePlan, networks: Mapping[str, Network], options: ExportOptions
) -> Iterator[tuple[str, str]]:
    # Left out, an MTU is that of the bridge, or of the zone that all virtual networks are in
    # (print_netdevice_full in PVE/QemuServer.pm): 1500 only where nobody on it needs another.
    odd = {networks[segment.name].carrier for segment in plan.segments if segment.mtu != 1500}
    for index, interface in enumerate(node.interfaces[:_CARDS]):
        network = networks[interface.segment]
        said = interface.mtu != 1500 or network.carrier in odd
        yield (
            f"net{index}",
            write_properties([
                ("virtio", interface.mac.upper()),
                ("bridge", network.bridge),
                ("link_down", 1 if interface.name in options.unplugged else None),
                ("mtu", interface.mtu if said else None),
                ("tag", network.tag),
            ]),
        )


def _option_mistakes(
    plan: Plan, node: NodePlan, options: ExportOptions
) -> Iterator[tuple[str, str, str]]:
    if node.arch != "x86_64":
        hint = "the loader and the firmware that a machine gets there are for x86_64"
        yield "arch", f"a machine for {node.arch} cannot be exported", hint
    if node.boot == "network":
        hint = "write boot: kernel or disk for the export"
        yield "boot", "it boots from the network, and an exported machine from its disk", hint
    if len(node.interfaces) > _CARDS:
        message = f"{len(node.interfaces)} interfaces, and a machine on Proxmox takes {_CARDS}"
        yield "interfaces", message, "use VLANs on fewer interfaces, or more nodes"
    for interface in node.interfaces:
        if interface.mtu < SMALLEST_MTU:
            message = f"an MTU of {interface.mtu}, and Proxmox starts no machine with less than"
            hint = f"write {SMALLEST_MTU} or more"
            yield f"{interface.name}.mtu", f"{message} {SMALLEST_MTU}", hint
    for path, value, format_ in (
        ("vmid", str(options.vmid), VMID),
        ("storage", options.storage, STORAGE),
    ):
        yield from ((path, message, hint) for _, message, hint in format_.mistakes(value))
    for name in options.unplugged - {interface.name for interface in node.interfaces}:
        yield name, "the node has no such interface", ""
    yield from _disk_mistakes(options)
    yield from _tag_mistakes(plan, options)


def _disk_mistakes(options: ExportOptions) -> Iterator[tuple[str, str, str]]:
    if not options.disks:
        yield "disks", "there is none", "Proxmox boots from disks alone"
    seen: set[str] = set()
    for disk in options.disks:
        if not is_drive(disk.drive) or disk.drive in {"efidisk0", "tpmstate0"}:
            yield disk.drive, "is no disk", "there are scsi0 to scsi30 and virtio0 to virtio15"
        if disk.drive in seen:
            yield disk.drive, "is there twice", ""
        if disk.size <= 0:
            yield disk.drive, f"it has {disk.size} bytes", "an archive holds no empty disk"
        seen.add(disk.drive)
    efi = options.efi
    if efi is not None and efi.size != EFI_SIZES[efi.type]:
        message = f"variables of type {efi.type} have {EFI_SIZES[efi.type]} bytes, not {efi.size}"
        yield "efidisk0", message, "they belong to another build of OVMF"


def _tag_mistakes(plan: Plan, options: ExportOptions) -> Iterator[tuple[str, str, str]]:
    for tag in options.tags:
        # Several in one would be tags of their own, and might be another lab's.
        if any(sign in tag for sign in ";, ") or tag.lower().startswith(LAB_TAG):
            yield "tags", f"{tag!r} cannot be given", f"{lab_tag(plan)} is there by itself"


def _description(plan: Plan, node: NodePlan) -> str:
    lines = [f"{node.name} of the lab {plan.lab}, from netlab", ""]
    lines += (f"- {_describe(interface)}" for interface in node.interfaces)
    return "\n".join(lines)


def _describe(interface: InterfacePlan) -> str:
    # A segment is called by all its ends, which can be hundreds.
    name = interface.segment
    short = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
    return f"{interface.name}: {', '.join((short, *interface.addresses))}"


def write_size(size: int) -> str:
    """Return a size as Proxmox writes it: in the largest unit without a rest, at least KiB.

    Args:
        size: In bytes; a part of a KiB counts as a whole one, as volumes are made of them.
    """
    kibibytes = -(-size // 1024) * 1024
    unit, factor = next(one for one in _UNITS if kibibytes % one[1] == 0)
    return f"{kibibytes // factor}{unit}"
