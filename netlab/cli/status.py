"""`netlab status`: the nodes of a lab, or all labs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netlab.cli.frame import add_verb, make_app
from netlab.cli.labs import choose_name
from netlab.cli.options import Format, FormatOption, LabArgument, NameOption, TopologyOption
from netlab.cli.output import format_seconds, say, write_json, write_table
from netlab.errors import ControlError, UsageError

if TYPE_CHECKING:
    from netlab.lab.folders import LabFolders

app = make_app()


@add_verb(
    app,
    examples=(
        ("netlab status", "the nodes of the only lab that is up; else all labs"),
        ("netlab status ring.yaml", "the nodes of the lab that the file describes"),
        ("netlab status --name ring --wide", "also taps, MAC addresses and process ids"),
        ("netlab status --all -f json", "all labs, as JSON: a list, always"),
    ),
    codes={
        0: "shown; `status --all` also when nothing is up",
        2: "the lab is not up; the message says how it ended, if it is known",
        4: "the lab process does not answer",
    },
)
def status(
    argument: LabArgument = None,
    topology: TopologyOption = None,
    name: NameOption = None,
    everything: Annotated[
        bool, typer.Option("-a", "--all", help="All labs of this user, also those that died.")
    ] = False,
    wide: Annotated[
        bool, typer.Option("-w", "--wide", help="Interfaces too, one line each.")
    ] = False,
    output: FormatOption = Format.table,
) -> None:
    """Show the nodes of a lab with their states and addresses, or all labs."""
    if argument and topology:
        raise UsageError(f"two topologies are given: {argument} and --topo {topology}")
    from netlab.lab.client import Client, open_client
    from netlab.lab.folders import is_alive, lab_folders, list_labs

    chosen = choose_name(name, argument or topology)
    if chosen is None and not everything:
        alive = [folders for folders in list_labs() if is_alive(folders)]
        chosen = alive[0].lab if len(alive) == 1 else None
    if everything or chosen is None:
        _show_labs(output)
        return
    client: Client = open_client(lab_folders(chosen))
    _show_lab(client.status(), output, wide=wide)


def _show_lab(lab: dict[str, Any], output: Format, *, wide: bool) -> None:
    if output is Format.json:
        write_json(lab)
        return
    say(f"{lab['lab']}: {lab['state']}, {lab['accel']} ({lab['accel_reason']}), pid {lab['pid']}")
    nodes: list[dict[str, Any]] = lab["nodes"]
    if wide:
        _show_interfaces(nodes)
        return
    _show_nodes(nodes)
    for node in nodes:
        for share in node.get("shares", ()):
            path = f"{node['name']}:{share['target']}"
            say(f"{path} is {share['source']} of the host: {share['access']}")
    kept = [
        f"{lab['lab']}/{node['name']}/{serial}" for node in nodes for serial in node.get("kept", ())
    ]
    if kept:
        say(f"stays when the lab goes (`netlab disk`): {', '.join(kept)}")


def _show_interfaces(nodes: list[dict[str, Any]]) -> None:
    write_table(
        ("node", "interface", "mac", "tap", "segment", "addresses"),
        [
            (
                node["name"],
                *(each[key] for key in ("name", "mac", "tap", "segment")),
                _addresses(each),
            )
            for node in nodes
            for each in node["interfaces"]
        ],
    )


def _show_nodes(nodes: list[dict[str, Any]]) -> None:
    write_table(
        ("node", "state", "for", "image", "pid", "addresses", "reason"),
        [
            (
                node["name"],
                node["state"],
                format_seconds(max(0.0, time.time() - node["since"])),
                node["image"],
                node["pid"],
                _node_addresses(node),
                node["reason"],
            )
            for node in nodes
        ],
    )


def _addresses(interface: dict[str, Any]) -> str:
    return " ".join(interface["addresses"])


def _node_addresses(node: dict[str, Any]) -> str:
    """The addresses that a person would ping: the loopback's, else the interfaces', IPv4 first."""
    found: list[str] = node["loopback"] or [
        address for interface in node["interfaces"] for address in interface["addresses"]
    ]
    short = [address for address in found if ":" not in address] or found
    return " ".join(address.partition("/")[0] for address in short)


def _show_labs(output: Format) -> None:
    from netlab.lab.folders import list_labs

    labs = [_describe(folders) for folders in list_labs()]
    if output is Format.json:
        write_json(labs)
    elif labs:
        write_table(
            ("lab", "state", "nodes", "for", "pid", "topology", "reason"),
            [
                (
                    *(each[key] for key in ("lab", "state", "nodes")),
                    _age(each),
                    each["pid"],
                    each["topology"],
                    each["reason"],
                )
                for each in labs
            ],
        )
    else:
        say("no lab is up")


def _describe(folders: LabFolders) -> dict[str, Any]:
    """One lab of many: what its folder says, and its state if it lives."""
    from netlab.lab.client import Client, how_it_ended
    from netlab.lab.folders import is_alive

    about = folders.read_about()
    lab: dict[str, Any] = {
        "lab": folders.lab,
        "state": "died",
        "nodes": None,
        "started": about.get("started"),
        "pid": about.get("pid"),
        "topology": about.get("topology"),
        "reason": "",
    }
    if not is_alive(folders):
        return {**lab, "pid": None, "reason": how_it_ended(folders)}
    try:
        answer = Client(folders).status()
    except ControlError:
        # Its lock is held and its socket about to be made.
        return {**lab, "state": "starting"}
    return {**lab, "state": answer["state"], "nodes": len(answer["nodes"])}


def _age(lab: dict[str, Any]) -> str | None:
    started = lab["started"]
    if not isinstance(started, (int, float)) or lab["state"] == "died":
        return None
    return format_seconds(max(0.0, time.time() - started))
