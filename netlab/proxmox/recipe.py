"""What a whole lab needs on Proxmox: a manifest for programs, a recipe for people.

Both are text, made of the plan and of the names of the archives alone.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from netlab.plan.model import Plan, SegmentPlan
from netlab.proxmox.networks import Network

ZONE = "netlab"
"""The zone of the virtual networks that netlab makes."""

ZONE_TYPE = "simple"
"""Its type: each network is a bridge of its own (PVE/Network/SDN/Zones/SimplePlugin.pm)."""

DUMP_FOLDER = "/var/lib/vz/dump"
"""Where the storage ``local`` has its backups."""

MAXIMUM_ALIAS = 256
"""Most letters of a virtual network's alias (PVE/Network/SDN/VnetPlugin.pm)."""

# The very letters of VnetPlugin.pm; its range from ")" to "_" has ":" and "-" in it.
_NO_ALIAS = re.compile(r"[^()-_.\w\s]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A machine of an exported lab.

    Attributes:
        node: The node that it was.
        vmid: Its number on Proxmox.
        archive: The name of its archive.
    """

    node: str
    vmid: int
    archive: str


def make_alias(text: str) -> str:
    """Return text as the alias of a virtual network: what cannot be in one is ``_``."""
    return _NO_ALIAS.sub("_", text)[:MAXIMUM_ALIAS]


def write_manifest(plan: Plan, networks: Mapping[str, Network], members: Sequence[Member]) -> str:
    """Return what was exported as JSON: the machines, and the network of every segment.

    Args:
        plan: The lab.
        networks: The network of each of its segments, by name.
        members: Its machines that were exported.
    """
    value = {
        "lab": plan.lab,
        "topology": plan.topology,
        "machines": [
            {"node": each.node, "vmid": each.vmid, "archive": each.archive} for each in members
        ],
        "networks": [
            {
                "segment": segment.name,
                "bridge": networks[segment.name].bridge,
                "tag": networks[segment.name].tag,
                "mtu": segment.mtu,
            }
            for segment in plan.segments
        ],
    }
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write_recipe(
    plan: Plan,
    networks: Mapping[str, Network],
    members: Sequence[Member],
    *,
    storage: str,
    folder: str = DUMP_FOLDER,
) -> str:
    """Return how the archives of a lab become machines on the same networks, as commands.

    Args:
        plan: The lab.
        networks: The network of each of its segments, by name.
        members: Its machines that were exported.
        storage: Where their disks go.
        folder: Where their archives lie on the host.
    """
    lines = [
        f"The lab {plan.lab} on Proxmox. The commands are for root on one of its nodes.",
        *_bridges(plan, networks),
        *_virtual(plan, networks),
        "",
        f"The machines, once their archives are in {folder}:",
        "",
        *(f"    {write_restore(member, storage=storage, folder=folder)}" for member in members),
        *(f"    qm start {member.vmid}" for member in members),
        "",
        "What a bridge of Proxmox does not carry and a wire of netlab does: LACP, STP and 802.1X.",
    ]
    return "\n".join(lines) + "\n"


def write_restore(member: Member, *, storage: str, folder: str) -> str:
    """Return the command that makes a machine of its archive.

    Args:
        member: The machine.
        storage: Where its disks go.
        folder: Where its archive lies on the host.
    """
    archive = posixpath.join(folder, member.archive)
    return shlex.join(["qmrestore", archive, str(member.vmid), "--storage", storage])


def _bridges(plan: Plan, networks: Mapping[str, Network]) -> Iterator[str]:
    bridges: dict[str, list[SegmentPlan]] = {}
    for segment in plan.segments:
        network = networks[segment.name]
        if not network.virtual:
            bridges.setdefault(network.bridge, []).append(segment)
    for bridge, segments in sorted(bridges.items()):
        mtu = max(segment.mtu for segment in segments)
        yield ""
        yield f"The bridge {bridge}, with an MTU of {mtu} or more, carries these segments. VLANs"
        yield "need `bridge-vlan-aware yes` and `bridge-vids 2-4094` in /etc/network/interfaces,"
        yield "and should be nobody else's:"
        yield ""
        for segment in segments:
            tag = networks[segment.name].tag
            where = "untagged" if tag is None else f"VLAN {tag}"
            yield f"    {where}: {segment.name}"


def _virtual(plan: Plan, networks: Mapping[str, Network]) -> Iterator[str]:
    segments = [segment for segment in plan.segments if networks[segment.name].virtual]
    if not segments:
        return
    mtu = max(segment.mtu for segment in segments)
    yield ""
    yield "The virtual networks. In a simple zone each is a bridge of its own on every node; for"
    yield "machines on several nodes make it one of type vxlan with --peers, give each network a"
    yield "--tag of its own (1 to 16777215), and mind that this takes 50 bytes of the MTU:"
    yield ""
    zone = ["pvesh", "create", "/cluster/sdn/zones", "--type", ZONE_TYPE, "--zone", ZONE]
    yield f"    {shlex.join([*zone, '--mtu', str(mtu)])}"
    yield f"    # A zone {ZONE} that is there already needs an MTU of {mtu} or more."
    for segment in segments:
        vnet = networks[segment.name].bridge
        command = ["pvesh", "create", "/cluster/sdn/vnets", "--zone", ZONE, "--vnet", vnet]
        yield f"    {shlex.join([*command, '--alias', make_alias(segment.name)])}"
    yield "    pvesh set /cluster/sdn"
