"""What goes to a host of Proxmox, and where on it: frozen values, with what its API refuses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from netlab.errors import ConfigurationError, Mistake
from netlab.plan.model import DiskFormat
from netlab.proxmox.configuration import Configuration, Entry, parse_properties
from netlab.proxmox.formats import NODE, STORAGE, VMID, VNET
from netlab.proxmox.rules import check
from netlab.proxmox.schema import is_drive

_TOKEN_KEYS = frozenset((
    "acpi", "agent", "balloon", "bios", "boot", "cores", "cpu", "kvm", "machine", "memory", "name",
    "numa", "onboot", "ostype", "protection", "rng0", "scsihw", "smbios1", "sockets", "tablet",
    "tags", "template", "vcpus", "vga",
))  # fmt: skip
"""Settings that a token may have the right to (check_vm_modify_config_perm in PVE/API2/Qemu.pm);
network cards, drives and serial sockets beside them. All others are those of root@pam, who is none
of its tokens."""

RENEWED = frozenset(("meta", "vmgenid"))
"""Settings that only root may give, and that Proxmox makes by itself for every new machine."""


@dataclass(frozen=True, slots=True)
class Source:
    """A disk on its way: the drive that it becomes, a file, and the file's format.

    The format is said, never guessed: a guest can write to its raw disk whatever looks like another
    format, with any file of the host's behind it.

    Attributes:
        drive: The drive that it becomes, such as ``scsi0``.
        path: The file; with an export the Unix socket where that is offered over NBD.
        format: What is in it.
        size: Bytes of the disk.
        export: The export's name, or empty for a file.
    """

    drive: str
    path: Path
    format: DiskFormat
    size: int
    export: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMachine:
    """A machine that is to be made.

    Attributes:
        vmid: Its number there.
        configuration: What it is; its volumes and its map of devices are an archive's matter.
        sources: A disk for each of its drives, or None: that is said later.
    """

    vmid: int
    configuration: Configuration
    sources: tuple[Source, ...] | None = None

    @property
    def title(self) -> str:
        """What people call it: its number, and its name."""
        name = self.configuration.get("name")
        return f"{self.vmid} ({name})" if name else str(self.vmid)

    @property
    def drives(self) -> tuple[str, ...]:
        """Its drives that have content."""
        return tuple(entry.key for entry in self.configuration.entries if _has_content(entry))

    @property
    def tags(self) -> frozenset[str]:
        """Its tags."""
        return frozenset(filter(None, re.split("[;, ]", self.configuration.get("tags") or "")))

    @property
    def bridges(self) -> frozenset[str]:
        """The bridges and virtual networks that it is on."""
        cards = self.configuration.numbered("net")
        found = (dict(parse_properties(entry.value, "model")).get("bridge") for entry, _ in cards)
        return frozenset(filter(None, found))


@dataclass(frozen=True, slots=True)
class VirtualNetwork:
    """A virtual network that is made when it is not there: its name, and what people call it."""

    name: str
    alias: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOptions:
    """Where machines go.

    Attributes:
        node: The node of the cluster.
        storage: The storage of their disks.
        import_storage: A file storage with content type ``import``, where disks wait for that.
        networks: Virtual networks that are made where they are missing.
        mtu: Of these, in bytes.
        start: Whether the machines are started in the end.
    """

    node: str
    storage: str
    import_storage: str
    networks: tuple[VirtualNetwork, ...] = ()
    mtu: int = 1500
    start: bool = False


def require_target(machines: Sequence[NewMachine], options: PushOptions) -> None:
    """Refuse what the API would not take, all of it at once.

    Args:
        machines: What goes there.
        options: Where it goes.

    Raises:
        ConfigurationError: All that the API does not take from a token, and that breaks a rule.
    """
    mistakes = [Mistake("push", 0, 0, *found) for found in _option_mistakes(machines, options)]
    for machine in machines:
        configuration = machine.configuration
        mistakes += [
            Mistake(configuration.file, line, int(line > 0), path, message, hint)
            for line, path, message, hint in _machine_mistakes(machine)
        ]
        mistakes += check(configuration)
    if mistakes:
        raise ConfigurationError(mistakes)


def _option_mistakes(
    machines: Sequence[NewMachine], options: PushOptions
) -> Iterator[tuple[str, str, str]]:
    for path, value, format_ in (
        ("node", options.node, NODE),
        ("storage", options.storage, STORAGE),
        ("import-storage", options.import_storage, STORAGE),
        *(("networks", one.name, VNET) for one in options.networks),
    ):
        yield from ((path, message, hint) for _, message, hint in format_.mistakes(value))
    for vmid, count in Counter(machine.vmid for machine in machines).items():
        if count > 1:
            yield "vmid", f"{vmid} is the number of {count} machines", "each has its own"


def _machine_mistakes(machine: NewMachine) -> Iterator[tuple[int, str, str, str]]:
    yield from ((0, "vmid", *found[1:]) for found in VMID.mistakes(str(machine.vmid)))
    if not machine.tags:
        yield 0, "tags", "there is none", "a machine without tags could not be told from others"
    for entry in machine.configuration.entries:
        if not _is_allowed(entry):
            message = f"{entry.value[:80]!r} cannot be given by an API token, only by root"
            yield entry.line, entry.key, message, "leave it out, or restore an archive as root"
    if machine.sources is not None:
        yield from _source_mistakes(machine.drives, [one.drive for one in machine.sources])


def _source_mistakes(
    drives: Sequence[str], given: Sequence[str]
) -> Iterator[tuple[int, str, str, str]]:
    for drive in drives:
        if given.count(drive) != 1:
            yield 0, drive, f"{given.count(drive)} files for it", "a drive has one"
    for drive in sorted(set(given) - set(drives)):
        yield 0, drive, "a file for a drive that the machine does not have", ""


def _has_content(entry: Entry) -> bool:
    return is_drive(entry.key) and dict(parse_properties(entry.value)).get("media") != "cdrom"


def _is_allowed(entry: Entry) -> bool:
    if re.fullmatch("serial[0-9]", entry.key):
        return entry.value == "socket"
    if re.fullmatch("net[0-9]+", entry.key) or is_drive(entry.key):
        return True
    return entry.key in _TOKEN_KEYS | RENEWED
