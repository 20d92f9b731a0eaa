"""Proxmox's rules a second time, from other sources than netlab's table.

The regular expressions are those that qemu-server's own restore and parser use, on whole values;
the schema is that of Proxmox's API, as its API viewer publishes it.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any, cast

from netlab.proxmox.configuration import Configuration

_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9\-]*[a-zA-Z0-9])?"
_BOOLEAN = r"[01]"
_DRIVE = (
    r"(none|[a-z][a-z0-9_.-]*[a-z0-9]:[^\s,]+)"
    r"(,(aio=(native|threads|io_uring)|backup=[01]|cache=(none|writethrough|writeback|unsafe|directsync)"
    r"|discard=(on|ignore)|format=(raw|qcow2|vmdk)|iothread=[01]|media=(disk|cdrom)|replicate=[01]|ro=[01]"
    r"|serial=[a-z0-9%_.!~*'()-]{1,60}|size=\d+(\.\d+)?([KMGT](iB)?)?|ssd=[01]"
    r"|efitype=(2m|4m)|pre-enrolled-keys=[01]|version=v(1\.2|2\.0)))*"
)

VALUES = {
    r"acpi|kvm|numa|onboot|protection|tablet|template": _BOOLEAN,
    r"agent": r"(enabled=)?[01](,[a-z_-]+=\w+)*",
    r"arch": r"x86_64|aarch64",
    r"args": r".+",
    r"bios": r"seabios|ovmf",
    r"boot": r"[acdn]{1,4}|legacy=[acdn]{1,4}|order=[a-z]+\d+(;[a-z]+\d+)*",
    r"cores|sockets|vcpus": r"0*[1-9]\d*",
    r"balloon": r"\d+",
    r"cpu": r"(cputype=)?[A-Za-z][\w.-]*(,(flags=[+-][a-z0-9-]+(;[+-][a-z0-9-]+)*|hidden=[01]))*",
    r"(ide[0-3]|sata[0-5]|scsi(\d|[12]\d|30)|virtio(\d|1[0-5])|efidisk0|tpmstate0)": _DRIVE,
    r"machine": r"(type=)?(pc|q35|virt)[\w.+-]*(,viommu=(intel|virtio))?",
    r"memory": r"(current=)?0*(1[6-9]|[2-9]\d|\d{3,})",
    r"meta": r"(creation-qemu=[\d.]+)?,?(ctime=\d+)?",
    r"name": rf"({_LABEL}\.)*{_LABEL}",
    r"net([12]?\d|3[01])": (
        r"(?=.*(virtio|e1000|i825|ne2k|pcnet|rtl8139|vmxnet3))"
        r"[\w-]+(=[\w:.-]+)?(,(\w[\w-]*=[\w:;.-]+|virtio))*"
    ),
    r"ostype": r"other|wxp|w2k|w2k3|w2k8|wvista|win7|win8|win10|win11|l24|l26|solaris",
    r"rng0": r"(source=)?/dev/(u?random|hwrng)(,(max_bytes|period)=\d+)*",
    r"scsihw": r"lsi|lsi53c810|virtio-scsi-pci|virtio-scsi-single|megasas|pvscsi",
    r"serial[0-3]": r"socket|/dev/[^,]+",
    r"smbios1": r"[a-z0-9]+=[A-Za-z0-9+/=-]+(,[a-z0-9]+=[A-Za-z0-9+/=-]+)*",
    r"tags": r"[a-z0-9_][a-z0-9_+.-]*([;, ][a-z0-9_][a-z0-9_+.-]*)*",
    r"vga": r"(type=)?[a-z0-9-]+(,memory=\d+)?|memory=\d+",
    r"vmgenid": r"[01]|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}
"""A pattern of keys, and of their whole values."""

RESTORED_DRIVE = re.compile(r"^((ide|scsi|virtio|sata|efidisk|tpmstate)\d+):\s*(\S+)\s*$")
"""Without this a restore leaves a drive behind (restore_update_config_line)."""

RESTORED_MAP = re.compile(r"^#qmdump#map:(\S+):(\S+):(\S*):(\S*):$")


def broken_rules(configuration: Configuration) -> list[str]:
    """Return the settings that break a rule of these tables."""
    broken = [
        entry.key
        for entry in configuration.entries
        if not any(
            re.fullmatch(key, entry.key) and re.fullmatch(value, entry.value, re.IGNORECASE)
            for key, value in VALUES.items()
        )
    ]
    # A setting of the machine's past, which nobody can set by the API.
    values = {entry.key: entry.value for entry in configuration.entries if entry.key != "meta"}
    if configuration.description:
        values["description"] = configuration.description
    complaints = complain("POST", "/nodes/pve1/qemu", {"vmid": "100", **values})
    return broken + [f"{key}: {message}" for key, message in complaints.items()]


def complain(method: str, path: str, values: dict[str, str]) -> dict[str, str]:
    """Return what the schema of Proxmox's API says against a call: parameters with messages."""
    schema = cast("Any", import_module("fakepve.schema"))
    match = schema.load().match(path)
    if match is None or method not in match.methods:
        return {"": f"there is no {method} {path}"}
    specification = match.methods[method].get("parameters")
    _, errors = schema.validate(specification, {**match.params, **values})
    return cast("dict[str, str]", errors)
