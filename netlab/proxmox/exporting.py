"""Nodes of a lab, or of a plan alone, as backups for Proxmox."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from netlab.errors import MachineError, NBDError
from netlab.image.known import bring_files
from netlab.image.store import Store
from netlab.lab.access import LabAccess
from netlab.machine.cut import MachineCut
from netlab.machine.hostfiles import find_files
from netlab.plan.model import NodePlan, Plan
from netlab.proxmox.backup import (
    Backup,
    BackupFolder,
    Machine,
    Tell,
    check_folder,
    open_folder,
)
from netlab.proxmox.drives import (
    Drive,
    lives_in_memory,
    name_drives,
    open_held_drives,
    open_resting_drives,
    open_work,
)
from netlab.proxmox.export import configure
from netlab.proxmox.holding import hold, is_running
from netlab.proxmox.machine_request import (
    MachineRequest,
    check_export,
    find_nodes,
    list_left_out,
    make_options,
)
from netlab.proxmox.networks import assign_networks
from netlab.proxmox.recipe import DUMP_FOLDER, Member, write_manifest, write_recipe
from netlab.proxmox.variables import name_variables
from netlab.vma.compression import Compression

LATE = "its root, which is in memory, was read file by file after that, while it ran"
"""What the log says of a backup that is not of one moment as a whole."""

COMPRESSION = Compression("zstd", 3)
"""What vzdump itself does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(MachineRequest):
    """What an export is asked to make.

    Attributes:
        folder: Gets the backups; made when it is not there.
        compression: How archives are compressed, or None.
        whole: Whether a manifest and the recipe for the networks come with them.
        dump_dir: Where they will lie on the host, for the recipe.
    """

    folder: Path
    compression: Compression | None = COMPRESSION
    whole: bool = False
    dump_dir: str = DUMP_FOLDER


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What an export made.

    Attributes:
        backups: In the order of the nodes.
        pause: Seconds that running nodes stood still.
        left_out: What the machines do not have of their nodes, a line each.
    """

    backups: tuple[Backup, ...]
    pause: float
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Nodes whose disks can be read.

    Attributes:
        machines: What they are on Proxmox, in the order of the nodes.
        time: When they were as they are read.
        pause: Seconds that running nodes stood still for it.
        left_out: What the machines do not have of their nodes, a line each.
    """

    machines: tuple[Machine, ...]
    time: datetime
    pause: float
    left_out: tuple[str, ...]


def ignore(_node: str, _done: int, _total: int) -> None:
    """Tell nobody."""


async def export_nodes(
    lab: LabAccess, names: Sequence[str], request: Request, *, store: Store, tell: Tell = ignore
) -> Export:
    """Write nodes of a lab as backups, all of one moment; they go on meanwhile.

    Args:
        lab: The lab, in this process or another of this host.
        names: Its nodes; those that are stopped are exported as they are on disk.
        request: What to make.
        store: Has their images.
        tell: Told how far it is.

    Raises:
        ConfigurationError: All that Proxmox cannot carry, before anything is done.
        NotReadyError: A node is about to start.
        UsageError: The folder is none, or has a manifest of this lab already.
        NetlabError: It failed; nothing of it is left, here or in the lab.
    """
    check_folder(request.folder, _whole_names(lab.plan, request))
    async with open_nodes(lab, names, request, store=store) as opened:
        backups = await _write(lab.plan, opened, request, tell)
    return Export(backups=backups, pause=opened.pause, left_out=opened.left_out)


async def export_plan(
    plan: Plan, names: Sequence[str], request: Request, *, store: Store, tell: Tell = ignore
) -> Export:
    """Write nodes of a plan as backups without starting anything; like :func:`export_nodes`.

    Raises:
        InputError: A file that a disk is made from is not there, or is not what it should be.
        MissingFeatureError: The host lacks a node's firmware.
    """
    check_folder(request.folder, _whole_names(plan, request))
    async with open_plan(plan, names, request, store=store) as opened:
        backups = await _write(plan, opened, request, tell)
    return Export(backups=backups, pause=0, left_out=opened.left_out)


