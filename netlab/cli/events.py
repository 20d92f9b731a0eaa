"""`netlab events`: what happened in a lab, as it happens."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from netlab.cli.failure import make_printable
from netlab.cli.frame import add_verb, make_app
from netlab.cli.labs import choose_name, find_client
from netlab.cli.options import Format, FormatOption, NameOption, TopologyOption
from netlab.errors import UnknownNameError

app = make_app()


@add_verb(
    app,
    examples=(
        ("netlab events", "what happened so far in the only lab that is up"),
        ("netlab events --follow", "and what happens, until the lab ends or Ctrl-C"),
        ("netlab events -F -f json | jq .state", "one JSON object a line"),
        ("netlab events --name ring", "also of a lab that died: how it came to it"),
    ),
    codes={
        0: "printed",
        2: "no such lab",
        4: "the lab process does not answer",
        130: "interrupted",
    },
)
def events(
    name: NameOption = None,
    topology: TopologyOption = None,
    follow: Annotated[bool, typer.Option("-F", "--follow", help="Go on as they happen.")] = False,
    output: FormatOption = Format.table,
) -> None:
    """Print the events of a lab: images, links, nodes and their states."""
    chosen = choose_name(name, topology)
    found = find_client(chosen).events() if follow else _read(chosen)
    for event in found:
        line = json.dumps(event, ensure_ascii=False) if output is Format.json else render(event)
        print(line, flush=follow)


def _read(name: str | None) -> Iterator[dict[str, Any]]:
    """Read a lab's log: it is there when the lab process is busy, and when it is dead."""
    from netlab.lab.client import find_lab
    from netlab.lab.folders import lab_folders

    folders = find_lab(None).folders if name is None else lab_folders(name)
    try:
        text = folders.events.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise UnknownNameError(
            f"there is no lab {folders.lab}", hint="`netlab status --all` lists the labs"
        ) from None
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            # The last line of a log whose writer was killed may be half a line.
            print(f"netlab: {folders.events}: a broken line", file=sys.stderr)


def render(event: dict[str, Any]) -> str:
    """Return an event as a line for people: time, what it is about, state, message."""
    moment = time.strftime("%H:%M:%S", time.localtime(event["time"]))
    fraction = f"{event['time'] % 1:.3f}"[1:]
    subject = event["node"] or event["kind"]
    state = event["state"] or ""
    message = event["message"].replace("\n", " ")
    return make_printable(f"{moment}{fraction}  {subject:<12} {state:<12} {message}".rstrip())
