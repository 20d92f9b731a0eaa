"""`netlab import`: backups of Proxmox as a topology."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from netlab.cli.candidates import complete_files
from netlab.cli.frame import add_verb, make_app
from netlab.cli.labs import check_name
from netlab.cli.options import Format, FormatOption
from netlab.errors import UsageError, explain_storage

app = make_app()


@add_verb(
    app,
    name="import",
    examples=(
        ("netlab import vzdump-qemu-100-*.vma.zst -o office.yaml", "then: netlab up office.yaml"),
        (
            "netlab import dump/*.vma.zst -o office.yaml",
            "one lab; equal bridge and tag, one segment",
        ),
        ("netlab import a.vma --name copy -o copy.yaml", "a lab of another name"),
        ("netlab import a.vma -o a.yaml -f json", "what is left out, for programs"),
    ),
    codes={
        0: "the topology is there; what it cannot say was told",
        2: "an archive is damaged or hostile, or no node can be its machine; nothing was written",
        3: "a file cannot be read or written, or the disk is full; nothing of it is left",
        130: "interrupted; nothing of it is left",
    },
)
def import_(
    archives: Annotated[
        list[Path],
        typer.Argument(
            metavar="ARCHIVE...",
            help="Backups, a machine each, compressed by their suffix (.zst .gz .bz2 .lzo).",
            autocompletion=complete_files,
        ),
    ],
    topology: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="A new file; standard output by default."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="LAB", help="The lab's name; by default the one that the machines come from."
        ),
    ] = None,
    output: FormatOption = Format.table,
) -> None:
    """Make a topology of machines from Proxmox, that boot from their disks as they are.

    Each bridge with its tag is a segment, and nothing of it reaches a network of this host. Disks
    are extracted once, into the cache; nodes never write to them. `netlab help proxmox` has what
    becomes of a machine, and what is left out.
    """
    if topology is not None:
        _check_target(topology)
    lab = None if name is None else check_name(name)
    # Imported here, late: a wrong word needs no event loop to be told.
    from netlab.cli.importing import import_from

    import_from(archives, topology, lab, output)


def _check_target(path: Path) -> None:
    with explain_storage(path):
        there, folder = os.path.lexists(path), path.parent.is_dir()
    if there:
        raise UsageError(f"{path} is there already", hint="a topology is never overwritten")
    if not folder:
        raise UsageError(f"{path.parent} is no folder", hint="make it first")
