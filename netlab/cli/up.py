"""`netlab up`: start a lab."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from netlab.cli.frame import add_verb, make_app
from netlab.cli.options import (
    DEFAULT_TIMEOUT,
    AccelOption,
    FilterOption,
    Format,
    FormatOption,
    NewNameOption,
    OvercommitOption,
    SetOption,
    TimeoutOption,
    TopologyArgument,
    TopologyOption,
    WorkersOption,
    check_timeout,
    make_options,
    parse_variables,
)
from netlab.cli.output import format_seconds, say, write_json
from netlab.cli.topologies import find_topology, load_plan

if TYPE_CHECKING:
    from netlab.lab.start import Start
    from netlab.plan.model import Plan

app = make_app()


@add_verb(
    app,
    examples=(
        ("netlab up", "the topology in the working directory"),
        ("netlab up ring.yaml", "that one; returns when every node is ready"),
        ("netlab up ring.yaml --name ring2", "a second lab of the same file"),
        ("netlab up ring.yaml --node-filter 'r[1-3]'", "a part of it"),
        ("netlab up ring.yaml --dry-run", "say what would be started"),
    ),
    codes={
        0: "every node is ready; also when the same lab is up already",
        2: "mistakes in the topology, or another plan is up under this name",
        3: "the host lacks something: nothing was started",
        4: "a node failed or was not ready in time: everything has been taken back",
        130: "interrupted: everything has been taken back",
    },
)
def up(
    argument: TopologyArgument = None,
    topology: TopologyOption = None,
    name: NewNameOption = None,
    settings: SetOption = None,
    node_filter: FilterOption = None,
    max_workers: WorkersOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    accel: AccelOption = None,
    overcommit: OvercommitOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    output: FormatOption = Format.table,
) -> None:
    """Start a lab and return when every node is ready; the lab goes on until `netlab down`."""
    check_timeout(timeout)
    path = find_topology(argument, topology)
    plan = load_plan(path, variables=parse_variables(settings), lab=name, nodes=node_filter)
    for warning in plan.warnings:
        say(f"{path}: {warning}")
    if dry_run:
        _describe(plan, output)
        return
    from netlab.lab.start import Start
    from netlab.plan.files import anchor

    options = make_options(accel, max_workers, overcommit)
    plan = anchor(plan, str(path.absolute().parent))
    start = Start(plan=plan, topology=str(path.resolve()), options=options, timeout=timeout)
    _start(start, output)


def _start(start: Start, output: Format) -> None:
    from netlab.cli.progress import open_progress
    from netlab.lab.start import start_lab

    began = time.monotonic()
    ready: dict[str, Any] = {}
    # Closed whatever happens, a Ctrl-C while a line is printed too: that takes everything back.
    records = cast("Generator[dict[str, Any]]", start_lab(start))
    with closing(records) as found, open_progress(start.plan) as progress:
        for record in found:
            if "event" in record:
                progress.record(record["event"])
            else:
                ready = record
    _finish(start.plan, ready, time.monotonic() - began, output)


def _finish(plan: Plan, ready: dict[str, Any], seconds: float, output: Format) -> None:
    if output is Format.json:
        write_json(ready["ready"])
    count = f"{len(plan.nodes)} node{'s' if len(plan.nodes) != 1 else ''}"
    if ready.get("joined"):
        say(f"{plan.lab} is up already: {count}")
    else:
        say(f"{plan.lab} is up: {count} in {format_seconds(seconds)}")
    say(f"  netlab exec {plan.lab}/{plan.nodes[0].name} -- ip -br addr")


def _describe(plan: Plan, output: Format) -> None:
    if output is Format.json:
        from netlab.cli.plan import describe

        write_json(describe(plan))
        return
    from netlab.lab.capacity import memory_available, memory_needed
    from netlab.lab.promises import memory_promised

    say(
        f"{plan.lab}: would start {len(plan.nodes)} nodes on {len(plan.segments)} segments; "
        f"{memory_needed(plan)} MiB of memory of "
        f"{memory_available() - memory_promised()} MiB available"
    )
