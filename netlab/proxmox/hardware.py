"""What a machine from Proxmox is made of, as keys of a node: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from netlab.proxmox.configuration import Configuration, Entry, find_entry, parse_properties
from netlab.proxmox.export import EFI_SIZES, EfiType
from netlab.proxmox.findings import Findings
from netlab.proxmox.identity import read_identity
from netlab.proxmox.volumes import read_disks
from netlab.topology.document import Value
from netlab.topology.write import Reference

EFI_DRIVE = "efidisk0"
TPM_DRIVE = "tpmstate0"

ARCHITECTURE = "x86_64"
"""The one whose machines go to Proxmox and come from there."""

TELLS = ("bios", "machine")
"""Settings that the keys of :func:`read_hardware` tell, beside identity, drives and their order."""

_VARIABLES = {"efitype", "file", "format", "pre-enrolled-keys", "size"}
"""Properties of a firmware's variables that are told here, or that no guest sees."""

_MACHINE = re.compile(r"(?:pc-)?(q35)(?:-.*)?|(pc)(?:-.*)?")


def read_hardware(
    configuration: Configuration, sizes: Mapping[str, int], folder: str, findings: Findings
) -> dict[str, Value]:
    """Return keys of a machine's node: what starts it, who it is, what it boots from.

    Args:
        configuration: The machine's.
        sizes: Bytes of what the archive has, by drive.
        folder: Where its disks are, as the topology says it: ``scsi0.raw`` and so on.
        findings: Gets what is wrong, and what cannot be said.
    """
    disks = read_disks(configuration, folder, findings)
    if not disks:
        none = Entry("", "")
        findings.refuse(none, "", "the archive has no disk", "a node starts from its first disk")
    return {
        "image": "none",
        "arch": _arch(configuration, findings),
        "machine": _machine(configuration, findings),
        "firmware": _firmware(configuration, sizes, folder, findings),
        **_tpm(configuration, findings),
        **read_identity(configuration, findings),
        "disk": disks[0] if disks else None,
        **({"disks": disks[1:]} if disks[1:] else {}),
    }


def variables_size(configuration: Configuration) -> int | None:
    """Return how many bytes of ``efidisk0`` are variables; None where there are none.

    Its volume may be larger, as a storage allocates it. Proxmox reads as many as the type has, and
    a type that is not said is the older one (PVE/QemuServer/OVMF.pm).
    """
    value = configuration.get(EFI_DRIVE)
    mapped = any(drive.drive == EFI_DRIVE for drive in configuration.maps)
    if value is None or not mapped or configuration.get("bios") != "ovmf":
        return None
    kind: EfiType = "4m" if dict(parse_properties(value)).get("efitype") == "4m" else "2m"
    return EFI_SIZES[kind]


def _arch(configuration: Configuration, findings: Findings) -> str:
    entry = find_entry(configuration, "arch", ARCHITECTURE)
    if entry.value != ARCHITECTURE:
        message = f"a machine for {entry.value} cannot be imported"
        findings.refuse(entry, "", message, f"those for {ARCHITECTURE} can")
    return ARCHITECTURE


def _machine(configuration: Configuration, findings: Findings) -> str:
    # Proxmox's default is another than a lab's.
    entry = find_entry(configuration, "machine", "pc")
    values = dict(parse_properties(entry.value, "type"))
    version = values.pop("type", "pc")
    found = _MACHINE.fullmatch(version)
    if found is None:
        findings.refuse(entry, "", f"there is no machine {version!r} in a lab", "there are pc, q35")
        return "pc"
    machine = str(found[1] or found[2])
    if version != machine:
        findings.lose(entry, "", f"{version!r} is {machine} as this host's QEMU has it")
    for name, value in values.items():
        findings.lose(entry, name, f"{value!r} is left out")
    return machine


def _firmware(
    configuration: Configuration, sizes: Mapping[str, int], folder: str, findings: Findings
) -> Value:
    bios = find_entry(configuration, "bios", "seabios")
    if findings.read_word(bios, "", bios.value, "seabios") != "ovmf":
        return "bios"
    wanted = variables_size(configuration)
    if wanted is None:
        return "uefi"
    entry = find_entry(configuration, EFI_DRIVE, "")
    size = sizes.get(EFI_DRIVE, 0)
    if size < wanted:
        message = f"it has {size} bytes, and variables of its type have {wanted}"
        findings.refuse(entry, "", message, "its efitype is 4m or 2m")
    secure = _is_secure(entry, configuration, findings)
    keys: dict[str, Value] = {"secure_boot": "true"} if secure else {}
    return {**keys, "vars": Reference(f"{folder}/{EFI_DRIVE}.raw")}


def _is_secure(entry: Entry, configuration: Configuration, findings: Findings) -> bool:
    """Return whether the variables were made with keys for Secure Boot and can have it here.

    Its code is of the 4m build, and needs memory that only firmware can write to: q35's.
    """
    values = dict(parse_properties(entry.value, "file"))
    for name in values.keys() - _VARIABLES:
        findings.lose(entry, name, f"{values[name][:80]!r} is left out")
    kind = findings.read_word(entry, "efitype", values.get("efitype", "2m"), "2m")
    keys = values.get("pre-enrolled-keys", "0")
    if not findings.read_boolean(entry, "pre-enrolled-keys", keys):
        return False
    machine = _MACHINE.fullmatch(configuration.get("machine") or "pc")
    if kind == "4m" and machine is not None and machine[1]:
        return True
    message = "there is Secure Boot in a lab for q35 with efitype=4m alone"
    findings.lose(entry, "pre-enrolled-keys", message)
    return False


def _tpm(configuration: Configuration, findings: Findings) -> dict[str, Value]:
    """Return a new TPM where there was one: what it kept is in a form of its own."""
    if configuration.get(TPM_DRIVE) is None:
        return {}
    entry = find_entry(configuration, TPM_DRIVE, "")
    if dict(parse_properties(entry.value)).get("version") != "v2.0":
        findings.lose(entry, "version", "a TPM of a lab is a 2.0: it has none")
        return {}
    findings.lose(entry, "", "its TPM is a new one: nothing that the old one sealed opens")
    return {"tpm": "true"}
