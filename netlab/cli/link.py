"""`netlab link`: pull the cable between two nodes, or put it back."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from netlab.cli.candidates import complete_nodes
from netlab.cli.frame import add_verb, make_app
from netlab.cli.labs import find_client, split_node
from netlab.cli.options import NameOption, TopologyOption
from netlab.cli.output import say

app = make_app()


class Direction(StrEnum):
    """What becomes of the cable."""

    down = "down"
    up = "up"


EndArgument = Annotated[
    str,
    typer.Argument(
        metavar="NODE[:INTERFACE]",
        help="An end; with its interface where the two share several segments.",
        autocompletion=complete_nodes,
    ),
]


@add_verb(
    app,
    examples=(
        ("netlab link down r1 r2", "pull the cable: both guests lose their carrier"),
        ("netlab link up r1 r2", "put it back"),
        ("netlab link down r1:uplink r4", "which of several"),
    ),
    codes={
        0: "done",
        2: "no such lab, node or interface; or the two share no segment, or several",
        4: "the lab or a machine failed",
    },
)
def link(
    direction: Annotated[Direction, typer.Argument(help="down or up.")],
    first: EndArgument,
    second: EndArgument,
    name: NameOption = None,
    topology: TopologyOption = None,
) -> None:
    """Pull the cable between two nodes, or put it back; on a vlan, all of its cables."""
    name, first = split_node(first, name)
    name, second = split_node(second, name)
    client = find_client(name, topology)
    client.set_link(first, second, up=direction is Direction.up)
    say(f"{first} -- {second} is {direction.value}")
