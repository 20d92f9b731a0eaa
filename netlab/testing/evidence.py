"""All that is needed to understand why a test failed, in a folder, as it was at that moment.

::

    summary.txt              who was how, what happened last, what is in the folder
    plan.json                what the lab was meant to be
    events.jsonl             what happened, with times
    links.txt                the counters of every port of every link
    nodes/r1/guest.txt       addresses, routes, neighbours, sockets, processes, kernel messages
    nodes/r1/console.log     its serial console
    nodes/r1/command.log     its QEMU's command line, at each start
    nodes/r1/qemu.log        what its QEMU printed
    nodes/r1/qmp.log         what was said to its monitor
    nodes/r1/agent.log       what was said to its agent

Whatever cannot be had is said in the summary; collecting never fails and takes a few seconds at
the most.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import trio

from netlab.errors import NetlabError
from netlab.lab.access import LabAccess, NodeAccess
from netlab.lab.events import Event
from netlab.plan.codec import to_json
from netlab.plan.model import Plan
from netlab.sandbox.sandbox import Counters
from netlab.scopes import open_tasks
from netlab.testing.lab import LabDriver

GUEST_LIMIT = 5.0
"""Seconds that a guest has to say how it is."""

LOG_LIMIT = 4 * 1024 * 1024
"""Bytes of a log's end that are kept."""

LAST = 12
"""How many events, and how many lines of a console, the summary shows."""

LOGS = ("console.log", "command.log", "qemu.log", "qmp.log", "agent.log")

_ASK = """
show() { echo "\\$ $*"; "$@" 2>&1; echo; }
show ip address
show ip route show table all
show ip -6 route show table all
show ip neighbour
show ip rule
command -v ss >/dev/null && show ss -tuanp
show ps
dmesg 2>/dev/null | tail -n 100
"""


async def collect_evidence(lab: LabDriver, folder: Path) -> str:
    """Write what there is to know of a lab that lives; it never raises but when cancelled.

    Args:
        lab: Which.
        folder: Where to; made when it is not there.

    Returns:
        The summary, which says what could not be had or written, itself perhaps.
    """
    live = lab.lab
    missing: list[str] = []
    guests: dict[str, str] = {}

    async def ask(node: NodeAccess) -> None:
        text = await _ask_guest(node)
        if text:
            guests[node.plan.name] = text
        else:
            missing.append(f"guest {node.plan.name}: {await _explain(node)}")

    async with open_tasks() as tasks:
        for node in live.nodes.values():
            tasks.start_soon(ask, node)
    counters = await _count(live, missing)
    states = [f"{name}: {_describe(node)}" for name, node in live.nodes.items()]
    save_files(live.plan, live.folder, live.events, folder, missing)
    for name, text in guests.items():
        _write(folder, f"nodes/{name}/guest.txt", text, missing)
    _write(folder, "links.txt", _show_links(live.plan, counters), missing)
    return _write_summary(folder, live.plan, states, live.events, missing)


def save_files(
    plan: Plan, source: Path, events: Iterable[Event], folder: Path, missing: list[str]
) -> None:
    """Write what there is to know of a lab that is gone, from what it wrote.

    Args:
        plan: What it was.
        source: Its folder.
        events: What happened.
        folder: Where to; made when it is not there.
        missing: Gets what cannot be had.
    """
    for node in plan.nodes:
        for log in LOGS:
            origin = source / "nodes" / node.name / log
            try:
                content = _read_end(origin)
            except FileNotFoundError:
                continue
            except OSError as error:
                missing.append(f"{log} of {node.name}: {error.strerror}")
                continue
            _write(folder, f"nodes/{node.name}/{log}", content, missing)
    _write(folder, "plan.json", to_json(plan), missing)
    lines = "".join(event.to_json() + "\n" for event in events)
    _write(folder, "events.jsonl", lines, missing)


def summarize_gone(plan: Plan, events: Iterable[Event], folder: Path, missing: list[str]) -> str:
    """Write the summary of a lab that is gone, and return it."""
    states = ["the lab had ended before it could be asked"]
    return _write_summary(folder, plan, states, events, missing)


async def _ask_guest(node: NodeAccess) -> str:
    with trio.move_on_after(GUEST_LIMIT):
        try:
            result = await node.execute(("/bin/sh", "-c", _ASK))
        except NetlabError:
            return ""
        return result.stdout.decode(errors="replace")
    return ""


async def _explain(node: NodeAccess) -> str:
    with trio.move_on_after(GUEST_LIMIT):
        try:
            return await node.diagnose() or f"it did not answer within {GUEST_LIMIT:g} s"
        except NetlabError as error:
            return error.message
    return "nothing of it answers"


async def _count(live: LabAccess, missing: list[str]) -> Mapping[str, Counters]:
    with trio.move_on_after(GUEST_LIMIT):
        try:
            return await live.counters()
        except NetlabError as error:
            missing.append(f"counters: {error.message}")
    return {}


def _describe(node: NodeAccess) -> str:
    reason = node.reason()
    return f"{node.state}: {reason}" if reason else node.state


def _show_links(plan: Plan, counters: Mapping[str, Counters]) -> str:
    taps = {each.tap: f"{node.name}:{each.name}" for node in plan.nodes for each in node.interfaces}
    lines = ["what the guests sent (rx) and got (tx)", ""]
    for segment in plan.segments:
        lines.append(f"{segment.name} ({segment.bridge})")
        for port in segment.ports:
            counted = counters.get(port.tap)
            shown = "unknown" if counted is None else _show_counters(counted)
            lines.append(f"  {taps.get(port.tap, port.tap)} ({port.tap}): {shown}")
    return "\n".join(lines) + "\n"


def _show_counters(counters: Counters) -> str:
    return ", ".join(f"{name} {getattr(counters, name)}" for name in Counters.__slots__)


def _summarize(
    plan: Plan, states: Sequence[str], events: Iterable[Event], missing: Sequence[str]
) -> str:
    last = list(events)[-LAST:]
    began = last[-1].time if last else 0.0
    happened = [
        f"{event.time - began:+8.2f} s  {event.node or event.kind}: {event.message}"
        for event in last
    ]
    parts = [
        (f"lab {plan.lab} of {plan.topology}", states),
        ("what happened last", happened),
        ("what could not be had", missing),
    ]
    return "\n".join(
        "\n".join([title, *(f"  {line}" for line in lines), ""]) for title, lines in parts if lines
    )


def _read_end(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_LIMIT))
        return file.read()


def _write_summary(
    folder: Path,
    plan: Plan,
    states: Sequence[str],
    events: Iterable[Event],
    missing: list[str],
) -> str:
    before = len(missing)
    text = _summarize(plan, states, events, missing)
    _write(folder, "summary.txt", text, missing)
    return text if len(missing) == before else _summarize(plan, states, events, missing)


def _write(folder: Path, name: str, content: str | bytes, missing: list[str]) -> None:
    path = folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else content.encode(errors="replace")
        path.write_bytes(data)
    except OSError as error:
        missing.append(f"{name} cannot be written: {error.strerror}")
