"""`netlab export`: nodes as backups that Proxmox restores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from netlab.cli.candidates import complete_files, complete_labs, complete_nodes
from netlab.cli.frame import add_verb, make_app
from netlab.cli.options import Format, FormatOption
from netlab.errors import UsageError

app = make_app()


@add_verb(
    app,
    examples=(
        ("netlab export ring r1 -o dump", "a node of a running lab, which goes on meanwhile"),
        ("netlab export ring r1 r2 -o dump --vmid 200", "two of one moment, as 200 and 201"),
        ("netlab export ring --lab -o dump", "all nodes, a manifest and the networks' recipe"),
        ("netlab export ring r1 -o dump --map lan=vnet7", "the segment lan becomes vnet7"),
        ("netlab export --image debian -o dump", "an image; nothing is started"),
        ("netlab export --image ring.yaml#r1 -o dump", "a node of a topology; nothing is started"),
        ("netlab export --image disk.qcow2 -o dump", "a disk, as it is"),
    ),
    codes={
        0: "the backups are there",
        2: "no such lab, node or file, or Proxmox cannot carry it; nothing was written",
        3: "the host lacks a program or room; nothing of it is left",
        4: "a node or its machine failed; nothing of it is left",
        130: "interrupted; nothing of it is left",
    },
)
def export(
    lab: Annotated[
        str | None,
        typer.Argument(
            metavar="[LAB]",
            help="The lab's name, or the topology file whose lab is meant.",
            autocompletion=complete_labs,
        ),
    ] = None,
    nodes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NODE]...", help="Its nodes.", autocompletion=complete_nodes),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Gets the backups; made if need be."),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option("--lab", help="All nodes, with a manifest and the recipe for the networks."),
    ] = False,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Instead of a lab's nodes: IMAGE, FILE.qcow2, FILE.raw, or TOPOLOGY#NODE.",
            autocompletion=complete_files,
        ),
    ] = None,
    vmid: Annotated[
        int | None,
        typer.Option(help="The first node's number on Proxmox; by default 1000 and the node's id."),
    ] = None,
    storage: Annotated[
        str, typer.Option(help="Where a restore puts disks when nobody says another place.")
    ] = "local-lvm",
    bridge: Annotated[
        str, typer.Option(help="The bridge there; each segment gets a tag of its own on it.")
    ] = "vmbr0",
    mapping: Annotated[
        str,
        typer.Option(
            "--map", metavar="SEGMENT=NET,...", help="Segments on other networks: NET or NET/TAG."
        ),
    ] = "",
    compress: Annotated[
        str, typer.Option(metavar="KIND[:LEVEL]", help="zstd:1 to 19, gzip:1 to 9, or none.")
    ] = "zstd:3",
    notes: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What people read in the list of backups.")
    ] = None,
    output: FormatOption = Format.table,
) -> None:
    """Write nodes as backups that `qmrestore` restores and that boot on Proxmox without netlab.

    Nodes that run are all of one moment: they stand still together for some milliseconds and go on
    while they are copied. `netlab help proxmox` has what becomes of a node there.
    """
    if folder is None:
        raise UsageError("where do the backups go?", hint="-o DIR")
    _check_words(lab, nodes or (), whole=whole, image=image)
    # Imported here, late: a wrong word needs no event loop to be told.
    from netlab.cli.exporting import export_image, export_lab, make_request

    request = make_request(
        folder=folder,
        vmid=vmid,
        storage=storage,
        bridge=bridge,
        mapping=mapping,
        compress=compress,
        notes=notes,
        whole=whole,
    )
    if image is not None:
        export_image(image, request, output)
    else:
        export_lab(lab or "", nodes or (), request, output)


def _check_words(lab: str | None, nodes: Sequence[str], *, whole: bool, image: str | None) -> None:
    if image is not None:
        if lab is not None or whole:
            raise UsageError("--image is instead of a lab and its nodes")
    elif lab is None:
        raise UsageError("which lab?", hint="netlab export LAB NODE... -o DIR")
    elif not nodes and not whole:
        raise UsageError("which nodes?", hint=f"netlab export {lab} NODE..., or --lab for all")
    elif nodes and whole:
        raise UsageError("--lab is all nodes", hint="name some, or give --lab")
