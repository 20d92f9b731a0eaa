"""What leaves netlab: listings on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import pairwise

from netlab.cli.failure import make_printable

STYLES = {
    "ready": "green",
    "ok": "green",
    "booting": "yellow",
    "configuring": "yellow",
    "starting": "yellow",
    "queued": "dim",
    "warning": "yellow",
    "degraded": "red",
    "failed": "red",
    "missing": "red",
    "died": "red",
    "stopped": "dim",
}
"""Colours of words that are states; on a terminal only, and not when NO_COLOR is set."""


def say(text: str) -> None:
    """Print a line for people, on standard error."""
    print(make_printable(text), file=sys.stderr, flush=True)


def write_json(value: object) -> None:
    """Write a value as JSON to standard output."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # Bytes of a file's name that are no text are lone surrogates, which JSON can escape.
    print(text.encode(errors="backslashreplace").decode())


def write_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write rows to standard output: with colours on a terminal, as plain columns elsewhere.

    Args:
        columns: The headings.
        rows: Cells; None is shown as ``-``.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _write_rich(columns, cells)
    else:
        print(format_table(columns, cells))


def format_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return aligned columns as text: no colour, nothing cut off, no trailing space."""
    lines = [[heading.upper() for heading in columns], *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    # A cell is one line whatever is in it.
    return make_printable(str(value)).replace("\n", " ").replace("\t", " ")


def _write_rich(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    # Imported here: only a terminal needs it.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in columns:
        table.add_column(heading.upper(), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    Console().print(table)


def format_seconds(seconds: float) -> str:
    """Return a duration for people: ``3.2 s``, ``4 min 10 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    whole = int(seconds)
    for (large, size), (small, part) in pairwise(units):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {large}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"
