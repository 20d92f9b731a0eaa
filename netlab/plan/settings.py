"""The settings of a node: built-in < defaults < groups, in the order it lists them < its own.

Single values and lists replace; ``files`` is merged by path. Each value keeps the place that it
came from, so that a mistake points at the group that made it and not at the node that took it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from netlab.plan.catalogue import IMAGES, ImageFacts
from netlab.plan.disks import plan_disks
from netlab.plan.model import (
    BIOS,
    Accel,
    BootFrom,
    DiskPlan,
    Display,
    FilePlan,
    FirmwareKind,
    FirmwarePlan,
    Wire,
)
from netlab.topology.hardware import Firmware
from netlab.topology.model import File, Node, Route, Settings, Topology
from netlab.topology.scalars import HostAddress
from netlab.topology.source import Mistakes, Path, quote

DEFAULT_IMAGE = "micro"
DEFAULT_MTU = 1500
"""Bytes; Ethernet's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """What a node is set to, after merging.

    Attributes:
        memory: MiB, or None where nothing is said.
        places: Where the value of each setting stands, by its key.
    """

    image: str
    arch: str
    accel: Accel
    cpus: int
    memory: int | None
    display: Display
    firmware: FirmwarePlan
    boot: BootFrom
    disks: tuple[DiskPlan, ...]
    wire: Wire
    mtu: int
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
    values: dict[str, Any] = {}
    places: dict[str, Path] = {}
    for path, layer in layers:
        for key in Settings.model_fields:
            value = cast("object", getattr(layer, key))
            if value is not None and key != "files":
                values[key] = value
                places[key] = (*path, key)
    place = ("nodes", pattern)
    image = cast("str", values.get("image", DEFAULT_IMAGE))
    facts = _facts(image, places.get("image", place), mistakes)
    settings = NodeSettings(
        image=image,
        arch=values.get("arch", facts.arch),
        accel=values.get("accel", "auto"),
        cpus=values.get("cpus", 1),
        memory=values.get("memory"),
        display=values.get("display", "none"),
        firmware=_firmware(values.get("firmware")),
        boot=values.get("boot", facts.boots[0]),
        disks=plan_disks(
            facts,
            (values.get("disk"), places.get("disk", place)),
            (values.get("disks", ()), places.get("disks", place)),
            mistakes,
        ),
        wire=values.get("wire", "exact"),
        mtu=values.get("mtu", DEFAULT_MTU),
        loopback=values.get("loopback", False),
        vlans=values.get("vlans", ()),
        files=_files(layers, topology, mistakes),
        run=values.get("run", ()),
        routes=values.get("routes", ()),
        places=places,
    )
    _check_image(settings, facts, mistakes)
    return settings


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


def _facts(image: str, place: Path, mistakes: Mistakes) -> ImageFacts:
    facts = IMAGES.get(image)
    if facts is None:
        hint = mistakes.suggest(image, IMAGES, f"there is {', '.join(IMAGES)}")
        mistakes.add(place, f"the image {quote(image)} is not known", hint)
        return IMAGES[DEFAULT_IMAGE]
    return facts


def _check_image(settings: NodeSettings, facts: ImageFacts, mistakes: Mistakes) -> None:
    if settings.image not in IMAGES:
        return
    image = f"the image {quote(settings.image)}"
    if settings.arch != facts.arch:
        message = f"{image} is for {facts.arch}, not {quote(settings.arch)}"
        mistakes.add(settings.places["arch"], message)
    if settings.boot not in facts.boots:
        others = (name for name, other in IMAGES.items() if settings.boot in other.boots)
        hint = f"write boot: {facts.boots[0]}, or image: {' or '.join(others)}"
        mistakes.add(settings.places["boot"], f"{image} has no disk to boot from", hint)


def _firmware(firmware: Firmware | None) -> FirmwarePlan:
    if firmware is None:
        return BIOS
    kind = cast("FirmwareKind", firmware.kind)
    return FirmwarePlan(kind=kind, code=firmware.code, vars=firmware.vars)


def _files(
    layers: list[tuple[Path, Settings]], topology: Topology, mistakes: Mistakes
) -> tuple[FilePlan, ...]:
    files: dict[str, tuple[Path, File]] = {}
    for owner, layer in layers:
        for path, file in (layer.files or {}).items():
            files[path] = ((*owner, "files", path), file)
    for path, (place, _) in files.items():
        inside = next((other for other in files if other.startswith(f"{path}/")), None)
        if inside is not None:
            message = f"{quote(path)} is a file, and {quote(inside)} needs it to be a folder"
            mistakes.add(place, message, key=True)
    return tuple(_file(path, *where, topology, mistakes) for path, where in files.items())


def _file(path: str, place: Path, file: File, topology: Topology, mistakes: Mistakes) -> FilePlan:
    content = file.text or ""
    encoding: Literal["utf-8", "base64"] = "utf-8"
    if file.source is not None:
        data = topology.source.files.get(file.source)
        if data is None:
            hint = "load the topology from its file"
            if not mistakes.holds((*place, "from")):
                mistakes.add(
                    (*place, "from"), f"the content of {quote(file.source)} was not read", hint
                )
            data = b""
        try:
            content = data.decode()
        except UnicodeDecodeError:
            content, encoding = base64.b64encode(data).decode(), "base64"
    return FilePlan(path=path, content=content, encoding=encoding, mode=file.mode)
