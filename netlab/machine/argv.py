"""QEMU's command line, as a pure function of the plan.

Facts: qemu-system-x86_64(1). Everything that could differ between two hosts is said or left out by
``-nodefaults -no-user-config``; every device has a name and an address of its own, so that a link
can be taken down by name and a node's PCI addresses never depend on another's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from netlab.errors import InputError, UnknownNameError
from netlab.machine.boot import Boot
from netlab.machine.devices import device_options, share_options, tpm_options
from netlab.machine.drives import disk_options, escape, firmware_options
from netlab.plan.architectures import ARCHITECTURES, Architecture
from netlab.plan.catalogue import MAXIMUM_DISKS, MAXIMUM_INTERFACES
from netlab.plan.model import Display, InterfacePlan, MachineType, NodePlan, Wire

FIRST_DESCRIPTOR = 10
"""Below are the standard ones and room for what a launcher may need."""

SERIAL_BUS = "serial0.0"
AGENT_PORT = "agent0"
"""QEMU's names of the bus of virtio ports, and of the port that the guest agent has."""

DISPLAY_SLOT = 0x03
FIRST_NIC_SLOT = 0x10
FUNCTIONS = 8
"""PCI: q35 has its own devices in slots 0 and 31, pc in 0 and 1, virt in 0; a slot has 8 functions,
so the 15 slots from 0x10 to 0x1e hold MAXIMUM_INTERFACES without a bridge."""

MESSAGE_SIGNALLED = 48
"""So many interfaces get interrupts of their own, three each (MSI-X); those behind share the four
lines of the PCI bus. A processor of Linux on x86 has some 220 vectors for everything (kernel,
arch/x86/include/asm/irq_vectors.h), and a NIC that finds none left does not come up."""

OFFLOADS = (
    "csum", "gso", "host_tso4", "host_tso6", "host_ecn", "host_ufo",
    "guest_csum", "guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo",
)  # fmt: skip
"""What makes a frame on the wire differ from one on a cable. mrg_rxbuf stays: it is only memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Descriptor numbers in QEMU.

    Attributes:
        qmp: A stream socket for the monitor.
        agent: A stream socket for the guest agent.
        console: A stream socket for the serial console.
        interfaces: A tap for each interface, in the plan's order.
        tpm: A stream socket to its TPM, or None without one.
        shares: A stream socket to who serves it, for each share that is on.
    """

    qmp: int
    agent: int
    console: int
    interfaces: tuple[int, ...]
    tpm: int | None = None
    shares: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chassis:
    """What differs between machine types.

    q35 is as quick to the agent as pc, and microvm gives up PCI: no ACPI hot-plug, no UEFI.

    Attributes:
        pci: QEMU's name of its PCI bus.
        serial_slot: Where the virtio ports are; slot 1 of a pc is its ISA bridge.
    """

    pci: str
    serial_slot: int


DISPLAYS: dict[Display, str] = {"std": "VGA", "virtio": "virtio-vga"}
"""QEMU's device for each display that is one: what Proxmox starts for the same word on x86_64."""

_CHASSIS: dict[MachineType, _Chassis] = {
    "q35": _Chassis(pci="pcie.0", serial_slot=0x01),
    "pc": _Chassis(pci="pci.0", serial_slot=0x04),
    "virt": _Chassis(pci="pcie.0", serial_slot=0x01),
}


def channels(node: NodePlan) -> Channels:
    """Return the descriptor numbers for a node: one after the other, from 10 up."""
    first = FIRST_DESCRIPTOR + 3
    behind = first + len(node.interfaces)
    shares = range(behind + 1, behind + 1 + sum(share.on for share in node.shares))
    return Channels(
        qmp=FIRST_DESCRIPTOR,
        agent=FIRST_DESCRIPTOR + 1,
        console=FIRST_DESCRIPTOR + 2,
        interfaces=tuple(range(first, behind)),
        tpm=behind if node.devices.tpm else None,
        shares=tuple(shares),
    )


