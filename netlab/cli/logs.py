"""`netlab logs`: a node's console log, its QEMU's output, or the lab's own log."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netlab.cli.candidates import complete_nodes
from netlab.cli.frame import add_verb, make_app
from netlab.cli.labs import check_name, choose_name, read_nodes, split_node
from netlab.cli.options import NameOption, TopologyOption
from netlab.cli.selection import select_names
from netlab.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from netlab.lab.folders import LabFolders

app = make_app()

BLOCK = 1 << 16


class Kind(StrEnum):
    """Which log."""

    console = "console"
    qemu = "qemu"
    lab = "lab"
    sandbox = "sandbox"


OF_A_NODE = {Kind.console: "console.log", Kind.qemu: "qemu.log"}
"""Logs that each node has, in its folder."""

OF_THE_LAB = {Kind.lab: "lab.log", Kind.sandbox: "sandbox.log"}
"""Logs of the lab as a whole."""


@add_verb(
    app,
    examples=(
        ("netlab logs r1", "all that r1's console has printed"),
        ("netlab logs r1 --tail 20 --follow", "the last lines, and what comes"),
        ("netlab logs r1 --kind qemu", "what its QEMU printed"),
        ("netlab logs", "the lab process's own log"),
        ("netlab logs --name ring", "also of a lab that died"),
    ),
    codes={0: "printed", 2: "no such lab or node, or it has no such log", 130: "interrupted"},
)
def logs(
    node: Annotated[
        str | None,
        typer.Argument(
            metavar="[NODE]",
            help="NODE or LAB/NODE; without it, the lab's own log.",
            autocompletion=complete_nodes,
        ),
    ] = None,
    name: NameOption = None,
    topology: TopologyOption = None,
    kind: Annotated[
        Kind | None, typer.Option(help="Which log; by default a node's console, or the lab's.")
    ] = None,
    tail: Annotated[
        int | None, typer.Option(min=0, metavar="LINES", help="Only the last lines.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("-F", "--follow", help="Go on as a console prints.")
    ] = False,
) -> None:
    """Print a node's console log, what its QEMU printed, or the lab's own log."""
    if node is not None:
        name, node = split_node(node, name)
    folders = _find_folders(choose_name(name, topology))
    if node is None:
        path = _lab_log(folders, kind or Kind.lab)
    else:
        (node,) = select_names([node], read_nodes(folders))[:1]
        path = _node_log(folders, node, kind or Kind.console)
    if not follow:
        _print_log(path, tail)
    elif node is None or kind not in {None, Kind.console}:
        raise UsageError("only a node's console can be followed", hint="`netlab events --follow`")
    else:
        _follow(folders, node, path, tail)


def _find_folders(name: str | None) -> LabFolders:
    from netlab.lab.client import find_lab
    from netlab.lab.folders import lab_folders

    folders = find_lab(None).folders if name is None else lab_folders(check_name(name))
    if not folders.state.is_dir():
        raise UnknownNameError(
            f"there is no lab {folders.lab}", hint="`netlab status --all` lists the labs"
        )
    return folders


def _lab_log(folders: LabFolders, kind: Kind) -> Path:
    if kind not in OF_THE_LAB:
        raise UsageError(f"--kind {kind.value} is a node's log", hint="say which node")
    return folders.state / OF_THE_LAB[kind]


def _node_log(folders: LabFolders, node: str, kind: Kind) -> Path:
    if kind not in OF_A_NODE:
        raise UsageError(f"--kind {kind.value} is the lab's log", hint="leave the node out")
    return folders.state / "nodes" / node / OF_A_NODE[kind]


def _print_log(path: Path, tail: int | None) -> int:
    """Print a log as it is, or its last lines; return how many bytes of it there are."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UnknownNameError(f"there is no log {path} (yet)") from None
    shown = data
    if tail is not None:
        shown = b"".join(data.splitlines(keepends=True)[-tail:] if tail else [])
    sys.stdout.buffer.write(shown)
    sys.stdout.flush()
    return len(data)


def _follow(folders: LabFolders, node: str, path: Path, tail: int | None) -> None:
    """Print the log and what is added to it.

    The stream of the console only wakes us; what is printed is read from the log, so that nothing
    comes twice and nothing is missed between the log and the stream.
    """
    from netlab.lab.client import open_client

    stream = open_client(folders).console(node)
    shown = _print_log(path, tail)
    with path.open("rb") as log:
        log.seek(shown)
        for _ in stream:
            while chunk := log.read(BLOCK):
                sys.stdout.buffer.write(chunk)
            sys.stdout.flush()
            if os.fstat(log.fileno()).st_nlink == 0:
                return  # the lab went down; its folder is gone
