"""The live part of `netlab export -o`: nodes as backups, and how far it is."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from netlab.cli.bars import open_bar
from netlab.cli.export import BackupWords, Selection
from netlab.cli.exportable import PlannedNodes, RunningNodes, find_nodes
from netlab.cli.interrupts import run_interruptibly
from netlab.cli.options import Format
from netlab.cli.output import say
from netlab.image.store import open_store
from netlab.proxmox.backup import Tell
from netlab.proxmox.exporting import COMPRESSION, Export, Request, export_nodes, export_plan, ignore
from netlab.proxmox.networks import parse_mapping
from netlab.proxmox.recipe import DUMP_FOLDER, Member, write_restore
from netlab.vma.compression import parse_compression

_MIB = 1 << 20
_STEP = 50
"""Lines of progress for programs, of the whole of a node."""


def export(
    selection: Selection,
    backups: BackupWords,
    mapping: str,
    words: dict[str, Any],
    output: Format,
) -> None:
    """Write nodes as backups.

    Args:
        selection: Which nodes.
        backups: Where they go, and how.
        mapping: Segments with their networks.
        words: More of the request.
        output: How is said what is done.

    Raises:
        NetlabError: As :func:`netlab.proxmox.exporting.export_nodes` has it.
        KeyboardInterrupt: It was interrupted; nothing of it is left.
    """
    request = Request(
        folder=backups.folder or Path(),
        compression=COMPRESSION
        if backups.compress is None
        else parse_compression(backups.compress),
        dump_dir=backups.dump_dir or DUMP_FOLDER,
        mapping=parse_mapping(mapping),
        whole=selection.whole,
        **words,
    )
    nodes = find_nodes(selection)
    with _open_tell(output) as tell:
        made = run_interruptibly(partial(_export, nodes, request, tell))
    if output is Format.json:
        print_line({"event": "done", **_describe(made)})
    else:
        _say(made, request)


async def _export(nodes: RunningNodes | PlannedNodes, request: Request, tell: Tell) -> Export:
    store = open_store()
    if isinstance(nodes, PlannedNodes):
        return await export_plan(nodes.plan, nodes.names, request, store=store, tell=tell)
    async with nodes.open() as (lab, names):
        return await export_nodes(lab, names, request, store=store, tell=tell)


def _say(made: Export, request: Request) -> None:
    for backup in made.backups:
        ratio = backup.size / max(backup.disks, 1)
        say(f"{backup.archive}: {backup.size / _MIB:.1f} MiB, {ratio:.0%} of the disks")
    for line in made.left_out:
        say(line)
    say_pause(made.pause)
    paths = shlex.join(str(backup.archive) for backup in made.backups)
    say("on a host of Proxmox they become machines by")
    say(f"  scp {paths} root@HOST:{shlex.quote(f'{request.dump_dir}/')}")
    for backup in made.backups:
        member = Member(node=backup.node, vmid=backup.vmid, archive=backup.archive.name)
        say(f"  {write_restore(member, storage=request.storage, folder=request.dump_dir)}")


def say_pause(pause: float) -> None:
    """Say how long running nodes stood still, if they did."""
    if pause:
        say(f"the nodes stood still for {pause * 1000:.0f} ms")


def _describe(made: Export) -> dict[str, Any]:
    backups = [{**asdict(one), "archive": str(one.archive)} for one in made.backups]
    return {"pause": made.pause, "backups": backups, "left_out": made.left_out}


@contextmanager
def _open_tell(output: Format) -> Generator[Tell]:
    """Show how far each node is: a bar on a terminal, now and then a line for programs."""
    if output is Format.json:
        said: dict[str, int] = {}

        def tell_line(node: str, done: int, total: int) -> None:
            step = done * _STEP // max(total, 1)
            if said.get(node) != step:
                said[node] = step
                print_line({"event": "progress", "node": node, "done": done, "total": total})

        yield tell_line
        return
    if not sys.stderr.isatty():
        yield ignore
        return
    with open_bar("export") as show:
        yield lambda node, done, total: show(f"export {node}", done, total)


def print_line(record: dict[str, Any]) -> None:
    """Write a line of JSON to standard output, at once."""
    sys.stdout.write(f"{json.dumps(record)}\n")
    sys.stdout.flush()
