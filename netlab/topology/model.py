"""What may be written in a topology: the user's models, a description on every field.

Short forms (``r1 -- r2``, a file as plain text, one value for a list) are turned into the long form
before validation, so that there is one shape to plan from and every mistake has a path that stands
in the text. Descriptions are what editors show; ``netlab/docs/topology.md`` tells the same at
length. Nothing written behind a key is the same as leaving the key out.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from netlab.errors import Mistake
from netlab.topology.checks import Check
from netlab.topology.contents import Content
from netlab.topology.devices import Devices
from netlab.topology.forms import Elements, Entries, Several, also_nothing, also_text
from netlab.topology.hardware import Disk, Firmware, OrNoDisk
from netlab.topology.links import Link, Model
from netlab.topology.ranges import MAXIMUM_NODES
from netlab.topology.recipe import Recipe
from netlab.topology.scalars import (
    Address,
    Destination,
    Flag,
    GuestPath,
    InterfaceAddress,
    InterfaceName,
    LabName,
    Loopback,
    Mac,
    Memory,
    Mode,
    Mtu,
    Name,
    NodePattern,
    Pool,
    Text,
    Uuid,
    VariableName,
    Vlan,
    choice,
    integer,
)
from netlab.topology.source import Source, WrongError, quote

_ROUTE = re.compile(r"(\S+)(?:\s+via\s+(\S+))?(?:\s+dev\s+(\S+))?")


class File(Content):
    """A file that a node gets: plain text, or where its content comes from."""

    model_config = ConfigDict(json_schema_extra=also_text("The file's text."))

    mode: Mode = Field(default=0o644, description="Its permission bits in octal, such as 0755.")


class Route(Model):
    """A static route."""

    model_config = ConfigDict(
        json_schema_extra=also_text("PREFIX via GATEWAY dev INTERFACE; the prefix may be default.")
    )

    to: Destination = Field(description="The destination: a prefix such as 10.0.0.0/8, or default.")
    via: Address | None = Field(default=None, description="The gateway's address.")
    interface: InterfaceName | None = Field(
        default=None, description="The interface that it leaves by; needed when there is no via."
    )

    @model_validator(mode="before")
    @staticmethod
    def _read_short_form(value: object) -> object:
        if not isinstance(value, str):
            return value
        found = _ROUTE.fullmatch(value.strip())
        if found is None:
            raise WrongError(
                f"{quote(value)} is not a route", "write PREFIX via GATEWAY dev INTERFACE"
            )
        parts = zip(("to", "via", "interface"), found.groups(), strict=True)
        return {key: part for key, part in parts if part is not None}

    @model_validator(mode="after")
    def _check_next_hop(self) -> Route:
        if self.via is None and self.interface is None:
            raise WrongError("a route needs via, interface, or both")
        return self


class NodeInterface(Model):
    """An interface that is named explicitly and is on a vlan."""

    vlan: Vlan = Field(description="The number of the segment that it is on, 1 to 4094.")
    assign_ip: Flag = Field(
        default=False,
        description="Whether it gets 192.168.VLAN.ID/24 and 2001:db8:VLAN::ID/64.",
    )
    addresses: Annotated[tuple[InterfaceAddress, ...], Several(none=True)] = Field(
        default=(), description="Its static addresses with prefix length, or none."
    )
    mtu: Mtu | None = Field(default=None, description="Its MTU in bytes.")
    mac: Mac | None = Field(default=None, description="Its MAC address; by rule when left out.")


class Settings(Devices):
    """What defaults, groups and nodes can say alike; the nearest to the node wins."""

    image: Name | None = Field(
        default=None,
        description=(
            "The image that it boots: micro or debian; or a recipe of an own one, NAME.image.yaml, "
            "relative to the topology; or none: it boots a file's disk."
        ),
    )
    arch: Name | None = Field(
        default=None,
        description=(
            "Its architecture as QEMU names it: x86_64, aarch64 or riscv64. The image's when left "
            "out, or null; without an image it has to be said."
        ),
    )
    machine: Annotated[str, *choice("q35", "pc", "virt")] | None = Field(
        default=None,
        description=(
            "QEMU's machine type: q35 (the default) or pc, the older one; virt (the default) where "
            "arch is not x86_64."
        ),
    )
    accel: Annotated[str, *choice("auto", "kvm", "tcg")] | None = Field(
        default=None,
        description="What runs the guest's code: auto (KVM where it works, else TCG), kvm or tcg.",
    )
    cpus: Annotated[int, *integer("a number of CPUs", 1, 255)] | None = Field(
        default=None, description="The number of its virtual CPUs; 1 by default."
    )
    memory: Memory | None = Field(
        default=None, description="Its memory in MiB, or as 512 MiB or 1 GiB."
    )
    display: Annotated[str, *choice("none", "std", "virtio")] | None = Field(
        default=None,
        description=(
            "Its graphics card: none (the default), std (VGA) or virtio. "
            "With one it has a screen, and the micro image a shell there."
        ),
    )
    boot: Annotated[str, *choice("kernel", "disk", "network")] | None = Field(
        default=None,
        description=(
            "What its firmware starts: kernel (the image's, handed to it), disk (by the loader "
            "that is on it) or network (what another node gives it by iPXE, over its first "
            "interface). The image says which by default."
        ),
    )
    firmware: Firmware | None = Field(
        default=None,
        description=(
            "What starts it: bios (the default; x86_64 alone has one) or uefi, whatever it boots; "
            "or {code, vars}, files of an own build. Each node has a variable store of its own."
        ),
    )
    disk: Annotated[Disk | None, OrNoDisk()] = Field(
        default=None,
        description=(
            "Its root disk: what differs from the image's, or without one its file. none and null "
            "are no root disk at all: its root is in memory. Left out it is as the image has it."
        ),
    )
    disks: Annotated[tuple[Disk, ...], Several()] | None = Field(
        default=None, description="Its other disks, in the order in which the guest finds them."
    )
    wire: Annotated[str, *choice("exact", "fast")] | None = Field(
        default=None,
        description=(
            "exact (the default): the wire carries what a switch would see. "
            "fast: offloads on, frames may be huge and without checksums."
        ),
    )
    agent: Flag | None = Field(
        default=None,
        description=(
            "Whether its guest runs QEMU's guest agent: true (the default). If false it is ready "
            "when QEMU runs, and no command can be run in it."
        ),
    )
    configure: Flag | None = Field(
        default=None,
        description=(
            "Whether netlab gives its guest names, addresses, routes and files: true by default, "
            "unless it has no agent. If false it is ready when its agent answers."
        ),
    )
    mtu: Mtu | None = Field(
        default=None,
        description="The MTU in bytes of its interfaces where nothing nearer says another; 1500.",
    )
    loopback: Loopback | None = Field(
        default=None,
        description="Addresses of lo: true draws them from the pool; or a list; or false.",
    )
    vlans: Annotated[tuple[Vlan, ...], Several()] | None = Field(
        default=None,
        description="Segments by number: one interface each, named eth1, eth2 …, with addresses.",
    )
    files: Annotated[dict[GuestPath, File], Entries()] | None = Field(
        default=None, description="Files in the guest by absolute path: text, or {from, mode}."
    )
    run: Annotated[tuple[Text, ...], Several()] | None = Field(
        default=None,
        description="Shell commands, run in order once addresses, routes and files are there.",
    )
    routes: Annotated[tuple[Route, ...], Several()] | None = Field(
        default=None, description="Static routes: default via 10.0.0.1, or mappings."
    )


class Defaults(Settings):
    """Settings of every node."""


class Group(Settings):
    """Settings of every node that lists the group."""


class Node(Settings):
    """A virtual machine; with a range in its name, several."""

    model_config = ConfigDict(json_schema_extra=also_nothing)

    id: Annotated[int, *integer("an id", 1, MAXIMUM_NODES)] | None = Field(
        default=None,
        description=(
            "The source of its addresses, 1 to 4096; its position in the file when left out. "
            "For a range: the first node's, the others count on."
        ),
    )
    uuid: Uuid | None = Field(
        default=None, description="Its UUID (SMBIOS); a function of lab and node when left out."
    )
    groups: Annotated[tuple[Name, ...], Several()] = Field(
        default=(), description="The groups whose settings it takes; later ones win."
    )
    interfaces: Annotated[dict[InterfaceName, NodeInterface], Entries()] = Field(
        default={}, description="Interfaces with names of their own, each on a vlan."
    )

    @model_validator(mode="before")
    @staticmethod
    def _read_nothing(value: object) -> object:
        return {} if value is None else value


class Addressing(Model):
    """Where automatic addresses come from: at most one IPv4 and one IPv6 prefix for each use."""

    p2p: Pool = Field(
        default=(IPv4Network("10.0.0.0/8"), IPv6Network("2001:db8:8000::/33")),
        description="Links of two nodes draw a /31 and a /64 each from here; or none.",
    )
    loopback: Pool = Field(
        default=(IPv4Network("172.16.0.0/19"), IPv6Network("2001:db8:7fff::/64")),
        description="Loopback addresses: the prefix's first address plus the node's id.",
    )

    @field_validator("p2p", "loopback")
    @staticmethod
    def _check_families(pool: Pool) -> Pool:
        if len({prefix.version for prefix in pool}) < len(pool):
            raise WrongError("a pool has at most one IPv4 and one IPv6 prefix")
        return pool

    @field_validator("p2p")
    @staticmethod
    def _check_room(pool: Pool) -> Pool:
        for prefix in pool:
            longest = 31 if prefix.version == 4 else 64
            if prefix.prefixlen > longest:
                raise WrongError(f"{prefix} has no room for a /{longest}", "every link takes one")
        return pool


class Topology(Model):
    """A lab, as its author wrote it."""

    name: LabName = Field(
        description="The lab's name, unless the command line gives another: at most 32 letters."
    )
    vars: Annotated[dict[VariableName, Text], Entries()] = Field(
        default={},
        description="Values of ${name} in this file; the command line's -s name=value wins.",
    )
    defaults: Annotated[Defaults, Entries()] = Field(
        default=Defaults(), description="Settings of every node."
    )
    groups: Annotated[dict[str, Annotated[Group, Entries()]], Entries()] = Field(
        default={}, description="Settings by group, for the nodes that list it."
    )
    addressing: Annotated[Addressing, Entries()] = Field(
        default=Addressing(), description="The pools of automatic addresses."
    )
    nodes: Annotated[dict[NodePattern, Node], Entries()] = Field(
        description="The nodes by name; a range such as r[1-6] stands for several."
    )
    links: Annotated[tuple[Link, ...], Elements()] = Field(
        default=(), description="What joins the nodes, beside vlans."
    )
    checks: Annotated[tuple[Check, ...], Elements()] = Field(
        default=(), description="What has to be true of the lab; `netlab test` looks at it."
    )

    _source: Source = PrivateAttr(default_factory=Source)
    _mistakes: tuple[Mistake, ...] = PrivateAttr(default=())
    _warnings: tuple[Mistake, ...] = PrivateAttr(default=())

    @property
    def source(self) -> Source:
        """The file that it was read from: positions, and the files that it names."""
        return self._source

    @model_validator(mode="after")
    def _take_source(self, info: ValidationInfo) -> Topology:
        if isinstance(info.context, Source):
            self._source = info.context
        return self

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """What is wrong with parts that were left out; empty for a topology that is whole."""
        return self._mistakes

    def with_mistakes(self, mistakes: tuple[Mistake, ...]) -> Topology:
        """Return the same topology, of which this is known to be wrong."""
        copy = self.model_copy()
        copy._mistakes = mistakes  # noqa: SLF001 (a copy of ourselves)
        return copy

    @property
    def warnings(self) -> tuple[Mistake, ...]:
        """What its author should write otherwise, though it is understood."""
        return self._warnings

    def with_warnings(self, warnings: tuple[Mistake, ...]) -> Topology:
        """Return the same topology, of which this is to be said."""
        copy = self.model_copy()
        copy._warnings = warnings  # noqa: SLF001 (a copy of ourselves)
        return copy

    def without_links(self, numbers: Container[int]) -> Topology:
        """Return the same topology in which these links join nobody; the others keep their numbers.

        Args:
            numbers: Their indexes in ``links``.
        """
        nothing = Link.model_construct()
        links = (nothing if index in numbers else link for index, link in enumerate(self.links))
        return self.model_copy(update={"links": tuple(links)})

    def with_files(self, files: Mapping[str, bytes]) -> Topology:
        """Return the same topology with the contents of the files that it names by ``from``."""
        copy = self.model_copy()
        copy._source = self._source.with_files(files)  # noqa: SLF001 (a copy of ourselves)
        return copy

    def with_recipes(self, recipes: Mapping[str, Recipe | None]) -> Topology:
        """Return the same topology with the recipes of the images that it names."""
        copy = self.model_copy()
        copy._source = self._source.with_recipes(recipes)  # noqa: SLF001 (a copy of ourselves)
        return copy