def nic_id(index: int) -> str:
    """Return QEMU's name of the NIC of a node's interface with that index."""
    return f"nic{index}"


def nic_index(node: NodePlan, interface: str) -> int:
    """Return which of a node's interfaces is called so.

    Raises:
        UnknownNameError: None is.
    """
    names = [candidate.name for candidate in node.interfaces]
    if interface not in names:
        raise UnknownNameError(f"{node.name} has no interface {interface!r}")
    return names.index(interface)


def argv(
    node: NodePlan, boot: Boot, *, accel: Literal["kvm", "tcg"], channels: Channels
) -> tuple[str, ...]:
    """Return the command line of a node's QEMU.

    Args:
        node: The node.
        boot: What it boots from.
        accel: The accelerator, decided.
        channels: Its descriptors.

    Raises:
        InputError: The architecture is unknown, the CPU is not this accelerator's, or there are
            more interfaces or disks than slots.
    """
    architecture, chassis = _check(node, boot), _CHASSIS[node.machine]
    pci = chassis.pci
    arguments = (
        *_chassis(node, architecture, boot, accel),
        *_channel_devices(channels, chassis, multifunction=bool(boot.shares)),
        *device_options(node.devices, boot, pci),
        *tpm_options(channels.tpm),
        *share_options(boot.shares, channels.shares, pci, chassis.serial_slot),
        *_display(node.display, pci),
        *(() if boot.firmware is None else firmware_options(boot.firmware)),
        *_boot(boot),
        *disk_options(boot, pci),
        *_nics(node, boot, channels, pci),
        node.devices.qemu_args,
    )
    return tuple(word for group in arguments for word in group)


def _chassis(
    node: NodePlan, architecture: Architecture, boot: Boot, accel: Literal["kvm", "tcg"]
) -> tuple[tuple[str, ...], ...]:
    return (
        (architecture.program,),
        ("-name", f"guest={escape(node.name)}"),
        ("-nodefaults",),
        ("-no-user-config",),
        ("-display", "none"),
        # A guest that breaks out of its devices finds no way to start programs or gain rights.
        ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        ("-machine", _machine(node.machine, architecture, boot)),
        ("-accel", accel),
        ("-cpu", _cpu(node, architecture, accel)),
        ("-smp", str(node.cpus)),
        ("-m", f"{node.memory}M"),
        *_memory(node, boot),
        ("-uuid", node.uuid),
        ("-rtc", "base=utc"),
        # A panicked guest stays to be looked at.
        ("-action", "panic=pause"),
    )


def _memory(node: NodePlan, boot: Boot) -> tuple[tuple[str, str], ...]:
    """Let who serves a share see the memory: requests over virtiofs are addresses in it."""
    if not _is_shared(boot):
        return ()
    return (("-object", f"memory-backend-memfd,id=memory0,size={node.memory}M,share=on"),)


def _is_shared(boot: Boot) -> bool:
    return any(share.driver == "virtiofs" for share in boot.shares)


def _nics(node: NodePlan, boot: Boot, channels: Channels, pci: str) -> Iterator[tuple[str, str]]:
    for index, interface in enumerate(node.interfaces):
        # Firmware of its own has the card that a machine boots from, and no other.
        own = "bootindex=0" if boot.network and index == 0 else "romfile="
        descriptor = channels.interfaces[index]
        yield from _nic(index, interface, node.wire, descriptor, (f"bus={pci}", own))


def _cpu(node: NodePlan, architecture: Architecture, accel: Literal["kvm", "tcg"]) -> str:
    model = node.devices.cpu
    if model is None:
        return "host" if accel == "kvm" else architecture.processor
    if accel == "tcg" and model.partition(",")[0] == "host":
        raise InputError(
            f"{node.name}: the CPU {model!r} is KVM's, and this machine runs under TCG",
            hint="leave cpu out, or name a model such as max",
        )
    return model


