"""What differs between the architectures of guests: the one place where these facts stand.

Facts: qemu-system-x86_64(1), hw/arm/virt.c and hw/riscv/virt.c of QEMU; the file lists of Debian's
packages ovmf and qemu-efi-aarch64. The words are those that QEMU and ``uname -m`` have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from netlab.plan.model import FirmwareKind, MachineType


@dataclass(frozen=True, slots=True, kw_only=True)
class Uefi:
    """Where Debian has UEFI firmware of an architecture.

    Attributes:
        package: The package.
        folder: The folder of its files.
        variables: The file that a variable store is made from when nothing is said.
        builds: The file with the program, by the bytes of the variable store that belongs to it.
        flash: MiB of both together, which QEMU keeps in memory.
    """

    package: str
    folder: str
    variables: str
    builds: Mapping[int, str]
    flash: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """An architecture of guests.

    Attributes:
        debian: Its name in Debian.
        program: QEMU.
        package: The Debian package of that.
        machines: QEMU's machine types that there are of it, the usual one first.
        machine_options: What is said to QEMU of every machine.
        processor: The CPU under TCG.
        console: The kernel's name of the first serial port.
        screen: Whether its machines can have a screen and a keyboard.
        vmgenid: Whether they can have a VM generation id.
        tpm: Whether they can have a TPM.
        smbios: Under which firmware their guests see what SMBIOS says.
        bios: Whether QEMU brings firmware that starts a disk.
        network: Whether QEMU's network cards bring firmware that boots from the network (iPXE).
        uefi: Its UEFI firmware, or None where Debian has none.
        lacking: What Debian 12 does not have for it; empty when all is there.
    """

    debian: str
    program: str
    package: str
    machines: tuple[MachineType, ...]
    machine_options: tuple[str, ...]
    processor: str
    console: str
    screen: bool
    vmgenid: bool
    tpm: bool
    smbios: tuple[FirmwareKind, ...]
    bios: bool
    network: bool
    uefi: Uefi | None
    lacking: str = ""


OVMF = Uefi(
    package="ovmf",
    folder="/usr/share/OVMF",
    # The build without Secure Boot whose flash has 4 MiB: what new machines on Proxmox have too.
    variables="OVMF_VARS_4M.fd",
    builds={540_672: "OVMF_CODE_4M.fd", 131_072: "OVMF_CODE.fd"},
    flash=4,
)

SECURE_OVMF = replace(
    OVMF,
    # Has Microsoft's keys, by which Debian's first loader (shim) is signed.
    variables="OVMF_VARS_4M.ms.fd",
    builds={540_672: "OVMF_CODE_4M.secboot.fd", 131_072: "OVMF_CODE.secboot.fd"},
)
"""The same with Secure Boot: they keep the variables in system management mode."""

AAVMF = Uefi(
    package="qemu-efi-aarch64",
    folder="/usr/share/AAVMF",
    variables="AAVMF_VARS.fd",
    builds={67_108_864: "AAVMF_CODE.fd"},
    flash=128,
)

ARCHITECTURES = {
    "x86_64": Architecture(
        debian="amd64",
        program="qemu-system-x86_64",
        package="qemu-system-x86",
        machines=("q35", "pc"),
        machine_options=(),
        processor="max",
        console="ttyS0",
        screen=True,
        vmgenid=True,
        tpm=True,
        smbios=("bios", "uefi"),
        bios=True,
        network=True,
        uefi=OVMF,
    ),
    "aarch64": Architecture(
        debian="arm64",
        program="qemu-system-aarch64",
        package="qemu-system-arm",
        machines=("virt",),
        # The oldest interrupt controller takes eight CPUs and 64 interrupts of NICs.
        machine_options=("gic-version=max",),
        # What "max" adds is emulated slowly: three times as long to the agent (docs/images.md).
        processor="cortex-a72",
        console="ttyAMA0",
        screen=False,
        vmgenid=False,
        tpm=False,
        smbios=("uefi",),
        bios=False,
        network=False,
        uefi=AAVMF,
    ),
    "riscv64": Architecture(
        debian="riscv64",
        program="qemu-system-riscv64",
        package="qemu-system-misc",
        machines=("virt",),
        machine_options=(),
        processor="rv64",
        console="ttyS0",
        screen=False,
        vmgenid=False,
        tpm=False,
        smbios=(),
        bios=False,
        network=False,
        uefi=None,
        lacking="Debian 12 has neither packages nor UEFI firmware for riscv64",
    ),
}
"""Every architecture that there is a machine for."""
