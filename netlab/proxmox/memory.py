"""A disk for a guest that lives in memory: a boot loader, its kernel, and what was in memory."""

from __future__ import annotations

import posixpath
import stat
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path

import trio

from netlab.errors import CommandError, MissingFeatureError
from netlab.image import cpio, lz4
from netlab.image.bootdisk import write_configuration, write_disk
from netlab.image.cpio import Entry
from netlab.image.loader import Loader
from netlab.image.recipe import MICRO
from netlab.image.store import Image
from netlab.lab.access import NodeAccess
from netlab.machine.identity import read_content
from netlab.machine.streams import ProgramStream
from netlab.plan.model import FilePlan, HostPlan, NodePlan
from netlab.proxmox.persistence import memory_files

_KEPT = ("root", "var/log")
"""Folders of the image that have file systems of their own, in memory too."""

# Everything in memory that stays, but for the sockets and files of programs that run.
_CAPTURE = (
    f"cd / && find . {' '.join(f'./{path}' for path in _KEPT)} -xdev"
    " '(' -path './run/*' ! -type d ')' -prune -o ! -type s -print0 | cpio -0 -o -H newc"
)

_ROOT = {entry.path: entry for entry in MICRO.entries}
"""What the image has of its own, by path."""

_FOLDER = 0o755


async def write_root(node: NodeAccess, target: Path) -> None:
    """Write the root file system of a running guest in memory, as its kernel takes it at boot.

    It is read file by file while the guest runs: what it writes meanwhile may be there or not.

    Args:
        node: The guest.
        target: The file to be made: an lz4 frame with a cpio archive.

    Raises:
        CommandError: The guest could not pack it, or it is larger than the guest's memory.
        MachineError: The machine ended.
        OSError: The file cannot be written.
    """
    async with (
        await trio.open_file(target, "xb") as file,
        node.open_stream(("/bin/sh", "-c", _CAPTURE)) as stream,
        aclosing(_read_blocks(stream, node.plan)) as blocks,
    ):
        await stream.send_eof()
        await file.write(lz4.MAGIC)
        async for block in blocks:
            await file.write(await trio.to_thread.run_sync(lz4.compress_block, block))
        if stream.status != 0:
            raise CommandError(
                f"{node.plan.name}: its file system could not be read",
                hint="its image has to have find and cpio, as `micro` has",
            )


async def _read_blocks(stream: ProgramStream, plan: NodePlan) -> AsyncGenerator[bytes]:
    """Yield what a guest sends in parts that are compressed each."""
    block, total = bytearray(), 0
    while chunk := await stream.receive():
        total += len(chunk)
        if total > plan.memory << 20:
            raise CommandError(
                f"{plan.name}: its files have more than the {plan.memory} MiB of its memory",
                hint="they would not fit there at boot: remove some, sparse ones first",
            )
        block += chunk
        while len(block) >= lz4.BLOCK:
            yield bytes(block[: lz4.BLOCK])
            del block[: lz4.BLOCK]
    if block:
        yield bytes(block)


def identity_archive(node: NodePlan, hosts: Sequence[HostPlan], *, ran: bool) -> bytes:
    """Return the archive that makes a guest in memory the node at boot, to lie over its root.

    Args:
        node: Who it is.
        hosts: Everybody's names and addresses.
        ran: It has been the node already: its names and its own files are in its root.
    """
    inittab = _ROOT["etc/inittab"].data.decode()
    own = memory_files(node, hosts, inittab, ran=ran)
    entries = {file.path.lstrip("/"): _entry(file) for file in own}
    entries["etc/fstab"] = _without_mounts(_ROOT["etc/fstab"])
    # The kernel opens it before anything is mounted over /dev.
    entries |= {path: _ROOT[path] for path in ("dev/console", "dev/null")}
    return cpio.write([*_folders(entries), *entries.values()])


async def write_memory_disk(
    target: Path, loader: Loader, image: Image, initrd: Path, identity: uuid.UUID
) -> None:
    """Write the disk of a guest that lives in memory.

    Args:
        target: The file to be made, raw and sparse.
        loader: What boots it.
        image: The guest's, for the kernel and its command line.
        initrd: Archives that lie over each other in its root, as the kernel takes them.
        identity: All identifiers of the disk follow from it.

    Raises:
        ImageError: The disk could not be made.
        MissingProgramError: sfdisk or mtools are not installed.
        OSError: The file cannot be written.
    """
    await write_disk(
        target,
        loader,
        identity=identity,
        configuration=write_configuration(kernel="/kernel", initrd="/initrd", append=image.append),
        files={"kernel": image.packed_kernel, "initrd": initrd},
    )


def check_memory_image(node: NodePlan, image: Image) -> None:
    """Refuse a guest in memory of which nothing is known.

    Raises:
        MissingFeatureError: It is not the one image that netlab knows how to put on a disk, nor
            made of it.
    """
    if image.base != MICRO.name:
        raise MissingFeatureError(
            f"{node.name}: the image {image.name} has no disk, and cannot be put on one",
            hint=f"what has no disk is exported of {MICRO.name} and what is made of it",
        )


def _without_mounts(table: Entry) -> Entry:
    """Return fstab(5) without what would hide the folders whose files are in the archives."""
    kept = {f"/{path}" for path in _KEPT}
    lines = table.data.decode().splitlines(keepends=True)
    text = "".join(line for line in lines if line.split()[1] not in kept)
    return Entry(path=table.path, mode=table.mode, data=text.encode())


def _entry(file: FilePlan) -> Entry:
    path = file.path.lstrip("/")
    return Entry(path=path, mode=stat.S_IFREG | file.mode, data=read_content(file))


def _folders(entries: Mapping[str, Entry]) -> Iterable[Entry]:
    """Return the folders of paths: with their permissions, as the kernel sets them again."""
    folders: set[str] = set()
    for path in entries:
        folder = posixpath.dirname(path)
        while folder and folder not in folders:
            folders.add(folder)
            folder = posixpath.dirname(folder)
    for folder in sorted(folders):
        known = _ROOT.get(folder)
        yield known or Entry(path=folder, mode=stat.S_IFDIR | _FOLDER)
