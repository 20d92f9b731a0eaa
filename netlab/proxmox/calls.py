"""A push as the calls of Proxmox's API that it is made of: frozen values, computed first.

The API takes no archive (its upload knows ``iso``, ``vztmpl`` and ``import`` alone, API2/Storage/
Status.pm), so a machine gets there as its disks, uploaded as content ``import``, and as a machine
that is created from them (``import-from``, PVE/API2/Qemu.pm).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from netlab.errors import ConfigurationError, Mistake
from netlab.proxmox.configuration import (
    Configuration,
    Entry,
    parse_properties,
    write_properties,
)
from netlab.proxmox.formats import NODE, STORAGE, VMID, VNET
from netlab.proxmox.recipe import ZONE, make_alias
from netlab.proxmox.rules import check
from netlab.proxmox.schema import is_drive

Method = Literal["GET", "POST", "PUT", "DELETE"]

_TOKEN_KEYS = frozenset((
    "acpi", "agent", "balloon", "bios", "boot", "cores", "cpu", "kvm", "machine", "memory", "name",
    "numa", "onboot", "ostype", "protection", "rng0", "scsihw", "smbios1", "sockets", "tablet",
    "tags", "template", "vcpus", "vga",
))  # fmt: skip
"""Settings that a token may have the right to (check_vm_modify_config_perm in PVE/API2/Qemu.pm);
network cards, drives and serial sockets beside them. All others are those of root@pam, who is none
of its tokens."""

_RENEWED = frozenset(("meta", "vmgenid"))
"""Settings that only root may give, and that Proxmox makes by itself for every new machine."""


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
        parts = [self.method, f"/api2/json{self.path}"]
        # As curl's -F would have it: the file, and the name that it goes by.
        file = f"@{quote(self.file, safe=_SHOWN)};filename=" if self.file else ""
        for name, value in self.parameters:
            parts.append(f"{name}={file * (name == 'filename')}{quote(value, safe=_SHOWN)}")
        parts += ["lock-token=…"] if self.locked else []
        return " ".join(parts)


_SHOWN = ":/,;=+@!"


@dataclass(frozen=True, slots=True)
class Upload:
    """A disk on its way.

    Attributes:
        drive: The drive that it becomes, such as ``scsi0``.
        path: The file: raw for the firmware's variables, otherwise qcow2 without a backing file,
            which Proxmox would refuse.
        digest: Its SHA-256 in hexadecimal.
    """

    drive: str
    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class VirtualNetwork:
    """A virtual network that is made when it is not there: its name, and what people call it."""

    name: str
    alias: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOptions:
    """Where a machine goes.

    Attributes:
        node: The node of the cluster.
        vmid: The machine's number there.
        storage: The storage of its disks.
        import_storage: A file storage with content type ``import``, where disks wait for that.
        networks: Virtual networks that are made where they are missing.
        mtu: Of these, in bytes.
        start: Whether the machine is started in the end.
    """

    node: str
    vmid: int
    storage: str
    import_storage: str
    networks: tuple[VirtualNetwork, ...] = ()
    mtu: int = 1500
    start: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PushPlan:
    """The calls of a push, in their order.

    Attributes:
        options: Where the machine goes.
        bridges: The bridges and virtual networks that the machine is on.
        tags: The machine's tags; what has not all of them is never removed.
        looks: Looked at first: number, storages, bridges, networks. Nothing is changed by them.
        lock: Begins the making of networks.
        zone: Makes the zone of the networks, where it is missing.
        networks: Make the virtual networks that are missing, by name.
        apply: Puts them to work on all nodes.
        uploads: Bring the disks.
        create: Makes the machine of them, stopped.
        clean: Remove the uploaded disks, which the machine does not need any more.
        start: Starts it, or None.
    """

    options: PushOptions
    bridges: tuple[str, ...]
    tags: frozenset[str]
    looks: tuple[Call, ...]
    lock: Call
    zone: Call
    networks: tuple[tuple[str, Call], ...]
    apply: Call
    uploads: tuple[Call, ...]
    create: Call
    clean: tuple[Call, ...]
    start: Call | None

    def __iter__(self) -> Iterator[Call]:
        """Return every call that is made when everything is missing and nothing fails."""
        yield from self.looks
        if self.networks:
            yield from (self.lock, self.zone, *(call for _, call in self.networks), self.apply)
        yield from (*self.uploads, self.create, *self.clean)
        if self.start is not None:
            yield self.start


def plan_push(
    configuration: Configuration, uploads: tuple[Upload, ...], options: PushOptions
) -> PushPlan:
    """Return the calls that make a machine of a configuration and its disks.

    Args:
        configuration: The machine; its volumes and its map of devices are an archive's matter.
        uploads: A file for each of its drives.
        options: Where it goes.

    Raises:
        ConfigurationError: All that the API does not take from a token, and that breaks a rule.
    """
    mistakes = [
        Mistake(configuration.file, line, int(line > 0), path, message, hint)
        for line, path, message, hint in _mistakes(configuration, uploads, options)
    ]
    if mistakes or (mistakes := list(check(configuration))):
        raise ConfigurationError(mistakes)
    node, names = f"/nodes/{options.node}", {one.drive: _file_name(options, one) for one in uploads}
    return PushPlan(
        options=options,
        bridges=_bridges(configuration),
        tags=frozenset(re.split("[;, ]", configuration.get("tags") or "")),
        looks=tuple(_looks(options)),
        lock=Call(about="lock the virtual networks", method="POST", path="/cluster/sdn/lock"),
        zone=Call(
            about=f"make the zone {ZONE}",
            method="POST",
            path="/cluster/sdn/zones",
            parameters=(("type", "simple"), ("zone", ZONE), ("mtu", str(options.mtu))),
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
        uploads=tuple(_upload(one, names[one.drive], options) for one in uploads),
        create=Call(
            about=f"create the machine {options.vmid}",
            method="POST",
            path=f"{node}/qemu",
            parameters=(("vmid", str(options.vmid)), *_settings(configuration, names, options)),
            task=True,
        ),
        clean=tuple(_remove_upload(names[one.drive], options) for one in uploads),
        start=Call(
            about=f"start the machine {options.vmid}",
            method="POST",
            path=f"{node}/qemu/{options.vmid}/status/start",
            task=True,
        )
        if options.start
        else None,
    )


def _remove_upload(name: str, options: PushOptions) -> Call:
    volume = quote(f"{options.import_storage}:import/{name}", safe="")
    return Call(
        about=f"remove the upload {name}",
        method="DELETE",
        path=f"/nodes/{options.node}/storage/{options.import_storage}/content/{volume}",
        task=True,
    )


def _looks(options: PushOptions) -> Iterator[Call]:
    node = f"/nodes/{options.node}"
    yield Call(
        about=f"look whether {options.vmid} is free",
        method="GET",
        path="/cluster/nextid",
        parameters=(("vmid", str(options.vmid)),),
    )
    for storage in (options.storage, options.import_storage):
        path = f"{node}/storage/{storage}/status"
        yield Call(about=f"look at the storage {storage}", method="GET", path=path)
    yield Call(
        about="look which uploads there are",
        method="GET",
        path=f"{node}/storage/{options.import_storage}/content",
        parameters=(("content", "import"),),
    )
    yield Call(
        about="look which bridges and networks there are",
        method="GET",
        path=f"{node}/network",
        parameters=(("type", "any_bridge"),),
    )
    if options.networks:
        yield Call(about="look which zones there are", method="GET", path="/cluster/sdn/zones")


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


def _file_name(options: PushOptions, upload: Upload) -> str:
    suffix = "raw" if upload.drive == "efidisk0" else "qcow2"
    return f"netlab-{options.vmid}-{upload.drive}.{suffix}"


def _upload(upload: Upload, name: str, options: PushOptions) -> Call:
    return Call(
        about=f"upload {upload.drive}",
        method="POST",
        path=f"/nodes/{options.node}/storage/{options.import_storage}/upload",
        # In this order, the file last: PVE/APIServer/AnyEvent.pm reads them as they come.
        parameters=(
            ("content", "import"),
            ("checksum-algorithm", "sha256"),
            ("checksum", upload.digest),
            ("filename", name),
        ),
        file=upload.path,
        task=True,
    )


def _settings(
    configuration: Configuration, names: dict[str, str], options: PushOptions
) -> Iterator[tuple[str, str]]:
    for entry in configuration.entries:
        if entry.key in names:
            yield entry.key, _import(entry, names[entry.key], options)
        elif entry.key not in _RENEWED:
            yield entry.key, entry.value
    if configuration.description:
        yield "description", configuration.description


def _import(entry: Entry, name: str, options: PushOptions) -> str:
    """Return a drive made of an upload, with its size and in the format of the storage."""
    properties = parse_properties(entry.value, "file")
    kept = [one for one in properties if one[0] not in {"file", "size", "format"}]
    if entry.key == "efidisk0":
        # Both have to be said with an import (check_drive_param in PVE/API2/Qemu.pm).
        kept = list({"efitype": "2m", "pre-enrolled-keys": "0", **dict(kept)}.items())
    source = f"{options.import_storage}:import/{name}"
    return write_properties([("", f"{options.storage}:0"), ("import-from", source), *kept])


def _bridges(configuration: Configuration) -> tuple[str, ...]:
    cards = (parse_properties(entry.value, "model") for entry, _ in configuration.numbered("net"))
    return tuple(sorted({dict(card)["bridge"] for card in cards if "bridge" in dict(card)}))


def _mistakes(
    configuration: Configuration, uploads: tuple[Upload, ...], options: PushOptions
) -> Iterator[tuple[int, str, str, str]]:
    for path, value, format_ in (
        ("node", options.node, NODE),
        ("vmid", str(options.vmid), VMID),
        ("storage", options.storage, STORAGE),
        ("import-storage", options.import_storage, STORAGE),
        *(("networks", one.name, VNET) for one in options.networks),
    ):
        yield from ((0, path, message, hint) for _, message, hint in format_.mistakes(value))
    if not configuration.get("tags"):
        yield 0, "tags", "there is none", "a machine without tags could not be told from others"
    for entry in configuration.entries:
        if not _is_allowed(entry):
            message = f"{entry.value[:80]!r} cannot be given by an API token, only by root"
            yield entry.line, entry.key, message, "leave it out, or restore an archive as root"
    yield from _upload_mistakes(configuration, uploads)


def _upload_mistakes(
    configuration: Configuration, uploads: tuple[Upload, ...]
) -> Iterator[tuple[int, str, str, str]]:
    drives = [entry.key for entry in configuration.entries if _has_content(entry)]
    given = [one.drive for one in uploads]
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
    return entry.key in _TOKEN_KEYS | _RENEWED
