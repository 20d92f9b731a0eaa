"""What a plan has to know of each image: facts only, the images themselves are built elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from netlab.plan.model import BootFrom, Bus

MAXIMUM_INTERFACES = 120
"""Interfaces of one machine: 15 slots of its PCI bus with 8 functions each, without a bridge."""


MAXIMUM_DISKS: dict[Bus, int] = {"virtio": 8, "scsi": 31, "sata": 6, "nvme": 8}
"""Disks of one machine on each bus: as many slots of its PCI bus as are kept for them, as many
targets as Proxmox numbers, as many ports as an AHCI controller of QEMU's has, as many functions as
a slot has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """An image as the planner sees it.

    Attributes:
        arch: The architecture of its programs, as QEMU names it; None where it is to be said.
        boots: How it can boot, the usual way first: ``kernel`` (kernel and initial RAM disk are
            given to QEMU), ``disk`` (there is a loader on its disk).
        buses: On which buses it finds disks.
        disk: Whether its root is on a disk, over which each machine has a layer of its own.
        minimum_memory: MiB below which it does not start, without interfaces.
        interface_memory: KiB that each interface takes: 256 buffers for frames that arrive.
        display_memory: MiB more with a display: its kernel is packed then, and unpacks itself.
        uefi_memory: MiB more with UEFI: its firmware keeps some, and the kernel unpacks itself.
        tmpfs_memory: MiB more with a root on tmpfs: it is copied there.
        memory: MiB when nothing is said.
    """

    arch: str | None
    boots: tuple[BootFrom, ...]
    buses: tuple[Bus, ...]
    disk: bool
    minimum_memory: int
    interface_memory: int
    display_memory: int
    uefi_memory: int
    tmpfs_memory: int
    memory: int


ARCHITECTURES = ("x86_64",)
"""Every architecture that there is a machine for."""

NO_IMAGE = ImageFacts(
    arch=None,
    boots=("disk",),
    buses=("virtio", "scsi", "sata", "nvme"),
    disk=False,
    minimum_memory=1,
    interface_memory=0,
    display_memory=0,
    uefi_memory=0,
    tmpfs_memory=0,
    memory=512,
)
"""What is known of a system that netlab has not built: nothing. Proxmox gives it as much memory."""

IMAGES = {
    "micro": ImageFacts(
        arch="x86_64",
        boots=("kernel",),
        buses=("virtio",),
        disk=False,
        minimum_memory=116,
        interface_memory=512,
        display_memory=4,
        uefi_memory=84,
        tmpfs_memory=16,
        memory=128,
    ),
    "debian": ImageFacts(
        arch="x86_64",
        boots=("kernel", "disk"),
        buses=("virtio", "scsi", "nvme"),
        disk=True,
        minimum_memory=256,
        interface_memory=512,
        display_memory=4,
        uefi_memory=84,
        tmpfs_memory=0,
        memory=512,
    ),
}
"""Every image that a topology may name."""
