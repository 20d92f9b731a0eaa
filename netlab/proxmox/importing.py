"""Virtual machines from Proxmox -> one topology, and a list of what it cannot say: pure.

Every bridge with its VLAN is a segment, and the same for all machines, so that what was restored as
a set is the same network again; nothing of it is a network of the host's. Guests are as they were:
netlab configures none of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from netlab.errors import ConfigurationError, Mistake
from netlab.proxmox import hardware, identity
from netlab.proxmox.cards import Card, read_card
from netlab.proxmox.configuration import NAME, Configuration, Entry, find_entry
from netlab.proxmox.export import LAB_TAG, TAG
from netlab.proxmox.findings import Findings
from netlab.proxmox.formats import spell_boolean
from netlab.proxmox.hardware import EFI_DRIVE, read_hardware, variables_size
from netlab.proxmox.networks import LAST_TAG, Network
from netlab.proxmox.resources import read_memory, read_resources
from netlab.proxmox.schema import find_rule, is_drive
from netlab.proxmox.volumes import ORDER_TELLS, find_disks, find_lost
from netlab.topology.document import Value
from netlab.topology.names import check_lab_name, check_node_name
from netlab.topology.scalars import MAXIMUM_MEMORY
from netlab.topology.source import WrongError
from netlab.topology.write import Reference, dumps

_UNDERSTOOD = ("arch", "cores", "kvm", "memory", "sockets")
"""Settings whose values become those of the node's keys."""

_READ = (*_UNDERSTOOD, *hardware.TELLS, *identity.TELLS, *ORDER_TELLS, "name", "vga")
"""Settings that the node has keys for; drives and network cards are the others."""

ARCHIVES = "archives"
"""The variable of a topology that says where the disks of archives are."""

_SECRETS = {"cipassword"}
"""Settings whose values are not shown."""

