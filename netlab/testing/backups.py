"""A test's nodes as backups for Proxmox, within a deadline that says how far it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import trio

from netlab.errors import WaitError
from netlab.image.store import open_store
from netlab.lab.access import LabAccess
from netlab.proxmox.exporting import COMPRESSION, Export, Request, export_nodes
from netlab.proxmox.machine_request import BRIDGE, STORAGE
from netlab.proxmox.networks import parse_mapping
from netlab.proxmox.recipe import DUMP_FOLDER
from netlab.testing.waiting import Limit, within
from netlab.vma.compression import parse_compression


class BackupOptions(TypedDict, total=False):
    """What `netlab export` knows as options, with the same defaults.

    Attributes:
        vmid: The first node's number on Proxmox; by rule 1000 and the node's id.
        storage: Where a restore puts disks when nobody says another place.
        bridge: The bridge of segments that ``mapping`` does not name.
        mapping: ``SEGMENT=NET,...``, as ``--map`` has it.
        compress: ``zstd:3``, ``gzip:6``, ``none``.
        notes: What people read in the list of backups.
        whole: Whether a manifest and the recipe for the networks come with them.
        dump_dir: Where they will lie on the host, for the recipe.
    """

    vmid: int | None
    storage: str
    bridge: str
    mapping: str
    compress: str
    notes: str | None
    whole: bool
    dump_dir: str


async def export_within(
    lab: LabAccess, folder: Path, names: Sequence[str], options: BackupOptions, limit: Limit
) -> Export:
    """Write nodes as backups, all of one moment.

    Args:
        lab: The lab.
        folder: Gets them.
        names: The nodes.
        options: How.
        limit: Until when.

    Raises:
        WaitError: It had not ended; nothing of it is left.
        NetlabError: As :func:`netlab.proxmox.exporting.export_nodes` has it.
    """
    request = _make_request(folder, options)
    state = "the nodes were not held yet"

    def tell(node: str, done: int, total: int) -> None:
        nonlocal state
        state = f"{done} of {total} bytes of {node} were written"

    async def give_up() -> WaitError:
        await trio.lowlevel.checkpoint()
        return WaitError(f"the export had not ended within {limit.seconds:.3g} s: {state}")

    async with within(limit, give_up):
        return await export_nodes(lab, names, request, store=open_store(), tell=tell)
    raise AssertionError("unreachable")


def _make_request(folder: Path, options: BackupOptions) -> Request:
    compress = options.get("compress")
    return Request(
        folder=folder,
        vmid=options.get("vmid"),
        storage=options.get("storage", STORAGE),
        bridge=options.get("bridge", BRIDGE),
        mapping=parse_mapping(options.get("mapping", "")),
        compression=COMPRESSION if compress is None else parse_compression(compress),
        notes=options.get("notes"),
        whole=options.get("whole", False),
        dump_dir=options.get("dump_dir", DUMP_FOLDER),
    )
