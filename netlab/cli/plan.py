"""`netlab plan`: everything a lab would be, without starting it."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netlab.cli.failure import make_printable
from netlab.cli.frame import add_verb, make_app
from netlab.cli.options import (
    FilterOption,
    Format,
    NewNameOption,
    SetOption,
    TopologyArgument,
    TopologyOption,
    parse_variables,
)
from netlab.cli.output import say, write_json, write_table
from netlab.cli.topologies import find_topology, load_plan

if TYPE_CHECKING:
    from netlab.plan.model import NodePlan, Plan

app = make_app()


@add_verb(
    app,
    examples=(
        ("netlab plan ring.yaml", "nodes, interfaces and segments"),
        ("netlab plan ring.yaml --commands", "and each node's QEMU command line"),
        ("netlab plan ring.yaml -f json", "all of it, for programs and for diff"),
        ("netlab plan -s memory=256 --name big", "with a variable set and another lab name"),
    ),
    codes=(0, 2),
)
def plan(
    argument: TopologyArgument = None,
    topology: TopologyOption = None,
    name: NewNameOption = None,
    settings: SetOption = None,
    node_filter: FilterOption = None,
    commands: Annotated[
        bool, typer.Option("--commands", help="Show the QEMU command lines too.")
    ] = False,
    output: Annotated[
        Format,
        typer.Option("-f", "-o", "--format", help="A table for people, or JSON for programs."),
    ] = Format.table,
) -> None:
    """Show everything a lab would be: the same text gives the same plan on every machine."""
    path = find_topology(argument, topology)
    found = load_plan(path, variables=parse_variables(settings), lab=name, nodes=node_filter)
    for warning in found.warnings:
        say(f"{path}: {warning}")
    if output is Format.json:
        write_json(describe(found))
    else:
        _show(found, commands=commands)


def describe(plan: Plan) -> dict[str, Any]:
    """Return the plan's JSON with the command lines beside it."""
    from netlab.plan.codec import to_json

    return {
        **json.loads(to_json(plan)),
        "commands": {n.name: list(command_line(n)) for n in plan.nodes},
    }


def command_line(node: NodePlan) -> tuple[str, ...]:
    """Return a node's QEMU command line; the image's files are placeholders.

    Which accelerator ``auto`` means is the host's matter: the plan shows the one without KVM.
    """
    from netlab.machine.argv import argv, channels
    from netlab.machine.boot import FirmwareFiles, ImageFiles, choose_boot
    from netlab.machine.shares import choose_shares

    image = _image(node)
    files = ImageFiles(
        kernel=f"{{{image}:kernel}}",
        packed_kernel=f"{{{image}:packed_kernel}}",
        initrd=f"{{{image}:initrd}}",
        append=f"{{{image}:append}}",
        disk=f"{{{image}:disk}}",
    )
    firmware = FirmwareFiles(
        code=node.firmware.code or "{uefi:code}", template=node.firmware.vars or "{uefi:vars}"
    )
    boot = choose_boot(
        node,
        files if node.image else None,
        own=lambda name: f"{{{node.name}:{name}}}",
        firmware=None if node.firmware.kind == "bios" else firmware,
        netboot=lambda name: f"{{{name}:netboot}}",
    )
    boot = replace(boot, shares=choose_shares(node, "{virtiofsd}"))
    accel = "kvm" if node.accel == "kvm" else "tcg"
    return argv(node, boot, accel=accel, channels=channels(node))


def _image(node: NodePlan) -> str:
    from netlab.plan.catalogue import stored_name

    return "none" if node.image is None else stored_name(node.image, node.arch)


def _show(plan: Plan, *, commands: bool) -> None:
    write_table(
        ("node", "id", "image", "cpus", "memory", "loopback"),
        [
            (n.name, n.id, _image(n), n.cpus, f"{n.memory} MiB", " ".join(n.loopback))
            for n in plan.nodes
        ],
    )
    print()
    write_table(
        ("node", "interface", "mac", "tap", "segment", "addresses"),
        [
            (n.name, each.name, each.mac, each.tap, each.segment, " ".join(each.addresses))
            for n in plan.nodes
            for each in n.interfaces
        ],
    )
    print()
    write_table(
        ("segment", "bridge", "mtu", "ports"),
        [
            (each.name, each.bridge, each.mtu, " ".join(port.tap for port in each.ports))
            for each in plan.segments
        ],
    )
    _show_disks(plan)
    _show_shares(plan)
    for node in plan.nodes if commands else ():
        print(f"\n{node.name}:\n{make_printable(shlex.join(command_line(node)))}")


def _show_disks(plan: Plan) -> None:
    if not any(node.disks for node in plan.nodes):
        return
    print()
    write_table(
        ("node", "disk", "bus", "size", "serial", "kept"),
        [
            (
                node.name,
                disk.file or disk.source,
                disk.bus,
                f"{disk.size} MiB" if disk.size else None,
                disk.serial,
                "for ever" if disk.persist else "with the lab",
            )
            for node in plan.nodes
            for disk in node.disks
        ],
    )


def _show_shares(plan: Plan) -> None:
    """Show which source each path has that a share is meant for, and what follows from that."""
    from netlab.plan.snapshots import snapshot_obstacles

    if not any(node.shares for node in plan.nodes):
        return
    print()
    write_table(
        ("node", "path", "provided by", "source", "access", "tag"),
        [
            (
                node.name,
                share.target,
                share.provided_by,
                share.source,
                share.access,
                share.tag,
            )
            for node in plan.nodes
            for share in node.shares
        ],
    )
    for node in plan.nodes:
        if obstacles := snapshot_obstacles(node):
            say(f"{node.name} cannot be saved with its memory: {', '.join(obstacles)}")
