"""`netlab cp`: files and folders into nodes, out of them, and between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from netlab.cli.candidates import complete_places
from netlab.cli.frame import add_verb, make_app
from netlab.cli.labs import find_client, read_nodes, split_node
from netlab.cli.options import NameOption, TopologyOption
from netlab.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from netlab.cli.copying import Place

app = make_app()


@add_verb(
    app,
    examples=(
        ("netlab cp bird.conf r1:/etc/bird/", "a file into a folder of r1"),
        ("netlab cp r1:/var/log/messages .", "a file out of r1"),
        ("netlab cp ring/r1:/etc/bird saved", "a folder, which is called `saved` here"),
        ("netlab cp r1:/etc/hosts r2:/tmp/hosts", "from node to node"),
        ("netlab cp a.conf b.conf r1:/etc/", "several, into a folder that is there"),
        ("netlab cp ./a:b r1:/tmp/", "a path of ours with a colon begins with ./ or /"),
    ),
    codes={
        0: "all is there",
        1: "a guest has no such file, or could not take it; what went before is there",
        2: "no such lab, node, file or folder of ours",
        3: "no room on this host",
        4: "a node is not ready or its machine failed",
        130: "interrupted; a file of ours is whole or not there",
    },
)
def cp(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE... TARGET",
            help="Paths of ours, or NODE:PATH or LAB/NODE:PATH; one side at least is a node's.",
            autocompletion=complete_places,
        ),
    ],
    name: NameOption = None,
    topology: TopologyOption = None,
) -> None:
    """Copy files and folders with their permissions; into the target if that is a folder.

    A folder is copied with all that is in it. What goes into a guest is merged with what is there;
    what comes out of one replaces a file, and never a folder.
    """
    if len(paths) < 2:
        raise UsageError("a source and a target are needed", hint="netlab cp SOURCE... TARGET")
    places = [_parse(path, name, topology) for path in paths]
    *sources, target = places
    if not (target.node or all(source.node for source in sources)):
        raise UsageError(
            f"neither {next(each for each in sources if not each.node)} nor {target} is in a node",
            hint="NODE:PATH is a path in a node",
        )
    # Imported here, late: a wrong name needs no event loop to be told.
    from netlab.cli.copying import copy_all

    copy_all(sources, target)


def split_place(text: str) -> tuple[str, str]:
    """Return the node as it is written, empty for a path of ours, and the path.

    As scp reads it: a colon says that it is a node's, unless a slash shows before that it is ours.
    """
    node, colon, path = text.partition(":")
    if not colon or text.startswith(("/", "./", "../", "~")) or node.count("/") > 1:
        return "", text
    return node, path


def _parse(text: str, name: str | None, topology: str | None) -> Place:
    from netlab.cli.copying import Place

    written, path = split_place(text)
    if not path:
        raise UsageError(f"{text!r}: a path is missing", hint="NODE:PATH, such as r1:/etc/hosts")
    if not written and text == path:
        return Place(path=path)
    if not path.startswith("/"):
        raise UsageError(f"{text}: a path in a node begins with /")
    lab, node = split_node(written, name)
    try:
        client = find_client(lab, topology)
        _check_node(client.folders.lab, node, read_nodes(client.folders))
    except UnknownNameError as error:
        hint = "a path of ours with a colon in it begins with ./ or /"
        raise UnknownNameError(
            f"{text}: {error.message}", hint=f"{error.hint}; {hint}" if error.hint else hint
        ) from error
    return Place(path=path, node=node, lab=client.folders)


def _check_node(lab: str, node: str, nodes: Sequence[str]) -> None:
    if node not in nodes:
        raise UnknownNameError(
            f"lab {lab} has no node {node!r}", hint=f"its nodes: {', '.join(nodes)}"
        )
