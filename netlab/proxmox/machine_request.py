"""What nodes are asked to be on Proxmox, and whether they can be that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from netlab.errors import ConfigurationError, Mistake
from netlab.plan.model import NodePlan, Plan
from netlab.plan.segments import find_node
from netlab.proxmox.configuration import Configuration
from netlab.proxmox.drives import name_drives
from netlab.proxmox.export import Disk, ExportOptions, configure
from netlab.proxmox.formats import STORAGE as STORAGE_NAME
from netlab.proxmox.leftovers import left_out
from netlab.proxmox.networks import Network, assign_networks, network_mistakes
from netlab.proxmox.variables import foresee_variables

FIRST_VMID = 1000
"""A node's number on Proxmox is this and its id, when nothing else is said."""

STORAGE = "local-lvm"
BRIDGE = "vmbr0"
"""What an installation of Proxmox has by itself."""

_LIKELY_SIZE = 64 << 20
"""Bytes of a disk whose size is only known when it is there; to look for mistakes before that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRequest:
    """What nodes are asked to be on Proxmox.

    Attributes:
        vmid: The number of the first node on Proxmox; the next ones follow. By rule each node's is
            1000 and its id.
        storage: Where disks go; of a backup, when nobody says another place.
        bridge: The bridge of segments that ``mapping`` does not name.
        mapping: Segments with the networks that they get.
        notes: What people read; by rule which node of which lab it is.
    """

    vmid: int | None = None
    storage: str = STORAGE
    bridge: str = BRIDGE
    mapping: tuple[tuple[str, Network], ...] = ()
    notes: str | None = None


def list_left_out(nodes: Sequence[NodePlan]) -> tuple[str, ...]:
    """Return what machines on Proxmox will not have of their nodes, a line each."""
    return tuple(line for node in nodes for line in left_out(node))


def find_nodes(plan: Plan, names: Sequence[str]) -> list[NodePlan]:
    """Return the nodes of names, each once.

    Raises:
        UnknownNameError: There is no such node.
    """
    return [find_node(plan, name) for name in dict.fromkeys(names)]


def check_export(
    plan: Plan, nodes: Sequence[NodePlan], request: MachineRequest, folder: Path | None = None
) -> dict[str, int]:
    """Return the number of each node on Proxmox, when all of them can be machines there.

    Raises:
        ConfigurationError: All that Proxmox cannot carry.
    """
    return {name: vmid for name, (vmid, _) in foresee(plan, nodes, request, folder).items()}


def foresee(
    plan: Plan, nodes: Sequence[NodePlan], request: MachineRequest, folder: Path | None = None
) -> dict[str, tuple[int, Configuration]]:
    """Return each node's number and configuration on Proxmox, but for the sizes of its disks.

    Args:
        plan: The lab.
        nodes: Its nodes.
        request: What they are on Proxmox.
        folder: The lab's, if it is up.

    Raises:
        ConfigurationError: All that Proxmox cannot carry, of all nodes; what is wrong with the
            request itself is said once, of the lab.
    """
    found: dict[str, tuple[int, Configuration]] = {}
    mistakes = [Mistake(plan.lab, 0, 0, *one) for one in _list_asked(plan, request)]
    asked = {one.text for one in mistakes}
    if STORAGE_NAME.mistakes(request.storage):
        request = replace(request, storage=STORAGE)
    for index, node in enumerate(nodes):
        vmid = FIRST_VMID + node.id if request.vmid is None else request.vmid + index
        try:
            found[node.name] = vmid, _foresee(plan, node, make_options(node, vmid, request), folder)
        except ConfigurationError as error:
            mistakes += [one for one in error.mistakes if one.text not in asked]
    if mistakes:
        raise ConfigurationError(mistakes)
    return found


def _foresee(
    plan: Plan, node: NodePlan, options: ExportOptions, folder: Path | None
) -> Configuration:
    _check_disks(node)
    disks = [Disk(drive=name, size=_LIKELY_SIZE) for name in name_drives(node)]
    efi = foresee_variables(node, folder)
    return configure(plan, node, replace(options, disks=tuple(disks), efi=efi))


def _list_asked(plan: Plan, request: MachineRequest) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with a request, whichever node it is for: where, what, what to do."""
    networks = assign_networks(plan, bridge=request.bridge, mapping=request.mapping)
    yield from network_mistakes(plan, networks, request.mapping)
    for _, message, hint in STORAGE_NAME.mistakes(request.storage):
        yield "storage", message, hint


def _check_disks(node: NodePlan) -> None:
    if node.image is None and not node.disks:
        found = "it runs from a CD-ROM", "only disks are exported"
    elif any(disk.bus == "nvme" for disk in node.disks):
        found = "Proxmox has no disks on nvme", "use scsi or virtio"
    else:
        return
    raise ConfigurationError([Mistake(node.name, 0, 0, "disks", *found)])


def make_options(node: NodePlan, vmid: int, request: MachineRequest) -> ExportOptions:
    """Return what is known of a machine before its disks are."""
    return ExportOptions(
        vmid=vmid,
        disks=(),
        storage=request.storage,
        bridge=request.bridge,
        mapping=request.mapping,
        machine=node.machine,
        description=request.notes,
    )
