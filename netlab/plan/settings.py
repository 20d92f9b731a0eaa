"""The settings of a node: built-in < defaults < groups, in the order it lists them < its own.

Single values and lists replace; ``files`` are merged by path, and
``credentials`` by name. Each value keeps the place that it
came from, so that a mistake points at the group that made it and not at the node that took it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from netlab.plan.catalogue import DEFAULT_IMAGE, IMAGES, NO_IMAGE, ImageFacts
from netlab.plan.contents import encode, find_content
from netlab.plan.devices import plan_devices
from netlab.plan.disks import plan_cdroms, plan_disks
from netlab.plan.images import find_own, is_known, name_of
from netlab.plan.model import (
    Accel,
    BootFrom,
    CdromPlan,
    DiskPlan,
    Display,
    FilePlan,
    FirmwarePlan,
    MachineType,
    Wire,
)
from netlab.plan.parts import CloudInitPlan, DevicesPlan, SharePlan
from netlab.plan.platform import plan_platform
from netlab.plan.seeds import plan_cloud_init
from netlab.plan.shares import plan_shares
from netlab.topology.hardware import NO_DISK
from netlab.topology.model import File, Node, Route, Settings, Topology
from netlab.topology.names import find_within
from netlab.topology.recipe import is_recipe
from netlab.topology.scalars import HostAddress
from netlab.topology.source import Mistakes, Path, quote

DEFAULT_MTU = 1500
"""Bytes; Ethernet's."""

