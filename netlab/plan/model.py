"""The plan: a frozen, JSON-able value that says everything a lab will be.

Nothing in it comes from the host, the clock, the environment or chance: the same topology text
gives the same plan on every machine. Sizes are MiB, addresses are in CIDR notation with the host's
own address (``192.168.1.2/24``), MAC addresses are lower case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from netlab.plan.parts import NO_SEED, PLAIN, CloudInitPlan, DevicesPlan, SharePlan

Wire = Literal["exact", "fast"]
Accel = Literal["auto", "kvm", "tcg"]
Display = Literal["none", "std", "virtio"]
BootFrom = Literal["kernel", "disk", "network"]
MachineType = Literal["q35", "pc", "virt"]
Bus = Literal["virtio", "scsi", "sata", "nvme"]
DiskFormat = Literal["raw", "qcow2"]
DiskSource = Literal["image", "file", "empty", "netboot"]
FirmwareKind = Literal["bios", "uefi"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PortPlan:
    """A segment's port: one tap on the segment's bridge.

    Attributes:
        tap: The tap's name in the lab's network namespace, 1 to 15 bytes, unique in the lab.
        altname: Its long name for people: ``netlab.LAB.NODE.INTERFACE``, at most 127 bytes.
        wire: ``exact`` (no offloads: frames as a switch would see them) or ``fast``.
    """

    tap: str
    altname: str
    wire: Wire


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPlan:
    """A layer-2 segment: one Linux bridge.

    Attributes:
        name: For people: ``vlan1``, or ``r1:eth1--r2:eth1`` for a link.
        bridge: The bridge's name, 1 to 15 bytes, unique in the lab and distinct from every tap.
        altname: Its long name, at most 127 bytes.
        vlan: The vlan's number when the segment is one, else None.
        mtu: In bytes.
        ports: In the order of the file. A segment with exactly two is a wire: its bridge learns no
            addresses (ageing 0).
    """

    name: str
    bridge: str
    altname: str
    vlan: int | None
    mtu: int
    ports: tuple[PortPlan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfacePlan:
    """A node's interface.

    Attributes:
        name: Its name inside the guest, 1 to 15 bytes.
        segment: The name of the segment that it is on.
        tap: The name of its tap.
        mac: Lower case; given, or locally administered.
        mtu: In bytes.
        addresses: In CIDR notation, IPv4 and IPv6, in the order to be set.
    """

    name: str
    segment: str
    tap: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutePlan:
    """A static route: to a prefix or ``default``, through a gateway and/or an interface."""

    to: str
    via: str | None
    interface: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlan:
    """A file that the guest gets.

    Attributes:
        path: Absolute, in the guest.
        content: Its text, or its bytes in base64.
        encoding: ``utf-8`` or ``base64``: what ``content`` is.
        mode: Permission bits, such as 0o644.
    """

    path: str
    content: str
    encoding: Literal["utf-8", "base64"]
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwarePlan:
    """What starts a machine.

    Attributes:
        kind: ``bios``, which QEMU has, or ``uefi``.
        code: A file of the host with the firmware's program, or None for the host's own.
        vars: A file of the host that the variable store is made from, or None for the one that
            belongs to the host's own firmware. Never written to.
        secure_boot: Whether it starts only loaders that are signed.
    """

    kind: FirmwareKind
    code: str | None
    vars: str | None
    secure_boot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskPlan:
    """A disk of a machine.

    Attributes:
        source: What is on it at first: the ``image``'s disk, a ``file``'s content, nothing, or what
            others need to boot an image from the network (``netboot``).
        file: The file, of the host or an address of the net, or None. Never written to: a layer of
            the node's is above it.
        format: What the file is, or None without one.
        size: MiB, or None for as large as what is on it.
        bus: What it hangs on.
        serial: The serial number that the guest reads, or None.
        discard: Whether the host takes back what the guest discards.
        read_only: Whether the guest may only read it; then there is no layer.
        image: For ``netboot``: the image's name in the store.
        digest: What has to be in the file, such as ``sha256:…``, or None.
        persist: Whether the layer stays when the lab goes.
    """

    source: DiskSource
    file: str | None
    format: DiskFormat | None
    size: int | None
    bus: Bus
    serial: str | None
    discard: bool
    read_only: bool
    image: str | None = None
    digest: str | None = None
    persist: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CdromPlan:
    """A CD-ROM in a drive of a machine's.

    Attributes:
        file: The file of the host or the net with its image, which is only ever read.
        bus: What the drive hangs on.
        digest: What has to be in the file, such as ``sha256:…``, or None.
    """

    file: str
    bus: Bus
    digest: str | None = None


BIOS = FirmwarePlan(kind="bios", code=None, vars=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """One machine.

    Attributes:
        name: The node's name and the guest's host name.
        id: 1 to 4096, unique; the source of its addresses.
        id_given: Whether the file says the id. Without, it is the position, and moves with edits.
        image: The image's name, that of an own one as :class:`ImagePlan` has it, or None: it
            boots from a file's disk.
        arch: The guest's architecture, as QEMU names it.
        accel: What the file asks for.
        cpus: Number of virtual CPUs.
        memory: MiB.
        display: Its graphics card, as Proxmox names it.
        firmware: What starts it.
        boot: What its firmware starts: the image's ``kernel``, the loader on its ``disk``, or what
            it is given over the ``network`` of its first interface.
        disks: Its disks, the root disk first if it has one.
        tmpfs_root: Whether its root is to be a tmpfs, as it shall have no root disk.
        machine: QEMU's machine type.
        agent: Whether its guest runs the guest agent; else it is ready when QEMU runs.
        configure: Whether netlab makes its guest this node; else names, addresses and routes are
            what others are told of it.
        cdroms: Images of CD-ROMs in its drives.
        cloud_init: What cloud-init finds in its seed, if it has one.
        devices: What else it has.
        shares: Folders of the host's for its guest, those that are off among them.
        wire: Whether offloads are negotiated with the guest.
        uuid: SMBIOS UUID: given, or a function of lab and node.
        interfaces: vlans first, then explicit ones, then links, each in file order.
        loopback: Addresses of ``lo`` beside the usual ones, in CIDR notation.
        routes: Static routes.
        files: Files, in file order.
        run: Shell commands that are run, in order, once addresses and files are there.
    """

    name: str
    id: int
    id_given: bool
    image: str | None
    arch: str
    accel: Accel
    cpus: int
    memory: int
    display: Display
    wire: Wire
    uuid: str
    interfaces: tuple[InterfacePlan, ...]
    loopback: tuple[str, ...]
    routes: tuple[RoutePlan, ...]
    files: tuple[FilePlan, ...]
    run: tuple[str, ...]
    firmware: FirmwarePlan = BIOS
    boot: BootFrom = "kernel"
    disks: tuple[DiskPlan, ...] = ()
    tmpfs_root: bool = False
    machine: MachineType = "q35"
    agent: bool = True
    configure: bool = True
    cdroms: tuple[CdromPlan, ...] = ()
    cloud_init: CloudInitPlan = NO_SEED
    devices: DevicesPlan = PLAIN
    shares: tuple[SharePlan, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """A line of every node's ``/etc/hosts``: a name and its addresses (without prefix length)."""

    name: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFilePlan:
    """A file of an image of the user's own.

    Attributes:
        path: Absolute, in the guest.
        mode: Permission bits; None for those of the file or folder that it comes from.
        content: Its text, or its bytes in base64; empty if it comes from elsewhere.
        encoding: ``utf-8`` or ``base64``: what ``content`` is.
        source: A file or folder of the host, or None.
        digest: SHA-256 of all that is there, or None.
    """

    path: str
    mode: int | None
    content: str
    encoding: Literal["utf-8", "base64"]
    source: str | None
    digest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlan:
    """An image of the user's own.

    Attributes:
        name: What nodes and the store call it: ``NAME@DIGEST``, by which two that are made of the
            same are one.
        file: The recipe's file, of the host.
        base: The image that it is made of.
        packages: Debian packages beside those of its base.
        files: By their paths, so that one inside a folder comes after that, and wins over it.
        run: Shell commands that are run in it while it is built.
        modules: Modules of the kernel beside those of its base.
        append: Words for the kernel's command line beside those of its base.
    """

    name: str
    file: str
    base: str
    packages: tuple[str, ...]
    files: tuple[ImageFilePlan, ...]
    run: tuple[str, ...]
    modules: tuple[str, ...]
    append: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a lab will be.

    Attributes:
        lab: The lab's name; part of MACs, UUIDs and long names.
        topology: The name that the file gives itself.
        nodes: In file order.
        segments: vlans by number, then links in file order.
        hosts: Every node's name and addresses.
        warnings: What the author should know, such as nodes without an ``id``.
        images: Images of the user's own that nodes boot or serve.
    """

    lab: str
    topology: str
    nodes: tuple[NodePlan, ...]
    segments: tuple[SegmentPlan, ...]
    hosts: tuple[HostPlan, ...]
    warnings: tuple[str, ...]
    images: tuple[ImagePlan, ...] = ()

    def node(self, name: str) -> NodePlan:
        """Return the node of that name.

        Raises:
            KeyError: There is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)
