"""What a plan has to know of each image: facts only, the images themselves are built elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

from netlab.plan.model import BootFrom, Bus
from netlab.plan.parts import ShareDriver

MAXIMUM_INTERFACES = 120
"""Interfaces of one machine: 15 slots of its PCI bus with 8 functions each, without a bridge."""


MAXIMUM_DISKS: dict[Bus, int] = {"virtio": 8, "scsi": 31, "sata": 6, "nvme": 8}
"""Disks of one machine on each bus: as many slots of its PCI bus as are kept for them, as many
targets as Proxmox numbers, as many ports as an AHCI controller of QEMU's has, as many functions as
a slot has."""


MAXIMUM_SHARES = 7
"""Shares of one machine: functions of a slot of its PCI bus, the first of which is another's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """An image as the planner sees it.

    Attributes:
        architectures: What it is built for, the usual one first; none where it is to be said.
        boots: How it can boot, the usual way first: ``kernel`` (kernel and initial RAM disk are
            given to QEMU), ``disk`` (there is a loader on its disk), ``network``.
        buses: On which buses it finds disks.
        cloud_init: Whether cloud-init is in it; where nothing is known, it may be.
        shares: By which drivers it mounts shares. Debian's cloud kernel is built without 9p
            (``# CONFIG_NET_9P is not set``, on both architectures).
        disk: Whether its root is on a disk, over which each machine has a layer of its own.
        minimum_memory: MiB below which it does not start, without interfaces.
        interface_memory: KiB that each interface takes: 256 buffers for frames that arrive.
        display_memory: MiB more with a display: its kernel is packed then, and unpacks itself.
        uefi_memory: MiB more with UEFI: its firmware keeps some, and the kernel unpacks itself.
        tmpfs_memory: MiB more with a root on tmpfs: it is copied there.
        network_memory: MiB more from the network: the kernel as packaged and the initial RAM disk
            are there twice for a moment.
        memory: MiB when nothing is said.
    """

    architectures: tuple[str, ...]
    boots: tuple[BootFrom, ...]
    buses: tuple[Bus, ...]
    cloud_init: bool
    shares: tuple[ShareDriver, ...]
    disk: bool
    minimum_memory: int
    interface_memory: int
    display_memory: int
    uefi_memory: int
    tmpfs_memory: int
    network_memory: int
    memory: int


USUAL_ARCH = "x86_64"
"""The architecture that an image's name alone means."""

DEFAULT_IMAGE = "micro"
"""What a node boots when nothing is said."""

NO_IMAGE = ImageFacts(
    architectures=(),
    boots=("disk", "network"),
    buses=("virtio", "scsi", "sata", "nvme"),
    cloud_init=True,
    shares=("virtiofs", "9p"),
    disk=False,
    minimum_memory=1,
    interface_memory=0,
    display_memory=0,
    uefi_memory=0,
    tmpfs_memory=0,
    network_memory=0,
    memory=512,
)
"""What is known of a system that netlab has not built: nothing. Proxmox gives it as much memory."""

IMAGES = {
    "micro": ImageFacts(
        architectures=("x86_64", "aarch64"),
        boots=("kernel", "network"),
        buses=("virtio",),
        cloud_init=False,
        shares=("virtiofs",),
        disk=False,
        minimum_memory=116,
        interface_memory=512,
        display_memory=4,
        uefi_memory=84,
        tmpfs_memory=16,
        network_memory=32,
        memory=128,
    ),
    "debian": ImageFacts(
        architectures=("x86_64",),
        boots=("kernel", "disk"),
        buses=("virtio", "scsi", "nvme"),
        cloud_init=True,
        shares=("virtiofs",),
        disk=True,
        minimum_memory=256,
        interface_memory=512,
        display_memory=4,
        uefi_memory=84,
        tmpfs_memory=0,
        network_memory=32,
        memory=512,
    ),
}
"""Every image that a topology may name."""

MISTAKEN = replace(
    IMAGES["debian"],
    architectures=IMAGES["micro"].architectures,
    boots=("kernel", "disk", "network"),
    buses=NO_IMAGE.buses,
    minimum_memory=1,
)
"""What is taken for known of an image whose recipe is mistaken: nothing is to be found in vain."""


def stored_name(image: str, arch: str) -> str:
    """Return an image's name in the store: ``micro``, and ``micro-aarch64`` beside it."""
    return image if arch == USUAL_ARCH else f"{image}-{arch}"
