"""`netlab export`: nodes as backups that Proxmox restores, or as machines on a host of Proxmox."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import typer

from netlab.cli.candidates import complete_files, complete_labs, complete_nodes
from netlab.cli.frame import add_verb, make_app
from netlab.cli.options import Format, FormatOption
from netlab.errors import UsageError

TOKEN_VARIABLE = "NETLAB_PROXMOX_TOKEN"
"""Has the token of a push when no file does. A command line would show it to everybody."""

app = make_app()


@dataclass(frozen=True, slots=True)
class Selection:
    """Which nodes are meant: a lab's that is up, or what `--image` says.

    Raises:
        UsageError: The words do not fit together.
    """

    lab: str | None
    nodes: tuple[str, ...]
    whole: bool
    image: str | None

    def __post_init__(self) -> None:
        if self.image is not None:
            if self.lab is not None:
                raise UsageError("--image is instead of a lab and its nodes")
        elif self.lab is None:
            raise UsageError("which lab?", hint="netlab export LAB NODE... -o DIR")
        elif not self.nodes and not self.whole:
            hint = f"netlab export {self.lab} NODE..., or --lab for all"
            raise UsageError("which nodes?", hint=hint)
        elif self.nodes and self.whole:
            raise UsageError("--lab is all nodes", hint="name some, or give --lab")


@dataclass(frozen=True, slots=True)
class BackupWords:
    """What is said about backups."""

    folder: Path | None
    compress: str | None
    dump_dir: str | None


@dataclass(frozen=True, slots=True)
class PushWords:
    """What is said about a host of Proxmox."""

    to: str | None
    node: str | None
    import_storage: str | None
    fingerprint: str | None
    token_file: Path | None
    dry_run: bool
    start: bool

    def check(self, backups: BackupWords) -> None:
        """Refuse words that do not fit together.

        Args:
            backups: What is said about backups.

        Raises:
            UsageError: They do not.
        """
        if self.to is None:
            said = [field.name for field in fields(self) if getattr(self, field.name)]
            if said:
                option = f"--{said[0].replace('_', '-')}"
                raise UsageError(f"{option} is about a host", hint="--to https://HOST:8006 says it")
            if backups.folder is None:
                hint = "-o DIR for backups, --to https://HOST:8006 for machines"
                raise UsageError("where do the nodes go?", hint=hint)
        elif backups.folder is not None:
            raise UsageError("-o and --to are two ways", hint="give one; the other comes after it")
        elif said := [name for name in ("compress", "dump_dir") if getattr(backups, name)]:
            hint = "the API takes disks, see `netlab help proxmox`"
            raise UsageError(f"--{said[0].replace('_', '-')} is about backups", hint=hint)
        elif self.node is None:
            raise UsageError("which node of the cluster?", hint="--node NAME, as Proxmox shows it")


_Lab = Annotated[
    str | None,
    typer.Argument(
        metavar="[LAB]",
        help="The lab's name, or the topology file whose lab is meant.",
        autocompletion=complete_labs,
    ),
]
_Nodes = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NODE]...", help="Its nodes.", autocompletion=complete_nodes),
]
_Folder = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="DIR", help="Gets the backups; made if need be."),
]
_Whole = Annotated[
    bool, typer.Option("--lab", help="All nodes; -o gets a manifest and the networks' recipe, too.")
]
_Image = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT",
        help="Instead of a lab that is up: IMAGE, RECIPE, FILE.qcow2, FILE.raw,"
        " TOPOLOGY#NODE[,NODE...], or with --lab TOPOLOGY.",
        autocompletion=complete_files,
    ),
]
_Vmid = Annotated[
    int | None,
    typer.Option(help="The first node's number on Proxmox; by default 1000 and the node's id."),
]
_Storage = Annotated[
    str, typer.Option(help="Where disks go; of a backup, when nobody says another place.")
]
_Bridge = Annotated[
    str, typer.Option(help="The bridge there; each segment gets a tag of its own on it.")
]
_Mapping = Annotated[
    str,
    typer.Option(
        "--map",
        metavar="SEGMENT=NET,...",
        help="Segments on other networks: NET or NET/TAG. Virtual networks that --to finds missing"
        " are made.",
    ),
]
_Compress = Annotated[
    str | None,
    typer.Option(
        metavar="KIND[:LEVEL]", help="zstd:1 to 19, gzip:1 to 9, or none; zstd:3 by default."
    ),
]
_Notes = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What people read beside the backup or machine.")
]
_DumpDir = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        help="Where backups will lie on the host, for the lines that are printed and the recipe;"
        " by default /var/lib/vz/dump.",
    ),
]
_To = Annotated[
    str | None,
    typer.Option(
        metavar="https://HOST:8006",
        help="Instead of -o: makes the machines there, over the API. The API token"
        f" (USER@REALM!NAME=SECRET) is in ${TOKEN_VARIABLE} or --token-file.",
    ),
]
_Node = Annotated[
    str | None, typer.Option("--node", metavar="NAME", help="With --to: the node of the cluster.")
]
_ImportStorage = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="With --to: a storage with content type import, where uploads wait; by default local.",
    ),
]
_Fingerprint = Annotated[
    str | None,
    typer.Option(
        metavar="SHA256",
        help="With --to: the certificate's fingerprint; without it, authorities must vouch for it.",
    ),
]
_TokenFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="With --to: the API token's file.")
]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="With --to: prints every call and makes none.")
]
_Start = Annotated[
    bool, typer.Option("--start", help="With --to: starts the machines when all are there.")
]


@add_verb(
    app,
    examples=(
        ("netlab export ring r1 -o dump", "a node of a running lab, which goes on meanwhile"),
        ("netlab export ring r1 r2 -o dump --vmid 200", "two of one moment, as 200 and 201"),
        ("netlab export ring --lab -o dump", "all nodes, a manifest and the networks' recipe"),
        ("netlab export ring r1 -o dump --map lan=vnet7", "the segment lan becomes vnet7"),
        ("netlab export --image debian -o dump", "an image; nothing is started"),
        ("netlab export --image web.image.yaml -o dump", "an own image, by its recipe"),
        ("netlab export --image ring.yaml#r1 -o dump", "a node of a topology; nothing is started"),
        ("netlab export --image disk.qcow2 -o dump", "a disk, as it is"),
        (
            "netlab export ring --lab --to https://pve1:8006 --node pve1 --dry-run",
            "every call that would make the whole lab on a host of Proxmox",
        ),
        (
            "netlab export ring r1 --to https://pve1:8006 --node pve1 --token-file ~/.pve-token"
            " --fingerprint 5C:... --start",
            "a machine there, made and started",
        ),
    ),
    codes={
        0: "the backups or the machines are there",
        2: "no such lab, node or file, or Proxmox cannot carry it; nothing was written or called",
        3: "the host lacks a program or room; nothing of it is left",
        4: "a node, its machine or a host of Proxmox failed; nothing of it is left",
        130: "interrupted; nothing of it is left",
    },
)
def export(
    lab: _Lab = None,
    nodes: _Nodes = None,
    folder: _Folder = None,
    whole: _Whole = False,
    image: _Image = None,
    vmid: _Vmid = None,
    storage: _Storage = "local-lvm",
    bridge: _Bridge = "vmbr0",
    mapping: _Mapping = "",
    compress: _Compress = None,
    notes: _Notes = None,
    dump_dir: _DumpDir = None,
    to: _To = None,
    node: _Node = None,
    import_storage: _ImportStorage = None,
    fingerprint: _Fingerprint = None,
    token_file: _TokenFile = None,
    dry_run: _DryRun = False,
    start: _Start = False,
    output: FormatOption = Format.table,
) -> None:
    """Write nodes as backups that `qmrestore` restores, or make them machines on Proxmox at once.

    They boot there without netlab. Nodes that run are all of one moment: they stand still together
    for some milliseconds and go on while they are copied. `netlab help proxmox` has what becomes of
    a node there, and the rights that the token of --to needs.
    """
    chosen = Selection(lab, tuple(nodes or ()), whole, image)
    backups = BackupWords(folder, compress, dump_dir)
    place = PushWords(to, node, import_storage, fingerprint, token_file, dry_run, start)
    place.check(backups)
    # Imported here, late: a wrong word needs no event loop to be told.
    from netlab.cli import exporting, pushing

    words = {"vmid": vmid, "storage": storage, "bridge": bridge, "notes": notes}
    if to is None:
        exporting.export(chosen, backups, mapping, words, output)
    else:
        pushing.push(chosen, place, mapping, words, output)
