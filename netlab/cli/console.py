"""`netlab console`: be a node's serial console."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from netlab.cli.candidates import complete_nodes
from netlab.cli.frame import add_verb, make_app
from netlab.cli.labs import find_client, read_nodes, split_node
from netlab.cli.options import NameOption, TopologyOption
from netlab.cli.output import say
from netlab.cli.selection import select_names

app = make_app()


@add_verb(
    app,
    examples=(
        ("netlab console r1", "a terminal on r1; Ctrl-] leaves it"),
        ("netlab console ring/r1", "the same, when several labs are up"),
        ("echo reboot | netlab console r1", "type something and leave"),
    ),
    codes={
        0: "left with Ctrl-], or the input ended",
        2: "no such lab or node",
        4: "the node does not run, or the lab process does not answer",
    },
)
def console(
    node: Annotated[
        str,
        typer.Argument(metavar="NODE", help="NODE or LAB/NODE.", autocompletion=complete_nodes),
    ],
    name: NameOption = None,
    topology: TopologyOption = None,
) -> None:
    """Be a node's serial console, beside its log and everybody else who is attached."""
    name, wanted = split_node(node, name)
    client = find_client(name, topology)
    (found,) = select_names([wanted], read_nodes(client.folders))[:1]
    # Imported here, late: a wrong name needs no event loop to be told.
    import trio

    from netlab.lab.attach import attach

    if sys.stdin.isatty():
        say(f"{client.folders.lab}/{found}: Ctrl-] leaves, Return wakes the shell")
    trio.run(attach, client.folders, found)
    if sys.stdin.isatty():
        say("")
