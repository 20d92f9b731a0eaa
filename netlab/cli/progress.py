"""How `netlab up` shows what happens: a live line a node on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from netlab.cli.failure import make_printable
from netlab.cli.output import STYLES, format_seconds, say

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from netlab.plan.model import Plan


class Progress(Protocol):
    """Something that shows events."""

    def record(self, event: dict[str, Any]) -> None:
        """Show an event: ``time``, ``kind``, ``node``, ``state``, ``message``."""
        ...


@contextmanager
def open_progress(plan: Plan) -> Generator[Progress]:
    """Show a lab's start on standard error for the length of a block."""
    if not sys.stderr.isatty():
        yield PlainProgress()
        return
    # Imported here: only a terminal needs it.
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    progress = LiveProgress([node.name for node in plan.nodes], console)
    with Live(get_renderable=progress.render, console=console, refresh_per_second=8):
        yield progress


class PlainProgress:
    """One line when something changes."""

    def __init__(self) -> None:
        self._began = time.time()

    def record(self, event: dict[str, Any]) -> None:
        """Print it, with the seconds since the start."""
        subject = event["node"] or event["kind"]
        state = f"{event['state']}: " if event["state"] else ""
        if event["message"] == event["state"]:
            state = ""
        elapsed = max(0.0, event["time"] - self._began)
        say(f"{elapsed:7.1f} s  {subject}: {state}{event['message']}")


class LiveProgress:
    """A line for each node, with its state, its seconds and its last message.

    Attributes:
        began: Seconds since the epoch.
    """

    def __init__(self, nodes: list[str], console: Console) -> None:
        self.began = time.time()
        self._console = console
        self._states = dict.fromkeys(nodes, "queued")
        self._since = dict.fromkeys(nodes, self.began)
        self._messages = dict.fromkeys(nodes, "")
        self._lab = "starting"

    def record(self, event: dict[str, Any]) -> None:
        """Keep it; the next refresh shows it."""
        message = make_printable(str(event["message"])).partition("\n")[0]
        node = event["node"]
        if node not in self._states:
            self._lab = f"{event['kind']}: {message}"
            return
        self._states[node] = event["state"] or self._states[node]
        self._since[node] = event["time"]
        self._messages[node] = "" if message == event["state"] else message

    def render(self) -> RenderableType:
        """Return what the terminal shows now; nodes that are not ready come first in a big lab."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, show_header=False)
        for node in self._shown():
            state = self._states[node]
            end = self._since[node] if state == "ready" else time.time()
            table.add_row(
                Text(node),
                Text(state, style=STYLES.get(state, "")),
                Text(format_seconds(max(0.0, end - self.began)), justify="right"),
                Text(self._messages[node], style="dim", no_wrap=True, overflow="ellipsis"),
            )
        ready = sum(state == "ready" for state in self._states.values())
        summary = f"{ready} of {len(self._states)} ready  {self._lab if not ready else ''}"
        line = Text(summary.rstrip(), style="bold", no_wrap=True, overflow="ellipsis")
        return Group(table, line)

    def _shown(self) -> list[str]:
        room = max(1, self._console.height - 3)
        nodes = list(self._states)
        if len(nodes) <= room:
            return nodes
        return sorted(nodes, key=lambda node: self._states[node] == "ready")[:room]
