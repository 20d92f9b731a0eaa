"""What a machine boots from, as a pure function of the plan and of where the host has its files.

Paths are strings, so that a plan can be shown with placeholders for what is the host's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from netlab.plan.model import Bus, CdromPlan, DiskFormat, DiskPlan, NodePlan
from netlab.plan.parts import ShareDriver

_MIB = 1 << 20

TMPFS_ROOT = "netlab_root=tmpfs"
"""Tells the micro image, on the kernel's command line, that its root shall be a tmpfs."""

VARIABLES = "vars.fd"
"""Name of a machine's UEFI variable store in its folder."""

SEED = "seed.img"
"""Name of the disk in its folder that cloud-init looks for."""

TPM = "tpm"
"""Name of the folder in it with what its TPM keeps."""

_NOTHING: Mapping[str, bytes] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareFiles:
    """A build of UEFI firmware.

    Attributes:
        code: Its program, which is only ever read.
        template: The variable store that came with it; each machine has a copy of its own.
    """

    code: str
    template: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """The UEFI firmware of one machine.

    Attributes:
        code: Its program, which is only ever read.
        template: What the variable store is made from, once.
        store: The machine's own variable store, which it writes to.
        secure: Whether only the firmware may write to it, in system management mode.
    """

    code: str
    template: str
    store: str
    secure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """How a disk of a machine's own is made, once: a qcow2 file.

    Attributes:
        base: The file below, which is only ever read; None for an empty disk.
        format: What that is.
        size: Bytes of the disk as the guest sees it; the base's when None.
        serial: The serial number that it is kept by when the lab goes, or None if it goes too.
    """

    base: str | None
    format: DiskFormat
    size: int | None
    serial: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk of a machine.

    Attributes:
        file: What QEMU opens.
        format: What that is.
        layer: How it is made, or None for a file that is there and is only read.
        bus: What it hangs on.
        serial: The serial number that the guest reads, or None.
        discard: Whether the host takes back what the guest discards.
        read_only: Whether the guest may only read it.
    """

    file: str
    format: DiskFormat
    layer: Layer | None
    bus: Bus = "virtio"
    serial: str | None = None
    discard: bool = True
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFile:
    """A file of a machine's own that is there before it starts, for its user alone."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A disk of a machine's own with files for cloud-init.

    Attributes:
        path: The disk.
        files: What is on it, by name.
    """

    path: str
    files: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A folder of the host's for a machine's guest.

    Attributes:
        tag: By what the guest finds it.
        source: The folder.
        target: Where the guest mounts it.
        writable: Whether the guest may write to it.
        driver: How it gets there.
        program: The host's virtiofsd; None over 9p, which QEMU speaks itself.
    """

    tag: str
    source: str
    target: str
    writable: bool
    driver: ShareDriver
    program: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What a machine boots from.

    Attributes:
        kernel: A kernel image, or None to boot from the first disk.
        initrd: Its initial RAM disk, or None.
        append: Its command line.
        disks: Its disks, the root disk first if it has one.
        firmware: Its UEFI firmware, or None for the BIOS that QEMU has.
        network: Whether its first network card comes first of all, with firmware of its own.
        cdroms: Images of CD-ROMs in its drives, looked at when no disk starts.
        seed: What cloud-init finds, or None.
        tpm: The folder with what its TPM keeps, or None without one.
        credentials: What SMBIOS hands to systemd in the guest.
        shares: Folders of the host's for the guest.
    """

    kernel: str | None
    initrd: str | None = None
    append: str = ""
    disks: tuple[Disk, ...] = ()
    firmware: Firmware | None = None
    network: bool = False
    cdroms: tuple[CdromPlan, ...] = ()
    seed: Seed | None = None
    tpm: str | None = None
    credentials: tuple[OwnFile, ...] = ()
    shares: tuple[Share, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFiles:
    """What an image has to boot from.

    Attributes:
        kernel: The kernel that boots fastest, and never hears of a screen or of UEFI.
        packed_kernel: The one that asks the firmware for them.
        initrd: The initial RAM disk.
        append: The kernel's command line.
        disk: A disk with the root file system, qcow2, which is only ever read; or None.
    """

    kernel: str
    packed_kernel: str
    initrd: str
    append: str
    disk: str | None = None


def choose_boot(
    node: NodePlan,
    files: ImageFiles | None,
    *,
    own: Callable[[str], str],
    firmware: FirmwareFiles | None = None,
    seed: Mapping[str, bytes] = _NOTHING,
    netboot: Callable[[str], str] = str,
) -> Boot:
    """Return what a node boots from, of what its image and the host have.

    Args:
        node: The node.
        files: Its image's, or None for a node without.
        own: Returns the path of a file of the node's own, by its name.
        firmware: The build of UEFI firmware that it has, if that is its firmware.
        seed: What is in its seed for cloud-init, if it has one.
        netboot: Returns the path of what an image boots from over the network, by its name.
    """
    boot = Boot(
        kernel=None,
        disks=tuple(
            _disk(disk, _below(disk, files, netboot), own(f"disk{index}.qcow2"))
            for index, disk in enumerate(node.disks)
        ),
        firmware=None if firmware is None else _firmware(node, firmware, own),
        network=node.boot == "network",
        cdroms=node.cdroms,
        seed=Seed(path=own(SEED), files=tuple(seed.items())) if node.cloud_init.enabled else None,
        tpm=own(TPM) if node.devices.tpm else None,
        credentials=tuple(
            OwnFile(path=own(f"credential{index}"), content=credential.string.encode())
            for index, credential in enumerate(node.devices.credentials)
        ),
    )
    if files is None or node.boot != "kernel":
        return boot
    kernel, append = _choose_kernel(node, files, uefi=firmware is not None)
    return replace(boot, kernel=kernel, initrd=files.initrd, append=append)


def _choose_kernel(node: NodePlan, files: ImageFiles, *, uefi: bool) -> tuple[str, str]:
    """Return the kernel that is handed over, and its command line."""
    kernel, append = files.kernel, files.append
    if node.tmpfs_root:
        append = f"{append} {TMPFS_ROOT}"
    if node.display != "none" or uefi:
        # Looking for a place by chance takes time, and in little memory it complains on the screen
        # that there is none.
        kernel, append = files.packed_kernel, f"{append} nokaslr"
    if node.display != "none":
        # The kernel prints on all consoles, and /dev/console is the last one.
        append = f"console=tty0 {append}"
    return kernel, append


def _below(
    disk: DiskPlan, files: ImageFiles | None, netboot: Callable[[str], str]
) -> tuple[str | None, DiskFormat | None]:
    """Return the file that a disk begins as, and its format."""
    if disk.source == "image":
        return files and files.disk, "qcow2"
    return (disk.file if disk.image is None else netboot(disk.image)), disk.format


def _disk(disk: DiskPlan, below: tuple[str | None, DiskFormat | None], own: str) -> Disk:
    base, kind = below
    size = None if disk.size is None else disk.size * _MIB
    serial = disk.serial if disk.persist else None
    layer = Layer(base=base, format=kind or "raw", size=size, serial=serial)
    made = Disk(
        file=own,
        format="qcow2",
        layer=layer,
        bus=disk.bus,
        serial=disk.serial,
        discard=disk.discard,
        read_only=disk.read_only,
    )
    if base is None or not disk.read_only:
        return made
    return replace(made, file=base, format=layer.format, layer=None)


def _firmware(node: NodePlan, files: FirmwareFiles, own: Callable[[str], str]) -> Firmware:
    return Firmware(
        code=files.code,
        template=files.template,
        store=own(VARIABLES),
        secure=node.firmware.secure_boot,
    )
