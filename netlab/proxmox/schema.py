"""What each setting of a virtual machine may be on Proxmox, as a table.

It has what a configuration of netlab's can say, and each row the file of Proxmox VE (9.2) that the
rule comes from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from netlab.proxmox import formats
from netlab.proxmox.formats import BOOLEAN, NUMBER, Format, Properties, integer, one_of, pattern

NET_MODELS = (
    "virtio", "e1000", "e1000-82540em", "e1000-82544gc", "e1000-82545em", "e1000e", "i82551",
    "i82557b", "i82559er", "ne2k_isa", "ne2k_pci", "pcnet", "rtl8139", "vmxnet3",
)  # fmt: skip
"""Network cards (PVE/QemuServer/Network.pm)."""

DRIVES = {"ide": 4, "sata": 6, "scsi": 31, "virtio": 16}
"""Buses of disks, and how many disks each has (PVE/QemuServer/Drive.pm)."""

CPUS = (
    "host", "max", "kvm32", "kvm64", "qemu32", "qemu64", "x86-64-v2", "x86-64-v2-AES", "x86-64-v3",
    "x86-64-v4", "pentium", "pentium2", "pentium3", "coreduo", "core2duo", "Conroe", "Penryn",
    "Nehalem", "Nehalem-IBRS", "Westmere", "Westmere-IBRS", "SandyBridge", "SandyBridge-IBRS",
    "IvyBridge", "IvyBridge-IBRS", "Haswell", "Haswell-IBRS", "Haswell-noTSX",
    "Haswell-noTSX-IBRS", "Broadwell", "Broadwell-IBRS", "Broadwell-noTSX", "Broadwell-noTSX-IBRS",
    "Skylake-Client", "Skylake-Client-IBRS", "Skylake-Client-noTSX-IBRS", "Skylake-Server",
    "Skylake-Server-IBRS", "Skylake-Server-noTSX-IBRS", "Cascadelake-Server",
    "Cascadelake-Server-noTSX", "KnightsMill", "Icelake-Server", "Icelake-Server-noTSX",
    "SapphireRapids", "athlon", "phenom", "Opteron_G1", "Opteron_G2", "Opteron_G3", "Opteron_G4",
    "Opteron_G5", "EPYC", "EPYC-IBPB", "EPYC-Rome", "EPYC-Milan", "EPYC-Genoa",
)  # fmt: skip
"""Those of the built-in CPU types that are in every version (PVE/QemuServer/CPUConfig.pm)."""

SYSTEMS = (
    "other", "wxp", "w2k", "w2k3", "w2k8", "wvista", "win7", "win8", "win10", "win11", "l24", "l26",
    "solaris",
)  # fmt: skip
"""Guests' operating systems (PVE/QemuServer.pm)."""

SCREENS = (
    "std", "virtio", "virtio-gl", "cirrus", "vmware", "qxl", "qxl2", "qxl3", "qxl4", "none",
    "serial0", "serial1", "serial2", "serial3",
)  # fmt: skip
"""Graphics cards, and terminals in their place (PVE/QemuServer.pm)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a setting may be.

    Attributes:
        value: Its format.
        source: The file of Proxmox VE that the rule comes from.
        count: How many there are by number, from 0; None for a setting without a number.
    """

    value: Format | Properties
    source: str
    count: int | None = None


_SERVER = "PVE/QemuServer.pm"
_DRIVE = "PVE/QemuServer/Drive.pm"
_NETWORK = "PVE/QemuServer/Network.pm"
_CPU = "PVE/QemuServer/CPUConfig.pm"
_IMAGES = one_of("raw", "qcow2", "vmdk")

_DISK: Mapping[str, Format] = {
    "file": formats.VOLUME,
    "aio": one_of("native", "threads", "io_uring"),
    "backup": BOOLEAN,
    "cache": one_of("none", "writethrough", "writeback", "unsafe", "directsync"),
    "discard": one_of("ignore", "on"),
    "format": _IMAGES,
    "media": one_of("disk", "cdrom"),
    "replicate": BOOLEAN,
    "serial": formats.SERIAL,
    "size": formats.SIZE,
}
_BUSES: Mapping[str, Mapping[str, Format]] = {
    "ide": {"ssd": BOOLEAN},
    "sata": {"ssd": BOOLEAN},
    "scsi": {"ssd": BOOLEAN, "iothread": BOOLEAN, "ro": BOOLEAN},
    "virtio": {"iothread": BOOLEAN, "ro": BOOLEAN},
}

