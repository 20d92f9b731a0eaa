"""The live part of `netlab export --to`: nodes as machines on a host, and how far it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from netlab.cli.bars import open_bar
from netlab.cli.export import TOKEN_VARIABLE, PushWords, Selection
from netlab.cli.exportable import PlannedNodes, RunningNodes, find_nodes
from netlab.cli.exporting import print_line, say_pause
from netlab.cli.failure import make_printable
from netlab.cli.interrupts import run_interruptibly
from netlab.cli.options import Format
from netlab.cli.output import say, write_json
from netlab.errors import UsageError
from netlab.image.store import open_store
from netlab.proxmox.api import Host, read_fingerprint, split_address
from netlab.proxmox.calls import BASE, Call
from netlab.proxmox.networks import parse_mapping
from netlab.proxmox.push import Progress, Report
from netlab.proxmox.pushing import (
    Planned,
    PushedNodes,
    PushRequest,
    plan_calls,
    push_nodes,
    push_plan,
)

_STEP = 50
"""Lines of progress for programs, of the whole of a file."""

_Nodes = RunningNodes | PlannedNodes


def push(
    selection: Selection, place: PushWords, mapping: str, words: dict[str, Any], output: Format
) -> None:
    """Make machines of nodes on a host of Proxmox, or print the calls that would.

    Args:
        selection: Which nodes.
        place: Which host, and how it is spoken with.
        mapping: Segments with their networks.
        words: More of the request.
        output: How is said what is done.

    Raises:
        NetlabError: As :func:`netlab.proxmox.pushing.push_nodes` has it.
        KeyboardInterrupt: It was interrupted, and what was made has been taken back.
    """
    request = PushRequest(
        node=place.node or "",
        import_storage=place.import_storage or "local",
        start=place.start,
        mapping=parse_mapping(mapping),
        **words,
    )
    if place.dry_run:
        split_address(place.to or "")
        read_fingerprint(place.fingerprint)
        _write_planned(run_interruptibly(partial(_plan, find_nodes(selection), request)), output)
        return
    host = Host(place.to or "", _read_token(place.token_file), place.fingerprint)
    nodes = find_nodes(selection)
    with _open_report(output) as report:
        made = run_interruptibly(partial(_push, nodes, request, host, report))
    if output is Format.json:
        print_line({"event": "done", **_describe(made)})
    else:
        _say(made, request)


def _read_token(file: Path | None) -> str:
    """Return the API token, from a file or the environment; never from the command line.

    Raises:
        UsageError: It is nowhere.
    """
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise UsageError(f"--token-file {file}: {reason}") from error
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        hint = f"--token-file FILE, or {TOKEN_VARIABLE}; a command line would show it to everybody"
        raise UsageError("where is the API token?", hint=hint)
    return token


async def _plan(nodes: _Nodes, request: PushRequest) -> Planned:
    if isinstance(nodes, PlannedNodes):
        return plan_calls(nodes.plan, nodes.names, request)
    async with nodes.open() as (lab, names):
        return plan_calls(lab.plan, names, request, folder=lab.folder)


async def _push(nodes: _Nodes, request: PushRequest, host: Host, report: Report) -> PushedNodes:
    store = open_store()
    if isinstance(nodes, PlannedNodes):
        return await push_plan(nodes.plan, nodes.names, request, host, store=store, report=report)
    async with nodes.open() as (lab, names):
        return await push_nodes(lab, names, request, host, store=store, report=report)


def _write_planned(planned: Planned, output: Format) -> None:
    if output is Format.json:
        write_json({"left_out": planned.left_out, "calls": [*map(_describe_call, planned.calls)]})
        return
    for line in planned.left_out:
        say(line)
    for call in planned.calls:
        print(make_printable(str(call)))


def _describe_call(call: Call) -> dict[str, Any]:
    return {**asdict(call), "path": f"{BASE}{call.path}", "parameters": dict(call.parameters)}


def _say(made: PushedNodes, request: PushRequest) -> None:
    state = "running" if request.start else "stopped"
    for node, vmid in made.machines:
        say(f"{node}: the machine {vmid} on {request.node}, {state}")
    if made.pushed.networks:
        say(f"virtual networks made: {', '.join(made.pushed.networks)}")
    say_pause(made.pause)
    for line in made.pushed.left:
        say(f"left behind: {line}")


def _describe(made: PushedNodes) -> dict[str, Any]:
    machines = [{"node": node, "vmid": vmid} for node, vmid in made.machines]
    return {
        "pause": made.pause,
        "left_out": made.left_out,
        "machines": machines,
        "networks": made.pushed.networks,
        "left": made.pushed.left,
    }


@contextmanager
def _open_report(output: Format) -> Generator[Report]:
    """Show each step and how far its file is: a bar for people, lines elsewhere and for programs.

    What a machine will not have of its node is said at once; what could not be taken back is said
    at last, whatever happens.
    """
    left: list[str] = []
    try:
        with _open_steps(output) as show:

            def report(progress: Progress) -> None:
                if progress.left:
                    left.append(progress.about)
                elif progress.left_out:
                    _say_left_out(progress.about, output)
                else:
                    show(progress)

            yield report
    finally:
        for line in left:
            say(line)


def _say_left_out(line: str, output: Format) -> None:
    if output is Format.json:
        print_line({"event": "left_out", "line": line})
    else:
        say(line)


@contextmanager
def _open_steps(output: Format) -> Generator[Report]:
    if output is not Format.json and sys.stderr.isatty():
        with open_bar() as show:
            yield lambda progress: show(progress.about, progress.done, progress.size)
        return
    last = Progress("")

    def show_line(progress: Progress) -> None:
        nonlocal last
        if output is Format.json and _step(progress) != _step(last):
            record = {"about": progress.about, "done": progress.done, "total": progress.size}
            print_line({"event": "progress", **record})
        elif output is not Format.json and progress.about != last.about:
            say(progress.about)
        last = progress

    yield show_line


def _step(progress: Progress) -> tuple[str, int]:
    return progress.about, progress.done * _STEP // max(progress.size, 1)