def _check(node: NodePlan, boot: Boot) -> Architecture:
    architecture = ARCHITECTURES.get(node.arch)
    if architecture is None:
        known = ", ".join(sorted(ARCHITECTURES))
        raise InputError(f"{node.name}: there is no machine for {node.arch!r}", hint=f"use {known}")
    if len(node.interfaces) > MAXIMUM_INTERFACES:
        raise InputError(
            f"{node.name} has {len(node.interfaces)} interfaces, and a machine takes"
            f" {MAXIMUM_INTERFACES}",
            hint="use VLANs on fewer interfaces, or more nodes",
        )
    counts = Counter(disk.bus for disk in boot.disks)
    for bus, limit in MAXIMUM_DISKS.items():
        if (count := counts[bus]) > limit:
            raise InputError(f"{node.name} has {count} disks on {bus}, a machine takes {limit}")
    return architecture


def _channel_devices(
    channels: Channels, chassis: _Chassis, *, multifunction: bool
) -> tuple[tuple[str, str], ...]:
    others = ",multifunction=on" if multifunction else ""
    return (
        ("-chardev", f"socket,id=qmp,fd={channels.qmp}"),
        ("-mon", "chardev=qmp,mode=control"),
        ("-chardev", f"socket,id=console,fd={channels.console}"),
        ("-serial", "chardev:console"),
        (
            "-device",
            f"virtio-serial-pci,id=serial0,bus={chassis.pci},addr={chassis.serial_slot:#x},"
            f"disable-legacy=on{others}",
        ),
        ("-chardev", f"socket,id=agent,fd={channels.agent}"),
        (
            "-device",
            f"virtserialport,id={AGENT_PORT},bus={SERIAL_BUS},nr=1,chardev=agent,"
            "name=org.qemu.guest_agent.0",
        ),
    )


def _display(display: Display, pci: str) -> tuple[tuple[str, str], ...]:
    device = DISPLAYS.get(display)
    if device is None:
        return ()
    # No keyboard: q35 has one, on its PS/2 port.
    return (("-device", f"{device},id=display0,bus={pci},addr={DISPLAY_SLOT:#x}"),)


def _machine(machine: str, architecture: Architecture, boot: Boot) -> str:
    options: tuple[str, ...] = ()
    if boot.firmware is not None:
        management = ("smm=on",) if boot.firmware.secure else ()
        options = (*management, "pflash0=firmware0", "pflash1=firmware1")
    elif boot.network:
        # The BIOS, and iPXE with it, then speaks on the serial port.
        options = ("graphics=off",)
    memory = ("memory-backend=memory0",) if _is_shared(boot) else ()
    return ",".join((machine, *architecture.machine_options, *options, *memory))


def _boot(boot: Boot) -> tuple[tuple[str, str], ...]:
    if boot.kernel is None:
        return ()
    groups: tuple[tuple[str, str], ...] = (("-kernel", boot.kernel),)
    if boot.initrd is not None:
        groups += (("-initrd", boot.initrd),)
    if boot.append:
        groups += (("-append", boot.append),)
    return groups


def _nic(
    index: int, interface: InterfacePlan, wire: Wire, descriptor: int, place: tuple[str, str]
) -> tuple[tuple[str, str], ...]:
    slot, function = divmod(index, FUNCTIONS)
    parts = [
        f"virtio-net-pci,id={nic_id(index)},netdev=net{index},mac={escape(interface.mac)}",
        f"{place[0]},addr={FIRST_NIC_SLOT + slot:#x}.{function}",
        "disable-legacy=on",
        place[1],
    ]
    if function == 0:
        parts.append("multifunction=on")
    if interface.mtu != 1500:
        parts.append(f"host_mtu={interface.mtu}")
    if wire == "exact":
        parts.extend(f"{offload}=off" for offload in OFFLOADS)
    if index >= MESSAGE_SIGNALLED:
        parts.append("vectors=0")
    return (
        ("-netdev", f"tap,id=net{index},fd={descriptor}"),
        ("-device", ",".join(parts)),
    )