RULES: Mapping[str, Rule] = {
    "acpi": Rule(BOOLEAN, _SERVER),
    "agent": Rule(
        Properties(
            fields={
                "enabled": BOOLEAN,
                "fstrim_cloned_disks": BOOLEAN,
                "freeze-fs-on-backup": BOOLEAN,
                "type": one_of("virtio", "isa"),
            },
            default="enabled",
            required=(("enabled",),),
        ),
        "PVE/QemuServer/Agent.pm",
    ),
    "arch": Rule(one_of("x86_64", "aarch64"), _SERVER),
    "args": Rule(formats.TEXT, _SERVER),
    "balloon": Rule(integer(0), _SERVER),
    "bios": Rule(one_of("seabios", "ovmf"), _SERVER),
    "boot": Rule(
        Properties(
            fields={
                "order": formats.BOOT_ORDER,
                "legacy": pattern("[acdn]{1,4}", "letters of acdn"),
            },
            default="legacy",
            required=(("order", "legacy"),),
        ),
        _SERVER,
    ),
    "cores": Rule(integer(1), _SERVER),
    "cpu": Rule(
        Properties(
            fields={"cputype": one_of(*CPUS), "flags": formats.FLAGS, "hidden": BOOLEAN},
            default="cputype",
            required=(("cputype",),),
        ),
        _CPU,
    ),
    "efidisk": Rule(
        Properties(
            fields={
                "file": formats.VOLUME,
                "efitype": one_of("2m", "4m"),
                "format": _IMAGES,
                "pre-enrolled-keys": BOOLEAN,
                "size": formats.SIZE,
            },
            default="file",
            required=(("file",),),
        ),
        _DRIVE,
        1,
    ),
    "kvm": Rule(BOOLEAN, _SERVER),
    "machine": Rule(
        Properties(
            fields={"type": formats.MACHINE, "viommu": one_of("intel", "virtio")},
            default="type",
            required=(("type",),),
        ),
        "PVE/QemuServer/Machine.pm",
    ),
    "memory": Rule(
        Properties(fields={"current": integer(16)}, default="current", required=(("current",),)),
        "PVE/QemuServer/Memory.pm",
    ),
    "meta": Rule(
        Properties(
            fields={
                "creation-qemu": pattern(r"[0-9]+(?:\.[0-9]+)+", "a version of QEMU"),
                "ctime": integer(0),
            }
        ),
        "PVE/QemuServer/MetaInfo.pm",
    ),
    "name": Rule(formats.DNS_NAME, _SERVER),
    "net": Rule(
        Properties(
            fields={
                **dict.fromkeys(NET_MODELS, formats.MAC),
                "bridge": formats.BRIDGE,
                "firewall": BOOLEAN,
                "link_down": BOOLEAN,
                "macaddr": formats.MAC,
                "model": one_of(*NET_MODELS),
                "mtu": integer(1, 65_520),
                "queues": integer(0, 64),
                "rate": NUMBER,
                "tag": integer(1, 4094),
                "trunks": formats.TRUNKS,
            },
            default="model",
            required=(("model", *NET_MODELS),),
        ),
        _NETWORK,
        32,
    ),
    "numa": Rule(BOOLEAN, _SERVER),
    "onboot": Rule(BOOLEAN, _SERVER),
    "ostype": Rule(one_of(*SYSTEMS), _SERVER),
    "protection": Rule(BOOLEAN, _SERVER),
    "rng": Rule(
        Properties(
            fields={
                "source": one_of("/dev/urandom", "/dev/random", "/dev/hwrng"),
                "max_bytes": integer(0),
                "period": integer(0),
            },
            default="source",
            required=(("source",),),
        ),
        "PVE/QemuServer/RNG.pm",
        1,
    ),
    "scsihw": Rule(
        one_of("lsi", "lsi53c810", "virtio-scsi-pci", "virtio-scsi-single", "megasas", "pvscsi"),
        _SERVER,
    ),
    "serial": Rule(pattern("socket|/dev/[^,]+", "socket, or a device of the host's"), _SERVER, 4),
    "smbios1": Rule(
        Properties(
            fields={
                "uuid": formats.UUID,
                "base64": BOOLEAN,
                **dict.fromkeys(
                    ("manufacturer", "product", "version", "serial", "sku", "family"),
                    formats.BASE64,
                ),
            }
        ),
        _SERVER,
    ),
    "sockets": Rule(integer(1), _SERVER),
    "tablet": Rule(BOOLEAN, _SERVER),
    "tags": Rule(formats.TAGS, _SERVER),
    "template": Rule(BOOLEAN, _SERVER),
    "tpmstate": Rule(
        Properties(
            fields={
                "file": formats.VOLUME,
                "format": _IMAGES,
                "size": formats.SIZE,
                "version": one_of("v1.2", "v2.0"),
            },
            default="file",
            required=(("file",),),
        ),
        _DRIVE,
        1,
    ),
    "vcpus": Rule(integer(1), _SERVER),
    "vga": Rule(
        Properties(
            fields={
                "type": one_of(*SCREENS),
                "memory": integer(4, 512),
            },
            default="type",
        ),
        _SERVER,
    ),
    "vmgenid": Rule(formats.GENERATION, _SERVER),
    **{
        bus: Rule(
            Properties(fields={**_DISK, **_BUSES[bus]}, default="file", required=(("file",),)),
            _DRIVE,
            count,
        )
        for bus, count in DRIVES.items()
    },
}
"""Every setting that netlab writes, by name; numbered ones without their number."""


def find_rule(key: str) -> Rule | None:
    """Return the rule of a setting such as ``cores`` or ``net31``, or None if there is none."""
    rule = RULES.get(key)
    if rule is not None:
        return rule if rule.count is None else None
    found = re.fullmatch(r"([a-z]+)(0|[1-9][0-9]{0,3})", key)
    numbered = RULES.get(found[1]) if found else None
    if numbered is None or numbered.count is None or found is None:
        return None
    return numbered if int(found[2]) < numbered.count else None


def find_format(key: str, name: str = "") -> Format | None:
    """Return what a setting may be, or a property of it; None if nothing is known of that.

    Args:
        key: The setting, such as ``bios`` or ``scsi0``.
        name: The property, such as ``discard``, or empty for a setting without properties.
    """
    rule = find_rule(key)
    if rule is None:
        return None
    if isinstance(rule.value, Properties):
        return rule.value.fields.get(name)
    return None if name else rule.value


def is_drive(key: str) -> bool:
    """Say whether a setting is a drive: a disk, the firmware's variables or a TPM's state."""
    return key in {"efidisk0", "tpmstate0"} or (
        re.sub("[0-9]+$", "", key) in DRIVES and find_rule(key) is not None
    )
