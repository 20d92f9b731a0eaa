"""The live part of `netlab export`: labs, plans and disks found, and how far it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import trio

from netlab.cli.archiving import open_progress
from netlab.cli.labs import check_name, choose_name
from netlab.cli.options import Format
from netlab.cli.output import say
from netlab.errors import UsageError
from netlab.image.store import open_store
from netlab.lab.client import find_lab
from netlab.lab.remote import open_remote
from netlab.plan.catalogue import IMAGES
from netlab.plan.files import anchor
from netlab.plan.model import Plan
from netlab.plan.resolve import resolve
from netlab.proxmox.backup import Tell
from netlab.proxmox.exporting import Export, Request, export_nodes, export_plan
from netlab.proxmox.networks import parse_mapping
from netlab.topology.load import load, loads
from netlab.vma.compression import parse_compression

_MIB = 1 << 20
_DISKS = {".qcow2", ".raw", ".img"}
_STEP = 50
"""Lines of progress for programs, of the whole of a node."""


def make_request(*, compress: str, mapping: str, **values: Any) -> Request:
    """Return what an export is asked to make.

    Raises:
        UsageError: A compression or a network is none.
    """
    return Request(
        compression=parse_compression(compress), mapping=parse_mapping(mapping), **values
    )


def export_lab(name: str, nodes: Sequence[str], request: Request, output: Format) -> None:
    """Export nodes of a running lab; all of them when none is named.

    Raises:
        NetlabError: As :func:`netlab.proxmox.exporting.export_nodes` has it.
    """
    lab = choose_name(None, name) if name.endswith((".yaml", ".yml")) else check_name(name)
    folders = find_lab(lab).folders

    async def run(tell: Tell) -> Export:
        async with open_remote(folders) as remote:
            names = nodes or tuple(remote.nodes)
            return await export_nodes(remote, names, request, store=open_store(), tell=tell)

    _run(run, request, output)


def export_image(what: str, request: Request, output: Format) -> None:
    """Export an image, a disk, or a node of a topology, without starting anything.

    Raises:
        NetlabError: As :func:`netlab.proxmox.exporting.export_plan` has it.
    """
    file, _, node = what.partition("#")
    if node:
        path = Path(file)
        plan = anchor(resolve(load(path)), str(path.absolute().parent))
        _run(_planned(plan, node, request), request, output)
    elif what in IMAGES:
        _run(_planned(_lone_plan(what, {"image": what}), what, request), request, output)
    elif Path(what).suffix in _DISKS:
        path = Path(what).absolute()
        kind = "qcow2" if path.suffix == ".qcow2" else "raw"
        disk = {"file": str(path), "format": kind, "bus": "scsi"}
        machine: dict[str, object] = {
            "image": "none",
            "arch": "x86_64",
            "disk": disk,
            "configure": False,
        }
        plan = _lone_plan(path.stem, machine)
        _run(_planned(plan, path.stem, request), request, output)
    else:
        raise UsageError(
            f"--image {what!r} is neither an image ({', '.join(IMAGES)}), nor a disk"
            f" ({', '.join(sorted(_DISKS))}), nor TOPOLOGY#NODE"
        )


def _planned(plan: Plan, node: str, request: Request) -> Callable[[Tell], Any]:
    async def run(tell: Tell) -> Export:
        return await export_plan(plan, [node], request, store=open_store(), tell=tell)

    return run


def _lone_plan(name: str, settings: dict[str, object]) -> Plan:
    """Return the plan of one node on no network."""
    topology = {"name": "export", "nodes": {name: {"id": 1, **settings}}}
    return resolve(loads(json.dumps(topology), name="--image"))


def _run(run: Callable[[Tell], Any], request: Request, output: Format) -> None:
    with _open_tell(output) as tell:
        export: Export = trio.run(run, tell)
    if output is Format.json:
        _print_line({"event": "done", **_describe(export)})
        return
    for backup in export.backups:
        ratio = backup.size / max(backup.disks, 1)
        say(f"{backup.archive}: {backup.size / _MIB:.1f} MiB, {ratio:.0%} of the disks")
    for line in export.left_out:
        say(line)
    if export.pause:
        say(f"the nodes stood still for {export.pause * 1000:.0f} ms")
    for backup in export.backups:
        words = f"{backup.archive.name} {backup.vmid} --storage {request.storage}"
        say(f"  qmrestore /var/lib/vz/dump/{words}")


def _describe(export: Export) -> dict[str, Any]:
    backups = [{**asdict(one), "archive": str(one.archive)} for one in export.backups]
    return {"pause": export.pause, "backups": backups, "left_out": export.left_out}


@contextmanager
def _open_tell(output: Format) -> Generator[Tell]:
    """Show how far it is: a bar for people, now and then a line for programs."""
    if output is Format.json:
        said: dict[str, int] = {}

        def tell_line(node: str, done: int, total: int) -> None:
            step = done * _STEP // max(total, 1)
            if said.get(node) != step:
                said[node] = step
                _print_line({"event": "progress", "node": node, "done": done, "total": total})

        yield tell_line
        return
    with open_progress("export") as progress:
        yield lambda _node, done, total: progress(done, total)


def _print_line(record: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(record)}\n")
    sys.stdout.flush()
