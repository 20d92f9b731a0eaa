"""A node's drives, opened: those that its machine holds, and those of one that does not run."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from netlab.errors import MissingFeatureError
from netlab.image.netboot import write_netboot
from netlab.image.store import Image, Store
from netlab.lab.access import NodeAccess
from netlab.machine.boot import TMPFS_ROOT, VARIABLES
from netlab.machine.cut import MachineCut
from netlab.machine.hostfiles import find_files
from netlab.plan.catalogue import stored_name
from netlab.plan.model import DiskPlan, NodePlan, Plan
from netlab.process import run
from netlab.proxmox.export import Disk
from netlab.proxmox.memory import (
    capture_root,
    check_memory_image,
    identity_archive,
    pack,
    write_memory_disk,
)
from netlab.proxmox.offline import write_into_disk
from netlab.proxmox.persistence import system_files
from netlab.proxmox.sources import open_held
from netlab.vma.source import DiskSource, open_disk

EFI_DRIVE = "efidisk0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """A drive of an exported machine.

    Attributes:
        name: What Proxmox calls it, such as ``scsi0``; variables of firmware are ``efidisk0``.
        source: What is on it.
        disk: What the configuration says of it, or None: it holds variables of firmware.
    """

    name: str
    source: DiskSource
    disk: Disk | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Where an export is at work.

    Attributes:
        store: Has the images.
        folder: For disks that have to be made.
        stack: Holds open what is read.
    """

    store: Store
    folder: Path
    stack: AsyncExitStack

    async def open_image(self, name: str) -> Image:
        """Have an image for as long as the work goes on, by its name in the store."""
        return await self.stack.enter_async_context(self.store.open_image(name))

    async def open_raw(self, path: Path) -> DiskSource:
        """Open a raw disk for as long as the work goes on."""
        return await self.stack.enter_async_context(open_disk(path))


@asynccontextmanager
async def open_work(store: Store) -> AsyncGenerator[Work]:
    """Make a place to work in; what is there in the end goes."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="netlab-")))
        yield Work(store=store, folder=folder, stack=stack)


def name_drives(node: NodePlan) -> tuple[str, ...]:
    """Return what a node's disks are called on Proxmox: by bus, numbered from 0 in their order.

    What lives in memory here has a disk there, which is the first: only firmware reads it.
    """
    seen: Counter[str] = Counter()
    names: list[str] = []
    for bus in (*(["scsi"] if lives_in_memory(node) else ()), *(disk.bus for disk in node.disks)):
        names.append(f"{bus}{seen[bus]}")
        seen[bus] += 1
    return tuple(names)


def lives_in_memory(node: NodePlan) -> bool:
    """Say whether a node's root is in its memory: it gets a disk for that on Proxmox."""
    return node.image is not None and all(disk.source != "image" for disk in node.disks)


async def open_held_drives(
    node: NodeAccess, held: MachineCut, work: Work, plan: Plan, folder: Path
) -> list[Drive]:
    """Open the drives of a machine whose disks are held.

    Args:
        node: The running node.
        held: Its disks.
        work: Where to make what is not a disk yet.
        plan: The lab.
        folder: Has the machine's own files.

    Raises:
        NBDError: A disk is not offered any more.
        CommandError: What is in the guest's memory could not be read.
        NetlabError: The disk of a guest in memory could not be made.
    """
    sources: list[DiskSource] = []
    if lives_in_memory(node.plan):
        image = await _memory_image(node.plan, work)
        root = await capture_root(node)
        identity = identity_archive(node.plan, plan.hosts, files=False)
        packed = await trio.to_thread.run_sync(pack, (root, identity))
        sources.append(await _open_memory_disk(node.plan, image, packed, work))
    sources += [
        await work.stack.enter_async_context(open_held(held.socket, disk.name))
        for disk in held.disks
    ]
    return await _with_variables(node.plan, sources, work, folder)


