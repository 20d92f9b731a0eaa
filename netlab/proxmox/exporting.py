"""Nodes of a lab, or of a plan alone, as backups for Proxmox."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trio

from netlab.errors import NotReadyError
from netlab.image.store import Store
from netlab.lab.access import LabAccess, NodeAccess
from netlab.machine.cut import MachineCut
from netlab.machine.hostfiles import find_files
from netlab.machine.identity import read_content
from netlab.plan.model import FilePlan, NodePlan, Plan
from netlab.plan.segments import find_node
from netlab.proxmox.backup import Backup, BackupFolder, Machine, Tell, open_folder
from netlab.proxmox.configuration import Configuration
from netlab.proxmox.drives import (
    EFI_DRIVE,
    Drive,
    Work,
    name_drives,
    open_held_drives,
    open_resting_drives,
    open_work,
)
from netlab.proxmox.export import EFI_SIZES, Disk, EfiType, EfiVariables, ExportOptions, configure
from netlab.proxmox.networks import Network, assign_networks
from netlab.proxmox.persistence import START_FILES, system_files
from netlab.proxmox.recipe import Member, write_manifest, write_recipe
from netlab.vma.compression import Compression

FIRST_VMID = 1000
"""A node's number on Proxmox is this and its id, when nothing else is said."""

COMPRESSION = Compression("zstd", 3)
"""What vzdump itself does."""

_LIKELY_SIZE = 64 << 20
"""Bytes of a disk whose size is only known when it is there; to look for mistakes before that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an export is asked to make.

    Attributes:
        folder: Gets the backups; made when it is not there.
        vmid: The number of the first node on Proxmox; the next ones follow. By rule each node's is
            1000 and its id.
        storage: Where a restore puts disks when nobody says another place.
        bridge: The bridge of segments that ``mapping`` does not name.
        mapping: Segments with the networks that they get.
        compression: How archives are compressed, or None.
        notes: What people read in the list of backups; by rule which node of which lab it is.
        whole: Whether a manifest and the recipe for the networks come with them.
    """

    folder: Path
    vmid: int | None = None
    storage: str = "local-lvm"
    bridge: str = "vmbr0"
    mapping: tuple[tuple[str, Network], ...] = ()
    compression: Compression | None = COMPRESSION
    notes: str | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What an export made.

    Attributes:
        backups: In the order of the nodes.
        pause: Seconds that running nodes stood still.
    """

    backups: tuple[Backup, ...]
    pause: float


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
        NetlabError: It failed; nothing of it is left, here or in the lab.
    """
    nodes = [find_node(lab.plan, name) for name in dict.fromkeys(names)]
    vmids = check_export(lab.plan, nodes, request)
    running = [node.name for node in nodes if _is_running(lab.nodes[node.name])]
    async with open_work(store) as work:
        held, pause = await _hold(lab, running, work)
        time = datetime.now()
        machines: list[Machine] = []
        for node in nodes:
            folder = lab.folder / "nodes" / node.name
            if node.name in held:
                live = lab.nodes[node.name]
                drives = await open_held_drives(live, held[node.name], work, lab.plan, folder)
            else:
                drives = await open_resting_drives(node, work, lab.plan, folder)
            machines.append(_machine(lab.plan, node, vmids[node.name], drives, request))
        backups = await _write(lab.plan, machines, request, time, tell)
    return Export(backups=backups, pause=pause)


async def export_plan(
    plan: Plan, names: Sequence[str], request: Request, *, store: Store, tell: Tell = ignore
) -> Export:
    """Write nodes of a plan as backups without starting anything; like :func:`export_nodes`.

    Raises:
        InputError: A file that a disk is made from is not there, or is not what it should be.
        MissingFeatureError: The host lacks a node's firmware.
    """
    nodes = [find_node(plan, name) for name in dict.fromkeys(names)]
    vmids = check_export(plan, nodes, request)
    find_files(nodes)
    async with open_work(store) as work:
        time = datetime.now()
        machines: list[Machine] = []
        for node in nodes:
            drives = await open_resting_drives(node, work, plan, None)
            machines.append(_machine(plan, node, vmids[node.name], drives, request))
        backups = await _write(plan, machines, request, time, tell)
    return Export(backups=backups, pause=0)


def check_export(plan: Plan, nodes: Sequence[NodePlan], request: Request) -> dict[str, int]:
    """Return the number of each node on Proxmox, when all of them can be machines there.

    Raises:
        ConfigurationError: All that Proxmox cannot carry.
    """
    first = request.vmid
    vmids = {
        node.name: FIRST_VMID + node.id if first is None else first + index
        for index, node in enumerate(nodes)
    }
    for node in nodes:
        disks = [Disk(drive=name, size=_LIKELY_SIZE) for name in name_drives(node)]
        efi = EfiVariables(size=EFI_SIZES["4m"]) if node.firmware.kind == "uefi" else None
        _configure(plan, node, vmids[node.name], disks, efi, request)
    return vmids


