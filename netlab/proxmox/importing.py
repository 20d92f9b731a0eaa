"""Virtual machines from Proxmox -> one topology, and a list of what it cannot say: pure.

Every bridge with its VLAN is a segment, and the same for all machines, so that what was restored as
a set is the same network again; nothing of it is a network of the host's. A machine's disks are not
looked at here: :attr:`Archive.boot` has the keys of its node that say what it boots from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from netlab.errors import ConfigurationError, Mistake
from netlab.proxmox.cards import Card, read_card
from netlab.proxmox.configuration import NAME, Configuration, Entry, parse_properties
from netlab.proxmox.networks import LAST_TAG, Network
from netlab.proxmox.schema import find_rule, is_drive
from netlab.topology.document import Value
from netlab.topology.names import check_node_name
from netlab.topology.source import WrongError
from netlab.topology.write import dumps

MAXIMUM_CPUS = 255

_UNDERSTOOD = ("arch", "cores", "kvm", "memory", "sockets")
"""Settings whose values become those of the node's keys."""

_READ = (*_UNDERSTOOD, "name", "vga")
"""Settings that the node has a key for; network cards are the others."""

_GIVEN = {
    "acpi": r"1",
    "agent": r"(enabled=)?1(,.*)?",
    "bios": r"seabios",
    # What a lab takes under KVM, and under TCG.
    "cpu": r"(cputype=)?(host|max)",
    "machine": r"q35",
    # About the machine's past, and renewed with every restore.
    "meta": r".*",
    "numa": r"0",
    "ostype": r"l26",
    "rng0": r"(source=)?/dev/u?random(,.*)?",
    "serial0": r"socket",
    "vmgenid": r".*",
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
        boot: Keys of the machine's node that say what it boots from: disks, firmware, machine.
        told: The settings that these keys tell, such as ``scsi0`` and ``bios``.
    """

    configuration: Configuration
    devices: tuple[Device, ...] = ()
    boot: Mapping[str, Value] = field(default_factory=dict[str, Value])
    told: frozenset[str] = frozenset()


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


def make_topology(archives: Sequence[Archive], *, name: str) -> Imported:
    """Return the topology of one or several machines.

    Args:
        archives: One for each machine.
        name: The lab's name.

    Raises:
        ConfigurationError: Every value that has to be understood and cannot be, and every device
            that no drive is mapped to, or the other way round.
    """
    mistakes = [mistake for archive in archives for mistake in _check(archive)]
    cards = [_read_cards(archive.configuration, mistakes) for archive in archives]
    if mistakes:
        raise ConfigurationError(mistakes)
    networks = _number({card.network for group in cards for card in group})
    numbers = {network: vlan for vlan, network in networks.items()}
    left_out: list[Mistake] = []
    nodes: dict[str, Value] = {}
    for archive, group in zip(archives, cards, strict=True):
        node = _choose_name(archive.configuration, nodes, left_out)
        interfaces: dict[str, Value] = {
            card.key: card.interface(numbers[card.network]) for card in group
        }
        nodes[node] = {
            "id": str(len(nodes) + 1),
            **_settings(archive.configuration, left_out),
            **archive.boot,
            "interfaces": interfaces,
        }
        left_out += (mistake for card in group for mistake in card.left_out)
        left_out += _left_out(archive)
    return Imported(
        value={"name": name, "nodes": nodes},
        nodes=tuple(nodes),
        networks=networks,
        left_out=tuple(sorted(left_out)),
    )


def _check(archive: Archive) -> Iterator[Mistake]:
    """Yield what a restore would refuse: restore_vma_archive in PVE/QemuServer.pm."""
    configuration = archive.configuration
    devices = {device.name for device in archive.devices}
    for drive in configuration.maps:
        if drive.device not in devices:
            message = f"the archive has no device {drive.device!r} for it"
            yield Mistake(configuration.file, drive.line, 1, drive.drive, message)
    for name in sorted(devices - {drive.device for drive in configuration.maps} - {"vmstate"}):
        yield Mistake(configuration.file, 0, 0, "", f"no drive is mapped to the device {name!r}")
    for entry in configuration.entries:
        rule = find_rule(entry.key) if entry.key in _UNDERSTOOD else None
        for where, message, hint in rule.value.mistakes(entry.value) if rule else ():
            path = f"{entry.key}.{where}" if where else entry.key
            yield Mistake(configuration.file, entry.line, 1, path, message, hint)


def _read_cards(configuration: Configuration, mistakes: list[Mistake]) -> list[Card]:
    cards: list[Card] = []
    for entry, _ in configuration.numbered("net"):
        card = read_card(configuration.file, entry)
        mistakes += card.mistakes
        cards.append(card)
    return cards


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


def _choose_name(
    configuration: Configuration, taken: Mapping[str, Value], left_out: list[Mistake]
) -> str:
    entry = next((entry for entry in configuration.entries if entry.key == "name"), None)
    wanted = entry.value if entry is not None else ""
    plain = re.sub(r"[^a-z0-9-]+", "-", wanted.lower())[:40].strip("-") or "vm"
    names = (plain, *(f"{plain}-{count}" for count in range(2, len(taken) + 3)))
    name = next(name for name in names if name not in taken and _is_node(name))
    if entry is not None and name != wanted:
        message = f"{wanted!r} is called {name}"
        hint = "a node's name is a DNS label in lower case, once in a lab"
        left_out.append(Mistake(configuration.file, entry.line, 1, "name", message, hint))
    return name


def _is_node(name: str) -> bool:
    try:
        check_node_name(name)
    except WrongError:
        return False
    return True


def _settings(configuration: Configuration, left_out: list[Mistake]) -> dict[str, Value]:
    cpus = int(configuration.get("cores") or 1) * int(configuration.get("sockets") or 1)
    memory = dict(parse_properties(configuration.get("memory") or "512", "current"))["current"]
    settings: dict[str, Value] = {"cpus": str(min(cpus, MAXIMUM_CPUS)), "memory": memory}
    if cpus > MAXIMUM_CPUS:
        message = f"{cpus} CPUs, and a node has at most {MAXIMUM_CPUS}"
        left_out.append(Mistake(configuration.file, 0, 0, "cores", message))
    if arch := configuration.get("arch"):
        settings["arch"] = arch
    if configuration.get("kvm") == "0":
        settings["accel"] = "tcg"
    display = _display(configuration, left_out)
    if display != "none":
        settings["display"] = display
    return settings


def _display(configuration: Configuration, left_out: list[Mistake]) -> str:
    # A machine that says nothing has a standard card.
    entry = next(
        (entry for entry in configuration.entries if entry.key == "vga"), Entry("vga", "std")
    )
    screen = dict(parse_properties(entry.value, "type")).get("type", "std")
    if screen in {"std", "virtio"}:
        return screen
    if screen == "none" or screen.startswith("serial"):
        return "none"
    message = f"{screen!r} becomes std"
    left_out.append(Mistake(configuration.file, entry.line, 1, "vga", message))
    return "std"


def _left_out(archive: Archive) -> Iterator[Mistake]:
    configuration = archive.configuration
    if re.fullmatch(_GIVEN["agent"], configuration.get("agent") or "") is None:
        message = "the machine has no guest agent, by which a lab gives names and addresses"
        yield Mistake(configuration.file, 0, 0, "agent", message)
    if configuration.get("machine") is None and "machine" not in archive.told:
        # Proxmox's default is another than ours.
        yield Mistake(configuration.file, 0, 0, "machine", "it is pc there, and q35 in a lab")
    for entry in configuration.entries:
        if entry.key in archive.told or _is_said(entry):
            continue
        what = "its content is" if is_drive(entry.key) else f"{entry.value[:80]!r} is"
        yield Mistake(configuration.file, entry.line, 1, entry.key, f"{what} left out")
    for name, line in configuration.sections:
        yield Mistake(configuration.file, line, 1, f"[{name}]", "is left out")


def _is_said(entry: Entry) -> bool:
    if entry.key in _READ or re.fullmatch("net[0-9]+", entry.key):
        return True
    return re.fullmatch(_GIVEN.get(entry.key, r"(?!)"), entry.value) is not None