async def open_resting_drives(
    node: NodePlan, work: Work, plan: Plan, folder: Path | None
) -> list[Drive]:
    """Open the drives of a node that does not run, as they are or as they would be at first.

    Args:
        node: The node.
        work: Where to make what is not a disk yet.
        plan: The lab.
        folder: Has the machine's own files, if it ever ran; or None.

    Raises:
        ImageError: A node's identity could not be written on its disk.
        ProgramError: qemu-img cannot read a disk.
        NetlabError: The disk of a guest in memory could not be made.
    """
    sources: list[DiskSource] = []
    if lives_in_memory(node):
        image = await _memory_image(node, work)
        identity = identity_archive(node, plan.hosts, files=True)
        base = await trio.Path(image.initrd).read_bytes()
        packed = base + await trio.to_thread.run_sync(pack, (identity,))
        sources.append(await _open_memory_disk(node, image, packed, work))
    sources += [
        await _open_resting(node, index, disk, work, plan, folder)
        for index, disk in enumerate(node.disks)
    ]
    return await _with_variables(node, sources, work, folder)


async def _flatten(source: Path, kind: str, target: Path) -> None:
    """Write a disk image's content as a raw and sparse file."""
    await run(("qemu-img", "convert", "-f", kind, "-O", "raw", str(source), str(target)))


async def _open_resting(
    node: NodePlan, index: int, disk: DiskPlan, work: Work, plan: Plan, folder: Path | None
) -> DiskSource:
    raw = work.folder / f"{node.name}-{index}.raw"
    layer = None if folder is None else trio.Path(folder / f"disk{index}.qcow2")
    if layer is not None and await layer.exists():
        await _flatten(Path(layer), "qcow2", raw)
        return await work.open_raw(raw)
    if disk.source == "image":
        image = await work.open_image(stored_name(node.image or "", node.arch))
        if image.disk is None:
            raise MissingFeatureError(f"{node.name}: the image {node.image} has no disk")
        await _flatten(image.disk, "qcow2", raw)
    elif disk.image is not None:
        image = await work.open_image(disk.image)
        await trio.to_thread.run_sync(write_netboot, image, raw)
    elif disk.file is not None:
        await _flatten(Path(disk.file), disk.format or "raw", raw)
    else:
        await run(("qemu-img", "create", "-q", "-f", "raw", str(raw), f"{disk.size}M"))
    if disk.size is not None:
        # Its layer would have grown it.
        os.truncate(raw, max(disk.size << 20, raw.stat().st_size))
    if disk.source == "image" and node.configure:
        await write_into_disk(raw, system_files(node, plan.hosts))
    return await work.open_raw(raw)


async def _memory_image(node: NodePlan, work: Work) -> Image:
    image = await work.open_image(stored_name(node.image or "", node.arch))
    check_memory_image(node, image)
    return image


async def _open_memory_disk(node: NodePlan, image: Image, packed: bytes, work: Work) -> DiskSource:
    path = work.folder / f"{node.name}.raw"
    if node.tmpfs_root:
        image = replace(image, append=f"{image.append} {TMPFS_ROOT}")
    loader = await work.store.ensure_loader()
    await write_memory_disk(path, loader, image, packed, uuid.UUID(node.uuid))
    return await work.open_raw(path)


async def _with_variables(
    node: NodePlan, sources: Sequence[DiskSource], work: Work, folder: Path | None
) -> list[Drive]:
    disks = (*([None] if lives_in_memory(node) else ()), *node.disks)
    drives = [
        _drive(name, source, disk)
        for name, source, disk in zip(name_drives(node), sources, disks, strict=True)
    ]
    if node.firmware.kind == "uefi":
        variables = work.folder / f"{node.name}.{VARIABLES}"
        await trio.to_thread.run_sync(_copy_variables, node, folder, variables)
        drives.append(Drive(name=EFI_DRIVE, source=await work.open_raw(variables), disk=None))
    return drives


def _drive(name: str, source: DiskSource, plan: DiskPlan | None) -> Drive:
    disk = Disk(drive=name, size=source.size)
    if plan is not None:
        disk = replace(
            disk, serial=plan.serial or "", discard=plan.discard, read_only=plan.read_only
        )
    return Drive(name=name, source=source, disk=disk)


def _copy_variables(node: NodePlan, folder: Path | None, target: Path) -> None:
    own = None if folder is None else folder / VARIABLES
    if own is None or not own.exists():
        files = find_files([node])[node.name]
        assert files is not None
        own = Path(files.template)
    shutil.copyfile(own, target)
