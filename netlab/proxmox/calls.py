"""A push as the calls of Proxmox's API that it is made of: frozen values, computed first.

The API takes no archive (its upload knows ``iso``, ``vztmpl`` and ``import`` alone, API2/Storage/
Status.pm), so a machine gets there as its disks, uploaded as content ``import``, and as a machine
that is created from them (``import-from``, PVE/API2/Qemu.pm).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import quote

from netlab.proxmox.configuration import Entry, parse_properties, write_properties
from netlab.proxmox.recipe import ZONE, ZONE_TYPE, make_alias
from netlab.proxmox.target import (
    RENEWED,
    NewMachine,
    PushOptions,
    VirtualNetwork,
    require_target,
)

Method = Literal["GET", "POST", "PUT", "DELETE"]

BASE = "/api2/json"
"""What all paths of the API begin with."""

UNKNOWN = "SHA256"
"""The place of a digest that is not known yet."""

_SHOWN = ":/,;=+@!"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of the API.

    Attributes:
        about: What it does, for people.
        method: The method.
        path: Behind ``/api2/json``, ready for a URL.
        parameters: Names with values, in the order in which they are sent.
        file: The file that is uploaded, as a path, or empty.
        task: Whether it starts a task that has to be waited for.
        locked: Whether the token of the lock on virtual networks is sent with it.
    """

    about: str
    method: Method
    path: str
    parameters: tuple[tuple[str, str], ...] = ()
    file: str = ""
    task: bool = False
    locked: bool = False

    def __str__(self) -> str:
        parts = [self.method, f"{BASE}{self.path}"]
        # As curl's -F would have it: the file, and the name that it goes by.
        file = f"@{quote(self.file, safe=_SHOWN)};filename=" if self.file else ""
        for name, value in self.parameters:
            parts.append(f"{name}={file * (name == 'filename')}{quote(value, safe=_SHOWN)}")
        parts += ["lock-token=…"] if self.locked else []
        return " ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskCalls:
    """How a disk gets there.

    Attributes:
        drive: The drive that it becomes.
        name: What the upload is called.
        upload: Brings it; the digest of what is brought is not in it yet.
        remove: Removes the upload, which the machine does not need once it is made.
    """

    drive: str
    name: str
    upload: Call
    remove: Call


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineCalls:
    """How a machine is made.

    Attributes:
        machine: The machine; what has not all of its tags is never removed.
        disks: Bring its disks, and clear away afterwards.
        create: Makes the machine of them, stopped.
        start: Starts it.
    """

    machine: NewMachine
    disks: tuple[DiskCalls, ...]
    create: Call
    start: Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What is looked at first; nothing is changed by it.

    Attributes:
        numbers: Whether the machines' numbers are free.
        storages: The storage of disks, and that of imports.
        content: Which uploads there are.
        bridges: Which bridges and virtual networks there are.
        zones: Which zones there are, if virtual networks are wanted.
        vnets: Which zone each virtual network is in, likewise.
    """

    numbers: tuple[Call, ...]
    storages: tuple[Call, Call]
    content: Call
    bridges: Call
    zones: tuple[Call, ...]
    vnets: tuple[Call, ...]

    def __iter__(self) -> Iterator[Call]:
        yield from (*self.numbers, *self.storages, self.content, self.bridges)
        yield from (*self.zones, *self.vnets)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCalls:
    """How virtual networks are made, all of them or none.

    Attributes:
        lock: Begins it.
        zone: Makes their zone, where it is missing.
        networks: Make those that are missing, by name.
        apply: Puts them to work on all nodes.
    """

    lock: Call
    zone: Call
    networks: tuple[tuple[str, Call], ...]
    apply: Call


@dataclass(frozen=True, slots=True, kw_only=True)
class PushPlan:
    """The calls of a push, in their order.

    Attributes:
        options: Where the machines go.
        looks: Come first.
        networks: Make the virtual networks that are missing.
        machines: Make the machines; they are started when all of them are there.
    """

    options: PushOptions
    looks: Looks
    networks: NetworkCalls
    machines: tuple[MachineCalls, ...]

    def __iter__(self) -> Iterator[Call]:
        """Return every call that is made when everything is missing and nothing fails."""
        yield from self.looks
        if self.networks.networks:
            made = (call for _, call in self.networks.networks)
            yield from (self.networks.lock, self.networks.zone, *made, self.networks.apply)
        for one in self.machines:
            yield from (disk.upload for disk in one.disks)
            yield from (one.create, *(disk.remove for disk in one.disks))
        if self.options.start:
            yield from (one.start for one in self.machines)


def plan_push(machines: Sequence[NewMachine], options: PushOptions) -> PushPlan:
    """Return the calls that make machines.

    Args:
        machines: What is made.
        options: Where.

    Raises:
        ConfigurationError: All that the API does not take from a token, and that breaks a rule.
    """
    require_target(machines, options)
    return PushPlan(
        options=options,
        looks=_looks([machine.vmid for machine in machines], options),
        networks=_networks(options),
        machines=tuple(_machine(machine, options) for machine in machines),
    )


def with_file(upload: Call, path: str, digest: str) -> Call:
    """Return an upload with what is brought.

    Args:
        upload: The upload of a plan.
        path: The file: raw for the firmware's variables, otherwise qcow2 without a backing file,
            which Proxmox would refuse.
        digest: Its SHA-256 in hexadecimal.
    """
    parameters = (
        (name, digest if name == "checksum" else value) for name, value in upload.parameters
    )
    return replace(upload, file=path, parameters=tuple(parameters))


def _looks(vmids: Sequence[int], options: PushOptions) -> Looks:
    node = f"/nodes/{options.node}"
    return Looks(
        numbers=tuple(_look_for_number(vmid) for vmid in vmids),
        storages=(
            _look_at_storage(options, options.storage),
            _look_at_storage(options, options.import_storage),
        ),
        content=Call(
            about="look which uploads there are",
            method="GET",
            path=f"{node}/storage/{options.import_storage}/content",
            parameters=(("content", "import"),),
        ),
        bridges=Call(
            about="look which bridges and networks there are",
            method="GET",
            path=f"{node}/network",
            parameters=(("type", "any_bridge"),),
        ),
        zones=(_look_at("zones"),) if options.networks else (),
        vnets=(_look_at("vnets"),) if options.networks else (),
    )


def _look_at(kind: str) -> Call:
    return Call(about=f"look which {kind} there are", method="GET", path=f"/cluster/sdn/{kind}")


def _look_for_number(vmid: int) -> Call:
    return Call(
        about=f"look whether {vmid} is free",
        method="GET",
        path="/cluster/nextid",
        parameters=(("vmid", str(vmid)),),
    )


def _look_at_storage(options: PushOptions, storage: str) -> Call:
    path = f"/nodes/{options.node}/storage/{storage}/status"
    return Call(about=f"look at the storage {storage}", method="GET", path=path)


def _networks(options: PushOptions) -> NetworkCalls:
    return NetworkCalls(
        lock=Call(about="lock the virtual networks", method="POST", path="/cluster/sdn/lock"),
        zone=Call(
            about=f"make the zone {ZONE}",
            method="POST",
            path="/cluster/sdn/zones",
            parameters=(("type", ZONE_TYPE), ("zone", ZONE), ("mtu", str(options.mtu))),
            locked=True,
        ),
        networks=tuple((one.name, _network(one)) for one in options.networks),
        apply=Call(
            about="put the networks to work",
            method="PUT",
            path="/cluster/sdn",
            task=True,
            locked=True,
        ),
    )


def _network(network: VirtualNetwork) -> Call:
    return Call(
        about=f"make the network {network.name}",
        method="POST",
        path="/cluster/sdn/vnets",
        parameters=(
            ("zone", ZONE),
            ("vnet", network.name),
            ("alias", make_alias(network.alias)),
        ),
        locked=True,
    )


def _machine(machine: NewMachine, options: PushOptions) -> MachineCalls:
    node = f"/nodes/{options.node}"
    return MachineCalls(
        machine=machine,
        disks=tuple(_disk(machine.vmid, drive, options) for drive in machine.drives),
        create=Call(
            about=f"create the machine {machine.vmid}",
            method="POST",
            path=f"{node}/qemu",
            parameters=(("vmid", str(machine.vmid)), *_settings(machine, options)),
            task=True,
        ),
        start=Call(
            about=f"start the machine {machine.vmid}",
            method="POST",
            path=f"{node}/qemu/{machine.vmid}/status/start",
            task=True,
        ),
    )


def _file_name(vmid: int, drive: str) -> str:
    # The firmware's variables have an exact size, which only a raw file shows plainly.
    return f"netlab-{vmid}-{drive}.{'raw' if drive == 'efidisk0' else 'qcow2'}"


def _disk(vmid: int, drive: str, options: PushOptions) -> DiskCalls:
    name = _file_name(vmid, drive)
    storage = f"/nodes/{options.node}/storage/{options.import_storage}"
    volume = quote(f"{options.import_storage}:import/{name}", safe="")
    return DiskCalls(
        drive=drive,
        name=name,
        upload=Call(
            about=f"upload {drive} of {vmid}",
            method="POST",
            path=f"{storage}/upload",
            # In this order, the file last: PVE/APIServer/AnyEvent.pm reads them as they come.
            parameters=(
                ("content", "import"),
                ("checksum-algorithm", "sha256"),
                ("checksum", UNKNOWN),
                ("filename", name),
            ),
            file=name,
            task=True,
        ),
        remove=Call(
            about=f"remove the upload {name}",
            method="DELETE",
            path=f"{storage}/content/{volume}",
            task=True,
        ),
    )


def _settings(machine: NewMachine, options: PushOptions) -> Iterator[tuple[str, str]]:
    for entry in machine.configuration.entries:
        if entry.key in machine.drives:
            yield entry.key, _import(entry, _file_name(machine.vmid, entry.key), options)
        elif entry.key not in RENEWED:
            yield entry.key, entry.value
    if machine.configuration.description:
        yield "description", machine.configuration.description


def _import(entry: Entry, name: str, options: PushOptions) -> str:
    """Return a drive made of an upload, with its size and in the format of the storage."""
    properties = parse_properties(entry.value, "file")
    kept = [one for one in properties if one[0] not in {"file", "size", "format"}]
    if entry.key == "efidisk0":
        # Both have to be said with an import (check_drive_param in PVE/API2/Qemu.pm).
        kept = list({"efitype": "2m", "pre-enrolled-keys": "0", **dict(kept)}.items())
    source = f"{options.import_storage}:import/{name}"
    return write_properties([("", f"{options.storage}:0"), ("import-from", source), *kept])