_GIVEN = {
    "acpi": r"1",
    # About the machine's past, and renewed with every restore.
    "meta": r".*",
    "numa": r"0",
    "ostype": r"l26",
    "serial0": r"socket",
}
"""What a node of a lab has anyway: settings with the values of which nothing is lost."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device of an archive: its name, such as ``drive-scsi0``, and its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """What an archive says about a machine.

    Attributes:
        configuration: The machine's configuration.
        devices: The devices that the archive has.
        folder: Where its disks are below :data:`ARCHIVES`, each called like its drive.
        stem: The name of its node where the configuration has none.
        others: More files of configuration that it has.
    """

    configuration: Configuration
    devices: tuple[Device, ...] = ()
    folder: str = "."
    stem: str = "vm"
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A device of an archive that a node needs.

    Attributes:
        device: Its name.
        name: The name of the file that it becomes.
        size: Bytes of it that are needed, from its beginning.
    """

    device: str
    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A topology made of archives.

    Attributes:
        value: The topology, in the order in which it is to be written.
        nodes: The node of each archive.
        networks: What each segment was, by the number of its vlan.
        left_out: What the topology cannot say, with file and line.
    """

    value: Mapping[str, Value]
    nodes: tuple[str, ...]
    networks: Mapping[int, Network]
    left_out: tuple[Mistake, ...]

    @property
    def text(self) -> str:
        """The topology as text; a comment says where it comes from and what it lacks."""
        comment = ["Made by netlab from machines of Proxmox."]
        if self.networks:
            segments = (f"  vlan {vlan}: {network}" for vlan, network in self.networks.items())
            comment += ["", "Segments:", *segments]
        if self.left_out:
            comment += ["", "Left out:", *(f"  {each}" for each in self.left_out)]
        return dumps(dict(self.value), comment="\n".join(comment))


def find_parts(archive: Archive) -> tuple[Part, ...]:
    """Return what of an archive its node needs: disks, and variables of its firmware."""
    configuration = archive.configuration
    devices = {drive.drive: drive.device for drive in configuration.maps}
    sizes = {device.name: device.size for device in archive.devices}
    wanted = {entry.key: sizes[devices[entry.key]] for entry in find_disks(configuration)}
    variables = variables_size(configuration)
    if variables is not None:
        wanted[EFI_DRIVE] = variables
    return tuple(
        Part(device=devices[drive], name=f"{drive}.raw", size=size)
        for drive, size in wanted.items()
    )


def choose_lab(archives: Iterable[Archive]) -> str:
    """Return the lab that all machines come from, as their tags say; else ``imported``."""
    labs = {_lab_tag(archive.configuration) for archive in archives}
    name = labs.pop() if len(labs) == 1 else ""
    return name if _passes(check_lab_name, name) else "imported"


def _lab_tag(configuration: Configuration) -> str:
    tags = _tags(configuration)
    found = [tag for tag in tags if tag.startswith(LAB_TAG)] if TAG in tags else []
    return found[0].removeprefix(LAB_TAG) if len(found) == 1 else ""


def _tags(configuration: Configuration) -> list[str]:
    return _split(configuration.get("tags") or "")


def _split(tags: str) -> list[str]:
    return list(filter(None, re.split("[;, ]+", tags)))


def make_topology(archives: Sequence[Archive], *, name: str, store: str) -> Imported:
    """Return the topology of one or several machines.

    Args:
        archives: One for each machine.
        name: The lab's name.
        store: The folder that has their disks.

    Raises:
        ConfigurationError: Every value that has to be understood and cannot be, and every device
            that no drive is mapped to, or the other way round.
    """
    read = [_read(archive) for archive in archives]
    if mistakes := [mistake for machine in read for mistake in machine.findings.mistakes]:
        raise ConfigurationError(mistakes)
    networks = _number({card.network for machine in read for card in machine.cards})
    numbers = {network: vlan for vlan, network in networks.items()}
    nodes: dict[str, dict[str, Value]] = {}
    owners: dict[str, str] = {}
    for machine in read:
        node = _choose_name(machine, nodes)
        keys = _without_taken_uuid(machine, nodes)
        interfaces = _interfaces(machine, node, numbers, owners)
        nodes[node] = {"id": str(len(nodes) + 1), **keys, "interfaces": interfaces}
    return Imported(
        value={"name": name, "vars": {ARCHIVES: Reference(store)}, "nodes": {**nodes}},
        nodes=tuple(nodes),
        networks=networks,
        left_out=tuple(sorted(one for machine in read for one in machine.findings.left_out)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """A machine that has been read.

    Attributes:
        archive: What it was read from.
        keys: Keys of its node.
        cards: Its network cards.
        findings: What was found meanwhile.
    """

    archive: Archive
    keys: Mapping[str, Value]
    cards: tuple[Card, ...]
    findings: Findings


def _read(archive: Archive) -> _Machine:
    configuration = archive.configuration
    findings = Findings(configuration.file, list(_check(archive)))
    cards = tuple(
        read_card(configuration.file, entry)
        for entry, _ in configuration.numbered("net")
        if find_rule(entry.key)
    )
    for index, card in enumerate(cards):
        findings.mistakes.extend(card.mistakes)
        findings.left_out.extend(card.left_out)
        if card.key != f"net{index}":
            findings.lose(card.entry, "", f"it becomes net{index} in an export")
    devices = {device.name: device.size for device in archive.devices}
    sizes = {drive.drive: devices.get(drive.device, 0) for drive in configuration.maps}
    # What cannot be understood cannot be counted with.
    keys = {} if findings.mistakes else read_resources(configuration, findings)
    folder = f"${{{ARCHIVES}}}/{archive.folder}"
    machine = read_hardware(configuration, sizes, folder, findings)
    findings.left_out.extend((*_left_out(archive), *_lost_drives(configuration)))
    return _Machine(archive=archive, keys={**machine, **keys}, cards=cards, findings=findings)


def _without_taken_uuid(
    machine: _Machine, nodes: Mapping[str, Mapping[str, Value]]
) -> Mapping[str, Value]:
    uuid = machine.keys.get("uuid")
    owner = next((name for name, keys in nodes.items() if keys.get("uuid") == uuid), None)
    if uuid is None or owner is None:
        return machine.keys
    entry = find_entry(machine.archive.configuration, "smbios1", "")
    machine.findings.lose(entry, "uuid", f"it is the UUID of {owner}, too: it gets another")
    return {key: value for key, value in machine.keys.items() if key != "uuid"}


def _interfaces(
    machine: _Machine, node: str, numbers: Mapping[Network, int], owners: dict[str, str]
) -> Value:
    interfaces: dict[str, Value] = {}
    for card in machine.cards:
        name = f"{card.key} of {node}"
        mac = card.mac
        if mac is not None and owners.setdefault(mac, name) != name:
            message = f"{mac} is the address of {owners[mac]}, too: it gets another"
            machine.findings.lose(card.entry, "", message)
            mac = None
        interfaces[card.key] = card.interface(numbers[card.network], mac=mac)
    return interfaces


def _check(archive: Archive) -> Iterator[Mistake]:
    """Yield what a restore would refuse: restore_vma_archive in PVE/QemuServer.pm."""
    configuration = archive.configuration
    devices = {device.name for device in archive.devices}
    for drive in configuration.maps:
        if drive.device not in devices:
            message = f"the archive has no device {drive.device!r} for it"
            yield Mistake(configuration.file, drive.line, 1, drive.drive, message)
    mapped = Counter(drive.device for drive in configuration.maps)
    for device in (device for device, count in mapped.items() if count > 1):
        yield Mistake(configuration.file, 0, 0, "", f"several drives are mapped to {device!r}")
    for name in sorted(devices - set(mapped) - {"vmstate"}):
        yield Mistake(configuration.file, 0, 0, "", f"no drive is mapped to the device {name!r}")
    for entry in configuration.entries:
        rule = find_rule(entry.key) if entry.key in _UNDERSTOOD else None
        value = spell_boolean(entry.value) if entry.key == "kvm" else entry.value
        wrong = rule.value.mistakes(value) if rule else []
        for where, message, hint in wrong:
            path = f"{entry.key}.{where}" if where else entry.key
            yield Mistake(configuration.file, entry.line, 1, path, message, hint)
        if entry.key == "memory" and not wrong and read_memory(value) > MAXIMUM_MEMORY:
            message = f"{read_memory(value)} MiB, and a node has at most {MAXIMUM_MEMORY}"
            yield Mistake(configuration.file, entry.line, 1, entry.key, message)


def _number(wanted: set[Network]) -> dict[int, Network]:
    """Give every network the number of a vlan: its tag where that is free, else the next one."""
    if len(wanted) > LAST_TAG:
        message = f"{len(wanted)} networks, and a topology numbers {LAST_TAG}"
        raise ConfigurationError([Mistake(NAME, 0, 0, "net", message)])
    numbers: dict[int, Network] = {}
    ordered = sorted(wanted, key=lambda one: (one.bridge, one.tag or 0))
    for network in ordered:
        if network.tag is not None:
            numbers.setdefault(network.tag, network)
    numbered = set(numbers.values())
    free = (vlan for vlan in range(1, LAST_TAG + 1) if vlan not in numbers)
    rest = [network for network in ordered if network not in numbered]
    numbers.update({next(free): network for network in rest})
    return dict(sorted(numbers.items()))


def _choose_name(machine: _Machine, taken: Collection[str]) -> str:
    entries = machine.archive.configuration.entries
    entry = next((entry for entry in entries if entry.key == "name"), None)
    wanted = entry.value if entry is not None else machine.archive.stem
    plain = re.sub(r"[^a-z0-9-]+", "-", wanted.lower())[:40].strip("-") or "vm"
    names = (plain, *(f"{plain}-{count}" for count in range(2, len(taken) + 3)))
    name = next(name for name in names if name not in taken and _passes(check_node_name, name))
    if entry is not None and name != wanted:
        hint = "a node's name is a DNS label in lower case, once in a lab"
        machine.findings.lose(entry, "", f"{wanted!r} is called {name}", hint)
    return name


def _passes(check: Callable[[str], object], name: str) -> bool:
    try:
        check(name)
    except WrongError:
        return False
    return True


def _left_out(archive: Archive) -> Iterator[Mistake]:
    configuration = archive.configuration
    own = TAG in _tags(configuration)
    for entry in configuration.entries:
        if is_drive(entry.key) or _is_said(entry):
            continue
        if value := _show_lost(entry, own=own):
            yield Mistake(configuration.file, entry.line, 1, entry.key, f"{value} is left out")
    if configuration.description and not own:
        line = configuration.description_line
        yield Mistake(configuration.file, line, 1, "description", "is left out")
    for name, line in configuration.sections:
        yield Mistake(configuration.file, line, 1, f"[{name}]", "is left out")
    for name in archive.others:
        yield Mistake(name, 0, 0, "", "is left out")


def _show_lost(entry: Entry, *, own: bool) -> str:
    """Return what of a setting is lost, or nothing: the tags of netlab come back by themselves."""
    if entry.key in _SECRETS:
        return "a secret"
    if entry.key != "tags" or not own:
        return repr(entry.value[:80])
    tags = [tag for tag in _split(entry.value) if tag != TAG and not tag.startswith(LAB_TAG)]
    return repr(";".join(tags)[:80]) if tags else ""


def _lost_drives(configuration: Configuration) -> Iterator[Mistake]:
    for entry, message in find_lost(configuration):
        yield Mistake(configuration.file, entry.line, 1, entry.key, message)
    drives = {entry.key for entry in configuration.entries if is_drive(entry.key)}
    for drive in configuration.maps:
        if drive.drive not in drives:
            message = "no setting says what it hangs on: it is left out"
            yield Mistake(configuration.file, drive.line, 1, drive.drive, message)


def _is_said(entry: Entry) -> bool:
    if entry.key in _READ or (entry.key.startswith("net") and find_rule(entry.key)):
        return True
    return re.fullmatch(_GIVEN.get(entry.key, r"(?!)"), entry.value) is not None
