"""The disks of a machine from Proxmox, as a node has them: pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from netlab.plan.catalogue import MAXIMUM_DISKS
from netlab.plan.model import Bus
from netlab.proxmox.configuration import Configuration, Entry, find_entry, parse_properties
from netlab.proxmox.export import CONTROLLER
from netlab.proxmox.findings import Findings
from netlab.proxmox.formats import spell_boolean
from netlab.proxmox.schema import RULES, is_drive
from netlab.topology.document import Value
from netlab.topology.write import Reference

ORDER_TELLS = ("boot", "bootdisk", "scsihw")
"""Settings that are told by the order of the disks and by their buses."""

_BUSES = ("ide", "scsi", "virtio", "sata")
"""In the order in which Proxmox looks for a disk to start from, if nothing says which
(valid_drive_names in PVE/QemuServer/Drive.pm)."""

_NO_DISKS = ("efidisk0", "tpmstate0")

_KEPT = {"discard", "file", "media", "ro", "serial", "size"}
"""Properties of a drive that its disk has in a lab too."""

_OTHERS = {"backup", "format", "replicate"}
"""Properties that are not the machine's: those of jobs for backups and replication, which are about
a storage there, and of how the volume lay on it (PVE/QemuServer/Drive.pm)."""

_WRITTEN = {"detect_zeroes": "1", "iothread": "1"}
"""What an export gives every disk that can have it, or Proxmox by default; no guest sees it."""

_READ = {"discard": "ignore", "media": "disk", "ro": "0"}
"""Properties of a drive that say what its disk is, with what they are by default."""

_SERIAL = re.compile(r"[!-~]{1,20}")


def find_disks(configuration: Configuration) -> tuple[Entry, ...]:
    """Return the drives that are disks and that the archive has, in the order of a start."""
    mapped = {drive.drive for drive in configuration.maps}
    found = (entry for entry in configuration.entries if entry.key in mapped)
    disks = [entry for entry in found if is_drive(entry.key) and not _is_other(entry)]
    order = _boot_order(configuration)
    return tuple(sorted(disks, key=lambda entry: _rank(entry.key, order)))


def _is_other(entry: Entry) -> bool:
    values = dict(parse_properties(entry.value, "file"))
    return entry.key in _NO_DISKS or values.get("media") == "cdrom"


def read_disks(configuration: Configuration, folder: str, findings: Findings) -> list[Value]:
    """Return a machine's disks as a node has them, the root disk first.

    Args:
        configuration: The machine's.
        folder: Where their content is, as the topology says it: ``scsi0.raw`` and so on.
        findings: Gets what cannot be said of them.
    """
    scsihw = find_entry(configuration, "scsihw", "lsi")
    virtio = findings.read_word(scsihw, "", scsihw.value, "lsi").startswith("virtio-scsi")
    disks: list[Value] = []
    counts: Counter[Bus] = Counter()
    serials: set[str] = set()
    for entry in find_disks(configuration):
        values = dict(parse_properties(entry.value, "file"))
        choice = _buses(entry, virtio_scsi=virtio, read_only=_is_read_only(values))
        bus: Bus | None = next((bus for bus in choice if counts[bus] < MAXIMUM_DISKS[bus]), None)
        if bus is None:
            findings.lose(entry, "", "a machine of a lab has no room for one more")
            continue
        if f"{bus}{counts[bus]}" != entry.key:
            findings.lose(entry, "", f"it is {bus}{counts[bus]} in a lab")
        counts[bus] += 1
        serial = _serial(entry, values, serials, findings)
        disks.append(_disk(f"{folder}/{entry.key}.raw", bus, values, serial))
        for name, default in _READ.items():
            value = values.get(name, default)
            findings.read_word(
                entry, name, spell_boolean(value) if name == "ro" else value, default
            )
        for name in values.keys() - _KEPT - _OTHERS:
            if _WRITTEN.get(name) != spell_boolean(values[name]):
                findings.lose(entry, name, f"{values[name]!r} is left out")
    if scsihw.value == "virtio-scsi-pci" and counts["scsi"]:
        findings.lose(scsihw, "", f"{scsihw.value!r} becomes {CONTROLLER} in an export")
    _check_order(configuration, findings)
    return disks


def _disk(file: str, bus: Bus, values: Mapping[str, str], serial: str | None) -> Value:
    disk: dict[str, Value] = {"file": Reference(file), "format": "raw", "bus": bus}
    if serial is not None:
        disk["serial"] = serial
    if values.get("discard") != "on":
        disk["discard"] = "false"
    if _is_read_only(values):
        disk["read_only"] = "true"
    return disk


def _is_read_only(values: Mapping[str, str]) -> bool:
    return spell_boolean(values.get("ro", "")) == "1"


def _buses(entry: Entry, *, virtio_scsi: bool, read_only: bool) -> tuple[Bus, ...]:
    """Return where a disk can hang, the best first.

    What a lab has no controller for goes where every guest has a driver: on SATA.
    """
    bus = _split(entry.key)[0]
    if bus == "virtio":
        return ("virtio", "scsi")
    if read_only or (bus == "scsi" and virtio_scsi):
        return ("scsi",)
    return ("sata", "scsi")


def _serial(
    entry: Entry, values: Mapping[str, str], taken: set[str], findings: Findings
) -> str | None:
    if "serial" not in values:
        return None
    serial = unquote(values["serial"], errors="replace")
    if _SERIAL.fullmatch(serial) is None:
        findings.lose(entry, "serial", f"{serial!r} cannot be a serial number in a lab")
        return None
    if serial in taken:
        findings.lose(entry, "serial", f"{serial!r} is another disk's, too")
        return None
    taken.add(serial)
    return serial


def _boot_order(configuration: Configuration) -> list[str]:
    values = dict(parse_properties(configuration.get("boot") or "", "legacy"))
    if "order" in values:
        return values["order"].split(";")
    first = configuration.get("bootdisk")
    return [first] if first else []


def _check_order(configuration: Configuration, findings: Findings) -> None:
    disks = {disk.key for disk in find_disks(configuration)}
    first = find_entry(configuration, "bootdisk", "")
    if first.value and first.value not in disks:
        findings.lose(first, "", f"a node starts from its disks, not from {first.value!r}")
    entry = next((entry for entry in configuration.entries if entry.key == "boot"), None)
    if entry is None:
        return
    if wrong := RULES["boot"].value.mistakes(entry.value):
        for where, message, hint in wrong:
            findings.lose(entry, where, message, hint)
        return
    values = dict(parse_properties(entry.value, "legacy"))
    # What stands behind a disk is for one that nothing starts from.
    first = values.get("order", "").split(";")[0]
    if first and first not in disks:
        findings.lose(entry, "order", f"a node starts from its disks, not from {first}")
    if not values.get("legacy", "c").startswith("c"):
        findings.lose(entry, "", f"a node starts from its disks first, not {entry.value!r}")


def _rank(key: str, order: list[str]) -> tuple[int, int, int]:
    bus, number = _split(key)
    return (order.index(key) if key in order else len(order), _BUSES.index(bus), number)


def _split(key: str) -> tuple[str, int]:
    """Return a drive's bus and its number there."""
    bus = key.rstrip("0123456789")
    return bus, int(key.removeprefix(bus))


def find_lost(configuration: Configuration) -> Iterator[tuple[Entry, str]]:
    """Yield the drives that are no disk of a node's, and why."""
    mapped = {drive.drive for drive in configuration.maps}
    for entry in configuration.entries:
        values = dict(parse_properties(entry.value, "file"))
        if not is_drive(entry.key):
            continue
        if values.get("media") == "cdrom":
            yield entry, _without(values.get("file", ""))
        elif entry.key == "tpmstate0":
            continue  # told where the TPM is
        elif entry.key not in mapped:
            yield entry, "the archive does not have its content"
        elif entry.key == "efidisk0" and configuration.get("bios") != "ovmf":
            yield entry, "a machine that starts by BIOS has no use for it"


def _without(file: str) -> str:
    """Say what becomes of a CD-ROM drive: a backup has none of the discs."""
    if file == "none":
        return "an empty CD-ROM drive is left out"
    if "cloudinit" in file:
        return f"{file!r} is left out: Proxmox makes it anew; a node has cloud_init for it"
    return f"{file!r} is left out: the archive does not have it; name a copy in the node's cdroms"