def _configure(
    plan: Plan,
    node: NodePlan,
    vmid: int,
    disks: Sequence[Disk],
    efi: EfiVariables | None,
    request: Request,
) -> Configuration:
    options = ExportOptions(
        vmid=vmid,
        disks=tuple(disks),
        efi=efi,
        storage=request.storage,
        bridge=request.bridge,
        mapping=request.mapping,
        machine=node.machine,
        description=request.notes,
    )
    return configure(plan, node, options)


def _machine(
    plan: Plan, node: NodePlan, vmid: int, drives: Sequence[Drive], request: Request
) -> Machine:
    disks = [
        Disk(drive=drive.name, size=drive.source.size, serial=drive.serial)
        for drive in drives
        if drive.name != EFI_DRIVE
    ]
    sizes = [drive.source.size for drive in drives if drive.name == EFI_DRIVE]
    kinds: dict[int, EfiType] = {size: kind for kind, size in EFI_SIZES.items()}
    efi = EfiVariables(size=sizes[0], type=kinds.get(sizes[0], "4m")) if sizes else None
    return Machine(
        node=node.name,
        vmid=vmid,
        configuration=_configure(plan, node, vmid, disks, efi, request),
        disks={drive.name: drive.source for drive in drives},
        notes=request.notes or _notes(plan, node),
    )


def _notes(plan: Plan, node: NodePlan) -> str:
    notes = f"{node.name} of the lab {plan.lab}, from netlab\n"
    if not node.disks:
        drive = name_drives(node)[0]
        notes += f"It has no disk there: {drive} has its kernel and root, and is needed to start.\n"
    return notes


def _is_running(node: NodeAccess) -> bool:
    if node.state in {"stopped", "failed"}:
        return False
    if node.state != "ready":
        raise NotReadyError(
            f"{node.plan.name} is {node.state}: {node.reason()}", hint="wait until it is ready"
        )
    return True


async def _hold(
    lab: LabAccess, names: Sequence[str], work: Work
) -> tuple[Mapping[str, MachineCut], float]:
    """Hold the disks of running nodes, with what makes them so without netlab on them."""
    if not names:
        return {}, 0
    async with AsyncExitStack() as lasting:
        for name in names:
            node = lab.nodes[name]
            if node.plan.configure and any(disk.source == "image" for disk in node.plan.disks):
                await lasting.enter_async_context(_lasting(node, lab.plan))
        cut = await work.stack.enter_async_context(lab.open_cut(names))
    return {one.node: one for one in cut.machines}, cut.pause


@asynccontextmanager
async def _lasting(node: NodeAccess, plan: Plan) -> AsyncGenerator[None]:
    """Let a system know who it is without netlab; here, it does not run its commands twice."""
    try:
        # Its own files are there, and may have been changed by whom they are for.
        files = system_files(node.plan, plan.hosts)
        await _put(node, files[: len(files) - len(node.plan.files)])
        yield
    finally:
        with trio.CancelScope(shield=True):
            await node.execute(("rm", "-f", *START_FILES))


async def _put(node: NodeAccess, files: Sequence[FilePlan]) -> None:
    folders = sorted({str(Path(file.path).parent) for file in files})
    await node.execute(("mkdir", "-p", *folders))
    for file in files:
        async with node.open_file(file.path, "w") as opened:
            await opened.write(read_content(file))
        await node.execute(("chmod", f"{file.mode:o}", file.path))


async def _write(
    plan: Plan, machines: Sequence[Machine], request: Request, time: datetime, tell: Tell
) -> tuple[Backup, ...]:
    with open_folder(request.folder) as folder:
        backups = [
            await folder.add(machine, time=time, compression=request.compression, tell=tell)
            for machine in machines
        ]
        if request.whole:
            _add_recipe(plan, backups, request, folder)
    return tuple(backups)


def _add_recipe(
    plan: Plan, backups: Sequence[Backup], request: Request, folder: BackupFolder
) -> None:
    networks = assign_networks(plan, bridge=request.bridge, mapping=request.mapping)
    members = [
        Member(node=backup.node, vmid=backup.vmid, archive=backup.archive.name)
        for backup in backups
    ]
    folder.add_text(f"{plan.lab}.manifest.json", write_manifest(plan, networks, members))
    recipe = write_recipe(plan, networks, members, storage=request.storage)
    folder.add_text(f"{plan.lab}.recipe.txt", recipe)