@asynccontextmanager
async def open_nodes(
    lab: LabAccess, names: Sequence[str], request: MachineRequest, *, store: Store
) -> AsyncGenerator[Opened]:
    """Hold the disks of a lab's nodes as they are now, to be read while the nodes go on.

    Args:
        lab: The lab, in this process or another of this host.
        names: Its nodes; those that are stopped are read as they are on disk.
        request: What they are on Proxmox.
        store: Has their images.

    Raises:
        NetlabError: As :func:`export_nodes` has it.
    """
    vmids = check_export(lab.plan, find_nodes(lab.plan, names), request, lab.folder)
    store = store.with_images(lab.plan.images)
    plan = await _bring_files(lab.plan, names, store)
    nodes = find_nodes(plan, names)
    running = [node.name for node in nodes if is_running(lab.nodes[node.name])]
    find_files(node for node in nodes if node.name not in running)
    async with open_work(store) as work:
        held, pause = await hold(lab, running, work)
        time = datetime.now()
        machines: list[Machine] = []
        for node in nodes:
            folder = lab.folder / "nodes" / node.name
            cut = held.get(node.name)
            if cut is not None:
                drives = await open_held_drives(lab.nodes[node.name], cut, work, plan)
            else:
                drives = await open_resting_drives(node, work, plan, folder)
            machine = _machine(plan, node, vmids[node.name], drives, request, cut)
            late = cut is not None and lives_in_memory(node)
            machines.append(replace(machine, remarks=(LATE,)) if late else machine)
        with _explained(held):
            yield Opened(
                machines=tuple(machines), time=time, pause=pause, left_out=list_left_out(nodes)
            )


@contextmanager
def _explained(held: Mapping[str, MachineCut]) -> Generator[None]:
    """Say whose disk it is that could not be read to its end."""
    try:
        yield
    except NBDError as error:
        ended = [name for name, cut in held.items() if error.export.endswith(f" of {cut.socket}")]
        if not ended:
            raise
        raise MachineError(
            f"{', '.join(ended)}: its disk could not be read to the end: {error.reason}",
            hint="`netlab status` says what became of the node",
            evidence=str(error),
        ) from error


@asynccontextmanager
async def open_plan(
    plan: Plan, names: Sequence[str], request: MachineRequest, *, store: Store
) -> AsyncGenerator[Opened]:
    """Open the disks of a plan's nodes as they would be at first; like :func:`open_nodes`.

    Raises:
        NetlabError: As :func:`export_plan` has it.
    """
    vmids = check_export(plan, find_nodes(plan, names), request)
    store = store.with_images(plan.images)
    plan = await _bring_files(plan, names, store)
    nodes = find_nodes(plan, names)
    find_files(nodes)
    async with open_work(store) as work:
        time = datetime.now()
        machines: list[Machine] = []
        for node in nodes:
            drives = await open_resting_drives(node, work, plan, None)
            machines.append(_machine(plan, node, vmids[node.name], drives, request))
        yield Opened(machines=tuple(machines), time=time, pause=0, left_out=list_left_out(nodes))


async def _bring_files(plan: Plan, names: Sequence[str], store: Store) -> Plan:
    return await bring_files(plan, find_nodes(plan, names), store.downloads, tell=lambda _: None)


def _machine(
    plan: Plan,
    node: NodePlan,
    vmid: int,
    drives: Sequence[Drive],
    request: MachineRequest,
    cut: MachineCut | None = None,
) -> Machine:
    disks = tuple(drive.disk for drive in drives if drive.disk is not None)
    sizes = [drive.source.size for drive in drives if drive.disk is None]
    efi = name_variables(node, sizes[0]) if sizes else None
    unplugged = frozenset(cut.unplugged if cut else ())
    options = replace(make_options(node, vmid, request), disks=disks, efi=efi, unplugged=unplugged)
    return Machine(
        node=node.name,
        vmid=vmid,
        configuration=configure(plan, node, options),
        disks={drive.name: drive.source for drive in drives},
        notes=request.notes or _notes(plan, node),
    )


def _notes(plan: Plan, node: NodePlan) -> str:
    notes = f"{node.name} of the lab {plan.lab}, from netlab\n"
    if not node.disks:
        drive = name_drives(node)[0]
        notes += f"It has no disk there: {drive} has its kernel and root, and is needed to start.\n"
    return notes


async def _write(plan: Plan, opened: Opened, request: Request, tell: Tell) -> tuple[Backup, ...]:
    with open_folder(request.folder) as folder:
        backups = [
            await folder.add(machine, time=opened.time, compression=request.compression, tell=tell)
            for machine in opened.machines
        ]
        if request.whole:
            _add_recipe(plan, backups, request, folder)
    return tuple(backups)


def _whole_names(plan: Plan, request: Request) -> tuple[str, ...]:
    """Return the names of the manifest and of the recipe, if they are wanted."""
    kinds = ("manifest.json", "recipe.txt") if request.whole else ()
    return tuple(f"{plan.lab}.{kind}" for kind in kinds)


def _add_recipe(
    plan: Plan, backups: Sequence[Backup], request: Request, folder: BackupFolder
) -> None:
    networks = assign_networks(plan, bridge=request.bridge, mapping=request.mapping)
    members = [
        Member(node=backup.node, vmid=backup.vmid, archive=backup.archive.name)
        for backup in backups
    ]
    recipe = write_recipe(plan, networks, members, storage=request.storage, folder=request.dump_dir)
    texts = (write_manifest(plan, networks, members), recipe)
    for name, text in zip(_whole_names(plan, request), texts, strict=True):
        folder.add_text(name, text)
