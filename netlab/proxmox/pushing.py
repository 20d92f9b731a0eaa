"""Nodes of a lab, or of a plan alone, as machines on a host of Proxmox."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from netlab.image.store import Store
from netlab.lab.access import LabAccess
from netlab.plan.model import NodePlan, Plan
from netlab.proxmox.api import Host
from netlab.proxmox.backup import Machine
from netlab.proxmox.calls import Call, plan_push
from netlab.proxmox.exporting import (
    MachineRequest,
    Opened,
    find_nodes,
    foresee,
    open_nodes,
    open_plan,
)
from netlab.proxmox.mtu import STANDARD_MTU
from netlab.proxmox.networks import assign_networks
from netlab.proxmox.push import Progress, Pushed, Report, ignore, open_push
from netlab.proxmox.sources import HeldSource, ImageSource
from netlab.proxmox.target import NewMachine, PushOptions, Source, VirtualNetwork
from netlab.vma.source import DiskSource, FileSource


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRequest(MachineRequest):
    """What a push is asked to make.

    Attributes:
        node: The node of the cluster.
        import_storage: A file storage there with content type ``import``, where disks wait.
        start: Whether the machines are started in the end.
    """

    node: str
    import_storage: str = "local"
    start: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedNodes:
    """What became of nodes.

    Attributes:
        machines: Each node with its number there.
        pushed: What was made.
        pause: Seconds that running nodes stood still.
        left_out: What the machines do not have of their nodes, a line each.
    """

    machines: tuple[tuple[str, int], ...]
    pushed: Pushed
    pause: float
    left_out: tuple[str, ...]


def plan_calls(plan: Plan, names: Sequence[str], request: PushRequest) -> tuple[Call, ...]:
    """Return every call of a push with nothing there and nothing failing; nothing is done.

    Args:
        plan: The lab.
        names: Its nodes.
        request: What they become, and where.

    Raises:
        ConfigurationError: All that Proxmox cannot carry, or does not take from a token.
    """
    nodes = find_nodes(plan, names)
    return tuple(plan_push(_foreseen(plan, nodes, request), _options(plan, nodes, request)))


async def push_nodes(
    lab: LabAccess,
    names: Sequence[str],
    request: PushRequest,
    host: Host,
    *,
    store: Store,
    report: Report = ignore,
) -> PushedNodes:
    """Make machines of a lab's nodes, all of one moment; the nodes go on meanwhile.

    Args:
        lab: The lab, in this process or another of this host.
        names: Its nodes.
        request: What they become, and where.
        host: The host of Proxmox.
        store: Has the nodes' images.
        report: Told what is done now.

    Raises:
        ConfigurationError: All that Proxmox cannot carry, or does not take from a token.
        CertificateError: It is another host; nothing was sent then.
        ProxmoxError: A call was refused or a task failed; what was made has been taken back, and
            what could not be is said.
        NetlabError: As :func:`netlab.proxmox.exporting.export_nodes` has it; likewise.
    """
    opening = open_nodes(lab, names, request, store=store)
    return await _push(lab.plan, names, request, host, opening, report)


async def push_plan(
    plan: Plan,
    names: Sequence[str],
    request: PushRequest,
    host: Host,
    *,
    store: Store,
    report: Report = ignore,
) -> PushedNodes:
    """Make machines of a plan's nodes without starting anything here; like :func:`push_nodes`."""
    opening = open_plan(plan, names, request, store=store)
    return await _push(plan, names, request, host, opening, report)


async def _push(
    plan: Plan,
    names: Sequence[str],
    request: PushRequest,
    host: Host,
    opening: AbstractAsyncContextManager[Opened],
    report: Report,
) -> PushedNodes:
    nodes = find_nodes(plan, names)
    options = _options(plan, nodes, request)
    # The host is looked at first: nobody stands still for a push that cannot be.
    async with open_push(_foreseen(plan, nodes, request), host, options, report=report) as push:
        report(Progress("take the disks as they are"))
        async with opening as opened:
            machines = [_new_machine(machine) for machine in opened.machines]
            with tempfile.TemporaryDirectory(prefix="netlab-") as folder:
                pushed = await push.make(machines, folder=Path(folder))
    numbers = [(machine.node, machine.vmid) for machine in opened.machines]
    return PushedNodes(
        machines=tuple(numbers), pushed=pushed, pause=opened.pause, left_out=opened.left_out
    )


def _foreseen(plan: Plan, nodes: Sequence[NodePlan], request: PushRequest) -> list[NewMachine]:
    found = foresee(plan, nodes, request).values()
    return [NewMachine(vmid=vmid, configuration=configuration) for vmid, configuration in found]


def _options(plan: Plan, nodes: Sequence[NodePlan], request: PushRequest) -> PushOptions:
    """Return where machines go; the networks are those of their segments alone."""
    assigned = assign_networks(plan, bridge=request.bridge, mapping=request.mapping)
    wanted = {interface.segment for node in nodes for interface in node.interfaces}
    segments = [
        segment
        for segment in plan.segments
        if segment.name in wanted and assigned[segment.name].virtual
    ]
    return PushOptions(
        node=request.node,
        storage=request.storage,
        import_storage=request.import_storage,
        networks=tuple(
            VirtualNetwork(assigned[segment.name].bridge, segment.name) for segment in segments
        ),
        # Of the whole lab, as nodes that are pushed one by one meet in one zone.
        mtu=max(
            (one.mtu for one in plan.segments if assigned[one.name].virtual), default=STANDARD_MTU
        ),
        start=request.start,
    )


def _new_machine(machine: Machine) -> NewMachine:
    sources = (_source(drive, disk) for drive, disk in machine.disks.items())
    return NewMachine(
        vmid=machine.vmid, configuration=machine.configuration, sources=tuple(sources)
    )


def _source(drive: str, disk: DiskSource) -> Source:
    match disk:
        case HeldSource():
            return Source(drive, disk.socket, "raw", disk.size, disk.name)
        case ImageSource():
            return Source(drive, disk.path, disk.format, disk.size)
        case FileSource():
            return Source(drive, Path(disk.path), "raw", disk.size)
        case _:
            raise TypeError(f"{drive}: {disk} is no file and not offered over NBD")
