"""A line for each result as it comes: with colours and what runs now on a terminal."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Protocol, TextIO

from netlab.cli.failure import make_printable
from netlab.cli.output import format_seconds
from netlab.testing.results import TESTS, Result, Verdict

if TYPE_CHECKING:
    from rich.console import Console

WORDS: dict[Verdict, str] = {
    "passed": "passed",
    "failed": "FAILED",
    "error": "ERROR",
    "interrupted": "STOPPED",
    "skipped": "skipped",
}
_COLOURS: dict[Verdict, str] = {
    "passed": "green",
    "failed": "bold red",
    "error": "bold red",
    "interrupted": "bold yellow",
    "skipped": "dim",
}

_SHOWN = 12
"""Lines of evidence on a terminal; the reports have all."""

_INDENT = 9
_TITLE = " " * 19


class Lines(Protocol):
    """Something that shows results."""

    def begin(self, title: str) -> None:
        """Say what runs now."""
        ...

    def show(self, result: Result) -> None:
        """Show a result, and why it is not passed."""
        ...

    def explain(self, result: Result) -> None:
        """Show only why, below the title: the rest has been shown."""
        ...

    def tell(self, line: str) -> None:
        """Show what is told meanwhile; may be called from several threads."""
        ...


@contextmanager
def open_lines(stream: TextIO) -> Generator[Lines]:
    """Show results for the length of a block."""
    if not stream.isatty():
        yield PlainLines(stream)
        return
    # Imported here: only a terminal needs it.
    from rich.console import Console

    lines = LiveLines(Console(file=stream, highlight=False))
    try:
        yield lines
    finally:
        lines.begin("")


def headline(result: Result) -> tuple[str, str]:
    """Return the verdict's word, and the rest of the line."""
    seconds = format_seconds(result.seconds) if result.began else "-"
    return f"{WORDS[result.verdict]:<8}", f"{seconds:>9}  {make_printable(result.title)}"


def details(result: Result) -> list[str]:
    """Return the lines below the headline: why, where, and what shows it."""
    if not result.message:
        return []
    place = f"{result.place}: " if result.place and result.verdict != "skipped" else ""
    lines = [make_printable(f"{place}{result.message}")]
    lines += [f"  {line}".rstrip() for line in _excerpt(result)]
    if result.folder is not None:
        lines.append(f"evidence in {make_printable(str(result.folder))}")
    return lines


def _excerpt(result: Result) -> list[str]:
    """Return some lines of evidence: the first of an output, the last of a traceback."""
    lines = [f"| {line}" for line in make_printable(result.evidence).splitlines()]
    more = len(lines) - _SHOWN
    if more <= 0:
        return lines
    if result.suite == TESTS:
        return [f"… {more} more lines", *lines[more:]]
    return [*lines[:_SHOWN], f"… {more} more lines"]


def _indent(lines: Sequence[str]) -> list[str]:
    return [f"{' ' * _INDENT}{line}" for line in lines]


class PlainLines:
    """Text, a line at a time."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = Lock()

    def begin(self, title: str) -> None:
        """Say nothing: a line is a result."""

    def show(self, result: Result) -> None:
        """Print it."""
        word, rest = headline(result)
        self._print([f"{word}{rest}", *_indent(details(result))])

    def explain(self, result: Result) -> None:
        """Print the title and the reason."""
        self._print([f"{_TITLE}{make_printable(result.title)}:", *_indent(details(result))])

    def tell(self, line: str) -> None:
        """Print it."""
        self._print(_indent([make_printable(line)]))

    def _print(self, lines: Sequence[str]) -> None:
        # In one piece: another thread's line is a line of its own.
        with self._lock:
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()


class LiveLines:
    """Lines in colour, and below them what runs now."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("")
        self._running = False

    def begin(self, title: str) -> None:
        """Show that it runs; nothing runs when the title is empty."""
        from rich.text import Text

        if title:
            shown = Text(f"{make_printable(title)} …", style="dim", no_wrap=True)
            shown.overflow = "ellipsis"
            self._status.update(shown)
        if bool(title) != self._running:
            (self._status.start if title else self._status.stop)()
            self._running = bool(title)

    def show(self, result: Result) -> None:
        """Print it above what runs."""
        from rich.text import Text

        word, rest = headline(result)
        self._console.print(Text.assemble((word, _COLOURS[result.verdict]), rest))
        self._print_details(result)

    def explain(self, result: Result) -> None:
        """Print the title and the reason above what runs."""
        from rich.text import Text

        self._console.print(Text(f"{_TITLE}{make_printable(result.title)}:"))
        self._print_details(result)

    def tell(self, line: str) -> None:
        """Print it above what runs."""
        from rich.text import Text

        self._console.print(Text(f"{' ' * _INDENT}{make_printable(line)}", style="dim"))

    def _print_details(self, result: Result) -> None:
        from rich.padding import Padding
        from rich.text import Text

        for line in details(result):
            shown = Text(line, style="dim", overflow="fold")
            self._console.print(Padding(shown, (0, 0, 0, _INDENT), expand=False))
