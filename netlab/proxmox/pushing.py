"""Nodes of a lab, or of a plan alone, as machines on a host of Proxmox."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from netlab.errors import ConfigurationError, Mistake
from netlab.image.store import Store
from netlab.lab.access import LabAccess
from netlab.plan.model import NodePlan, Plan
from netlab.proxmox.api import Host
from netlab.proxmox.backup import Machine
from netlab.proxmox.calls import Call, plan_push
from netlab.proxmox.exporting import Opened, open_nodes, open_plan
from netlab.proxmox.machine_request import MachineRequest, find_nodes, foresee, list_left_out
from netlab.proxmox.mtu import STANDARD_MTU
from netlab.proxmox.networks import assign_networks
from netlab.proxmox.push import Progress, Pushed, Report, ignore, open_push
from netlab.proxmox.sources import HeldSource, ImageSource
from netlab.proxmox.target import NewMachine, PushOptions, Source, VirtualNetwork
from netlab.vma.source import DiskSource, FileSource

_ROOTS = "they cannot be given by an API token, only by root"
_WITHOUT = "leave them out of the node, or write an archive (-o), which is without them and says so"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a push would do.

    Attributes:
        calls: Every call, with nothing there and nothing failing.
        left_out: What the machines would not have of their nodes, a line each.
    """

    calls: tuple[Call, ...]
    left_out: tuple[str, ...]


def plan_calls(
    plan: Plan, names: Sequence[str], request: PushRequest, *, folder: Path | None = None
) -> Planned:
    """Return every call of a push with nothing there and nothing failing; nothing is done.

    Args:
        plan: The lab.
        names: Its nodes.
        request: What they become, and where.
        folder: The lab's, if it is up: its machines have variables of UEFI firmware there. Cables
            that are out are seen by the push alone.

    Raises:
        ConfigurationError: All that Proxmox cannot carry, or does not take from a token.
    """
    nodes = find_nodes(plan, names)
    machines = _foreseen(plan, nodes, request, folder)
    calls = plan_push(machines, _options(plan, nodes, request))
    return Planned(calls=tuple(calls), left_out=list_left_out(nodes))


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
        report: Told what the machines will not have of their nodes, before the first call, and then
            what is done now.

    Raises:
        ConfigurationError: All that Proxmox cannot carry, or does not take from a token.
        CertificateError: It is another host; nothing was sent then.
        ProxmoxError: A call was refused or a task failed; what was made has been taken back, and
            what could not be is said.
        NetlabError: As :func:`netlab.proxmox.exporting.export_nodes` has it; likewise.
    """
    opening = open_nodes(lab, names, request, store=store)
    machines = _foreseen(lab.plan, find_nodes(lab.plan, names), request, lab.folder)
    return await _push(lab.plan, names, request, _Way(host, machines, opening, report))


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
    machines = _foreseen(plan, find_nodes(plan, names), request, None)
    return await _push(plan, names, request, _Way(host, machines, opening, report))


@dataclass(frozen=True, slots=True)
class _Way:
    """How machines get there: what they are going to be, and what opens their disks."""

    host: Host
    machines: Sequence[NewMachine]
    opening: AbstractAsyncContextManager[Opened]
    report: Report


async def _push(plan: Plan, names: Sequence[str], request: PushRequest, way: _Way) -> PushedNodes:
    nodes, report = find_nodes(plan, names), way.report
    options = _options(plan, nodes, request)
    for line in list_left_out(nodes):
        report(Progress(line, left_out=True))
    # The host is looked at first: nobody stands still for a push that cannot be.
    async with open_push(way.machines, way.host, options, report=report) as push:
        report(Progress("take the disks as they are"))
        async with way.opening as opened:
            machines = [_new_machine(machine) for machine in opened.machines]
            with tempfile.TemporaryDirectory(prefix="netlab-") as folder:
                pushed = await push.make(machines, folder=Path(folder))
    numbers = [(machine.node, machine.vmid) for machine in opened.machines]
    return PushedNodes(
        machines=tuple(numbers), pushed=pushed, pause=opened.pause, left_out=opened.left_out
    )


def _foreseen(
    plan: Plan, nodes: Sequence[NodePlan], request: PushRequest, folder: Path | None
) -> list[NewMachine]:
    """Return what nodes are going to be.

    Raises:
        ConfigurationError: All that Proxmox cannot carry, or does not take from a token.
    """
    mistakes = [
        Mistake(node.name, 0, 0, "qemu_args", _ROOTS, _WITHOUT)
        for node in nodes
        if node.devices.qemu_args
    ]
    try:
        found = foresee(plan, nodes, request, folder).values()
    except ConfigurationError as error:
        raise ConfigurationError([*mistakes, *error.mistakes]) from error
    if mistakes:
        raise ConfigurationError(mistakes)
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