# What is so unless somebody says otherwise, whatever the image.
_USUAL: dict[str, Any] = {
    "accel": "auto",
    "cpus": 1,
    "memory": None,
    "display": "none",
    "wire": "exact",
    "mtu": DEFAULT_MTU,
    "agent": True,
    "loopback": False,
    "vlans": (),
    "run": (),
    "routes": (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """What a node is set to, after merging.

    Attributes:
        facts: What is known of the image.
        memory: MiB, or None where nothing is said.
        places: Where the value of each setting stands, by its key.
    """

    image: str | None
    facts: ImageFacts
    arch: str
    machine: MachineType
    accel: Accel
    cpus: int
    memory: int | None
    display: Display
    firmware: FirmwarePlan
    boot: BootFrom
    disks: tuple[DiskPlan, ...]
    tmpfs_root: bool
    cdroms: tuple[CdromPlan, ...]
    cloud_init: CloudInitPlan
    devices: DevicesPlan
    shares: tuple[SharePlan, ...]
    wire: Wire
    mtu: int
    agent: bool
    configure: bool
    loopback: bool | tuple[HostAddress, ...]
    vlans: tuple[int, ...]
    files: tuple[FilePlan, ...]
    run: tuple[str, ...]
    routes: tuple[Route, ...]
    places: Mapping[str, Path]


def merge(topology: Topology, pattern: str, mistakes: Mistakes) -> NodeSettings:
    """Return the settings of the nodes of a pattern.

    Args:
        topology: The whole.
        pattern: A key of its ``nodes``.
        mistakes: Gets unknown groups and images, and settings that the image cannot have.
    """
    layers = _layers(topology, pattern, topology.nodes[pattern], mistakes)
    values, places = _collect(layers)
    place = ("nodes", pattern)
    given = _given_files(layers)
    image, facts = _image(values.get("image"), places.get("image", place), mistakes)
    platform = plan_platform(image, facts, values, {"image": place, **places}, mistakes)
    disks = _disks(facts, values, places, place, mistakes)
    cdroms = values.get("cdroms", ()), places.get("cdroms", place)
    settings = NodeSettings(
        **{key: values.get(key, usual) for key, usual in _USUAL.items()},
        image=image,
        facts=facts,
        arch=platform.arch,
        machine=platform.machine,
        firmware=platform.firmware,
        boot=values.get("boot", facts.boots[0]),
        disks=disks,
        tmpfs_root=values.get("disk") is NO_DISK and image is not None,
        cdroms=plan_cdroms(facts, cdroms, disks, mistakes),
        cloud_init=plan_cloud_init(
            values.get("cloud_init"), places.get("cloud_init", place), topology, mistakes
        ),
        devices=plan_devices(values, places, _credentials(layers, topology, mistakes), mistakes),
        configure=values.get("configure", values.get("agent", True)),
        shares=_shares(facts, values, places, given, mistakes),
        files=_files(given, topology, mistakes),
        places=places,
    )
    _check(settings, mistakes)
    return settings


def _collect(layers: list[tuple[Path, Settings]]) -> tuple[dict[str, Any], dict[str, Path]]:
    """Return the value of each setting that is made, the last one, and where it stands."""
    values: dict[str, Any] = {}
    places: dict[str, Path] = {}
    for path, layer in layers:
        for key in Settings.model_fields:
            value = cast("object", getattr(layer, key))
            if value is not None and key != "files":
                values[key] = value
                places[key] = (*path, key)
        if layer.arch is None and "arch" in layer.model_fields_set:
            # Said to be not said: whatever is around, it is the image's.
            values.pop("arch", None)
    return values, places


def _layers(
    topology: Topology, pattern: str, node: Node, mistakes: Mistakes
) -> list[tuple[Path, Settings]]:
    layers: list[tuple[Path, Settings]] = [(("defaults",), topology.defaults)]
    for index, name in enumerate(node.groups):
        group = topology.groups.get(name)
        if group is None:
            path = ("nodes", pattern, "groups", index)
            hint = mistakes.suggest(name, topology.groups, "declare it in groups")
            mistakes.add(path, f"the group {quote(name)} is not declared", hint)
        else:
            layers.append((("groups", name), group))
    layers.append((("nodes", pattern), node))
    return layers


def _image(name: str | None, place: Path, mistakes: Mistakes) -> tuple[str | None, ImageFacts]:
    """Return an image's name and facts; of one that does not exist, those of the usual one."""
    name = name or DEFAULT_IMAGE
    if name == "none":
        return None, NO_IMAGE
    if is_recipe(name):
        return find_own(name, place, mistakes)
    if name not in IMAGES:
        known = f"there is {', '.join(IMAGES)}, or none"
        if "/" in name or "." in name:
            hint = "a recipe is NAME.image.yaml; a disk is image: none, disk: {file: …}"
        else:
            hint = mistakes.suggest(name, IMAGES, known)
        mistakes.add(place, f"the image {quote(name)} is not known", hint)
    return name, IMAGES.get(name, IMAGES[DEFAULT_IMAGE])


def _check(settings: NodeSettings, mistakes: Mistakes) -> None:
    """Find settings that a node cannot have together."""
    _check_image(settings, mistakes)
    _check_secure_boot(settings, mistakes)
    _check_guest(settings, mistakes)
    _check_tpm(settings, mistakes)


def _check_image(settings: NodeSettings, mistakes: Mistakes) -> None:
    facts, places = settings.facts, settings.places
    if settings.image is None:
        _check_alone(settings, mistakes)
    elif is_known(settings.image):
        image = f"the image {quote(name_of(settings.image))}"
        if settings.cloud_init.enabled and not facts.cloud_init:
            others = (name for name, other in IMAGES.items() if other.cloud_init)
            hint = f"write image: {' or '.join(others)}, or none"
            mistakes.add(places["cloud_init"], f"{image} has no cloud-init", hint)
        if settings.boot not in facts.boots:
            others = (name for name, other in IMAGES.items() if settings.boot in other.boots)
            hint = f"write boot: {facts.boots[0]}, or image: {' or '.join(others)}"
            network = settings.boot == "network"
            what = "does not boot from the network" if network else "has no disk to boot from"
            mistakes.add(places["boot"], f"{image} {what}", hint)
        if settings.tmpfs_root and settings.boot == "network":
            message = "what comes over the network has its own root"
            mistakes.add(places["disk"], message, "leave disk out, or write boot: kernel", key=True)


def _check_alone(settings: NodeSettings, mistakes: Mistakes) -> None:
    """Find what a node without an image lacks."""
    places = settings.places
    if settings.boot == "kernel":
        hint = "write boot: disk or network, or name an image"
        mistakes.add(places["boot"], "there is no image to take a kernel from", hint)
    if "disk" not in places and not settings.cdroms and settings.boot != "network":
        hint = "write disk: {file: …, format: raw}, or cdroms: …, or boot: network"
        mistakes.add(places["image"], "without an image a node boots from its disk's file", hint)


def _check_secure_boot(settings: NodeSettings, mistakes: Mistakes) -> None:
    """Find what would start past the keys of Secure Boot, or without a flash to keep them in."""
    if not settings.firmware.secure_boot:
        return
    place = (*settings.places["firmware"], "secure_boot")
    if settings.boot == "kernel":
        message = "the firmware checks no kernel that netlab hands to it"
        hint = "write boot: disk, for an image that has a loader: debian"
        mistakes.add(place, message, hint)
    if settings.machine != "q35":
        message = f"{settings.machine} has no memory that only firmware can write to"
        mistakes.add(place, message, "write machine: q35")


def _check_guest(settings: NodeSettings, mistakes: Mistakes) -> None:
    """Find what a guest is to be given that netlab does not configure."""
    if settings.configure and not settings.agent:
        message = "netlab configures a guest through its agent"
        mistakes.add(settings.places["configure"], message, "leave it out, or agent: true")
    if settings.configure:
        return
    if settings.cloud_init.enabled:
        _check_routes(settings, mistakes)
        return
    given = {"files": settings.files, "run": settings.run, "routes": settings.routes}
    for key in (key for key, value in given.items() if value):
        message = f"netlab does not configure this guest, and gives it no {key}"
        place = settings.places.get(key, settings.places.get("configure", ()))
        mistakes.add(place or settings.places["agent"], message, "leave one of the two out")


def _check_routes(settings: NodeSettings, mistakes: Mistakes) -> None:
    """Find routes that cloud-init has no word for."""
    place = settings.places.get("routes", ())
    for index, route in enumerate(settings.routes):
        if route.via is None:
            hint = "write it into cloud_init.network_config, or leave out configure: false"
            mistakes.add((*place, index), "cloud-init sets no route without a gateway", hint)


def _check_tpm(settings: NodeSettings, mistakes: Mistakes) -> None:
    """Refuse a TPM where the tables of the BIOS would be lost.

    With a TPM's log among them they begin 192 KiB below the end of memory, and QEMU puts an initial
    RAM disk up to 160 KiB below it (hw/i386/x86.c, pc_q35.c; seen with QEMU 7.2 and SeaBIOS 1.16).
    """
    bios = settings.firmware.kind == "bios"
    if settings.devices.tpm and bios and settings.boot == "kernel" and settings.image is not None:
        message = "a TPM and a kernel that is handed to a BIOS: their tables overlap in memory"
        others = " or boot: disk" if "disk" in settings.facts.boots else ""
        mistakes.add(settings.places["tpm"], message, f"write firmware: uefi{others}")


def _credentials(
    layers: list[tuple[Path, Settings]], topology: Topology, mistakes: Mistakes
) -> dict[str, bytes]:
    credentials: dict[str, bytes] = {}
    for owner, layer in layers:
        for name, content in (layer.credentials or {}).items():
            place = (*owner, "credentials", name)
            credentials[name] = find_content(content, place, topology, mistakes)
    return credentials


def _given_files(layers: list[tuple[Path, Settings]]) -> dict[str, tuple[Path, File]]:
    """Return a node's files by their paths, each with the place where it stands."""
    files: dict[str, tuple[Path, File]] = {}
    for owner, layer in layers:
        for path, file in (layer.files or {}).items():
            files[path] = ((*owner, "files", path), file)
    return files


def _disks(
    facts: ImageFacts,
    values: Mapping[str, Any],
    places: Mapping[str, Path],
    place: Path,
    mistakes: Mistakes,
) -> tuple[DiskPlan, ...]:
    root = values.get("disk"), places.get("disk", place)
    others = values.get("disks", ()), places.get("disks", place)
    installer = bool(values.get("cdroms")) or values.get("boot") == "network"
    return plan_disks(facts, root, others, mistakes, installer=installer)


def _shares(
    facts: ImageFacts,
    values: Mapping[str, Any],
    places: Mapping[str, Path],
    files: Mapping[str, tuple[Path, File]],
    mistakes: Mistakes,
) -> tuple[SharePlan, ...]:
    # Netlab's kernel and a root in memory are netlab's own; all else is somebody's whole system.
    whole = facts.disk or values.get("boot", facts.boots[0]) != "kernel"
    shares = values.get("shares", ()), places.get("shares", ())
    taken = {path: place for path, (place, _) in files.items()}
    return plan_shares(shares, facts.shares, taken, mistakes, whole=whole)


def _files(
    files: Mapping[str, tuple[Path, File]], topology: Topology, mistakes: Mistakes
) -> tuple[FilePlan, ...]:
    within = find_within(files)
    for path, (place, _) in files.items():
        inside = within.get(path)
        if inside is not None:
            message = f"{quote(path)} is a file, and {quote(inside)} needs it to be a folder"
            mistakes.add(place, message, key=True)
    return tuple(_file(path, *where, topology, mistakes) for path, where in files.items())


def _file(path: str, place: Path, file: File, topology: Topology, mistakes: Mistakes) -> FilePlan:
    content, encoding = encode(find_content(file, place, topology, mistakes))
    return FilePlan(path=path, content=content, encoding=encoding, mode=file.mode)
