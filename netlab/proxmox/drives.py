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
from netlab.image import lz4
from netlab.image.netboot import write_netboot
from netlab.image.store import Image, Store
from netlab.lab.access import NodeAccess
from netlab.machine.boot import TMPFS_ROOT, VARIABLES
from netlab.machine.cut import MachineCut
from netlab.machine.disk import create_overlay
from netlab.machine.hostfiles import find_files
from netlab.plan.catalogue import stored_name
from netlab.plan.model import DiskFormat, DiskPlan, NodePlan, Plan
from netlab.process import run
from netlab.proxmox.export import Disk
from netlab.proxmox.memory import (
    check_memory_image,
    identity_archive,
    write_memory_disk,
    write_root,
)
from netlab.proxmox.offline import write_into_disk
from netlab.proxmox.persistence import system_files
from netlab.proxmox.sources import open_held, open_image_source
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

    async def open_image_file(self, path: Path, image_format: DiskFormat) -> DiskSource:
        """Open an image file for as long as the work goes on; nobody writes to it meanwhile."""
        return await self.stack.enter_async_context(open_image_source(path, image_format))

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
    node: NodeAccess, held: MachineCut, work: Work, plan: Plan
) -> list[Drive]:
    """Open the drives of a machine whose disks are held.

    Args:
        node: The running node.
        held: Its disks.
        work: Where to make what is not a disk yet.
        plan: The lab.

    Raises:
        NBDError: A disk is not offered any more.
        CommandError: What is in the guest's memory could not be read.
        NetlabError: The disk of a guest in memory could not be made.
    """
    sources: list[DiskSource] = []
    if lives_in_memory(node.plan):
        image = await _memory_image(node.plan, work)
        initrd = work.folder / f"{node.plan.name}.initrd"
        await write_root(node, initrd)
        await _add(initrd, identity_archive(node.plan, plan.hosts, ran=True))
        sources.append(await _open_memory_disk(node.plan, image, initrd, work))
    sources += [
        await work.stack.enter_async_context(open_held(held.socket, disk.name))
        for disk in held.disks
    ]
    own = None if held.variables is None else Path(held.variables)
    return await _with_variables(node.plan, sources, work, own)


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
        ImageError: A node's identity could not be written on its disk; a disk's file is in use.
        ProgramError: qemu-img cannot read an image's disk.
        NetlabError: The disk of a guest in memory could not be made.
    """
    sources: list[DiskSource] = []
    if lives_in_memory(node):
        image = await _memory_image(node, work)
        initrd = work.folder / f"{node.name}.initrd"
        await trio.to_thread.run_sync(shutil.copyfile, image.initrd, initrd)
        await _add(initrd, identity_archive(node, plan.hosts, ran=False))
        sources.append(await _open_memory_disk(node, image, initrd, work))
    sources += [
        await _open_resting(node, index, disk, work, plan, folder)
        for index, disk in enumerate(node.disks)
    ]
    own = None if folder is None else folder / VARIABLES
    return await _with_variables(node, sources, work, own)


async def _add(initrd: Path, archive: bytes) -> None:
    """Let another archive lie over those of an initial RAM disk."""
    packed = await trio.to_thread.run_sync(lz4.compress, archive)
    async with await trio.open_file(initrd, "ab") as file:
        await file.write(packed)


async def _open_resting(
    node: NodePlan, index: int, disk: DiskPlan, work: Work, plan: Plan, folder: Path | None
) -> DiskSource:
    layer = None if folder is None else trio.Path(folder / f"disk{index}.qcow2")
    if layer is not None and await layer.exists():
        return await work.open_image_file(Path(layer), "qcow2")
    made = work.folder / f"{node.name}-{index}"
    if disk.source == "image":
        return await _open_system(node, disk, work, plan, made)
    if disk.file is not None:
        return await _open_file(Path(disk.file), disk, work, made)
    if disk.image is not None:
        await trio.to_thread.run_sync(write_netboot, await work.open_image(disk.image), made)
    else:
        made.touch(exist_ok=False)
    _grow(made, disk)
    return await work.open_raw(made)


async def _open_file(file: Path, disk: DiskPlan, work: Work, made: Path) -> DiskSource:
    """Open a disk's file where it is; one that grows gets a layer for that."""
    kind = disk.format or "raw"
    if disk.size is None:
        return await work.open_image_file(file, kind)
    await create_overlay(file, made, base_format=kind, size=disk.size << 20)
    return await work.open_image_file(made, "qcow2")


async def _open_system(
    node: NodePlan, disk: DiskPlan, work: Work, plan: Plan, made: Path
) -> DiskSource:
    """Make the disk of a node whose system is in an image, so that it knows who it is."""
    image = await work.open_image(stored_name(node.image or "", node.arch))
    if image.disk is None:
        raise MissingFeatureError(f"{node.name}: the image {node.image} has no disk")
    await run(("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(image.disk), str(made)))
    _grow(made, disk)
    if node.configure:
        await write_into_disk(made, system_files(node, plan.hosts))
    return await work.open_raw(made)


def _grow(raw: Path, disk: DiskPlan) -> None:
    """Let a raw disk be as large as its layer would be."""
    if disk.size is not None:
        os.truncate(raw, max(disk.size << 20, raw.stat().st_size))


async def _memory_image(node: NodePlan, work: Work) -> Image:
    image = await work.open_image(stored_name(node.image or "", node.arch))
    check_memory_image(node, image)
    return image


async def _open_memory_disk(node: NodePlan, image: Image, initrd: Path, work: Work) -> DiskSource:
    path = work.folder / f"{node.name}.raw"
    if node.tmpfs_root:
        image = replace(image, append=f"{image.append} {TMPFS_ROOT}")
    loader = await work.store.ensure_loader()
    await write_memory_disk(path, loader, image, initrd, uuid.UUID(node.uuid))
    await trio.Path(initrd).unlink()
    return await work.open_raw(path)


async def _with_variables(
    node: NodePlan, sources: Sequence[DiskSource], work: Work, own: Path | None
) -> list[Drive]:
    disks = (*([None] if lives_in_memory(node) else ()), *node.disks)
    drives = [
        _drive(name, source, disk)
        for name, source, disk in zip(name_drives(node), sources, disks, strict=True)
    ]
    if node.firmware.kind == "uefi":
        variables = work.folder / f"{node.name}.{VARIABLES}"
        await trio.to_thread.run_sync(_copy_variables, node, own, variables)
        drives.append(Drive(name=EFI_DRIVE, source=await work.open_raw(variables), disk=None))
    return drives


def _drive(name: str, source: DiskSource, plan: DiskPlan | None) -> Drive:
    disk = Disk(drive=name, size=source.size)
    if plan is not None:
        disk = replace(
            disk, serial=plan.serial or "", discard=plan.discard, read_only=plan.read_only
        )
    return Drive(name=name, source=source, disk=disk)


def _copy_variables(node: NodePlan, own: Path | None, target: Path) -> None:
    if own is None or not own.exists():
        files = find_files([node])[node.name]
        assert files is not None
        own = Path(files.template)
    shutil.copyfile(own, target)
