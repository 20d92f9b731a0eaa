"""`netlab graph`: a topology as mermaid, dot or SVG."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from netlab.cli.files import write_text
from netlab.cli.frame import add_verb, make_app
from netlab.cli.options import (
    FilterOption,
    NewNameOption,
    OutputOption,
    SetOption,
    TopologyArgument,
    TopologyOption,
    parse_variables,
)
from netlab.cli.topologies import find_topology, load_plan
from netlab.errors import UsageError

app = make_app()


class Language(StrEnum):
    """What a picture is written in."""

    mermaid = "mermaid"
    dot = "dot"
    svg = "svg"


SUFFIXES = {
    ".svg": Language.svg,
    ".dot": Language.dot,
    ".gv": Language.dot,
    ".mmd": Language.mermaid,
    ".md": Language.mermaid,
}


@add_verb(
    app,
    examples=(
        ("netlab graph ring.yaml -o ring.svg", "a picture, light or dark as the reader has it"),
        ("netlab graph ring.yaml", "Mermaid, for Markdown pages"),
        ("netlab graph -f dot | neato -Tpdf > ring.pdf", "through Graphviz"),
    ),
    codes=(0, 2),
)
def graph(
    argument: TopologyArgument = None,
    topology: TopologyOption = None,
    name: NewNameOption = None,
    settings: SetOption = None,
    node_filter: FilterOption = None,
    output: OutputOption = None,
    language: Annotated[
        Language | None,
        typer.Option("-f", "--format", help="By default what the file's name says, or mermaid."),
    ] = None,
) -> None:
    """Draw a topology: nodes, links with their interfaces, and shared segments."""
    if language is None:
        language = _language_of(output)
    path = find_topology(argument, topology)
    plan = load_plan(path, variables=parse_variables(settings), lab=name, nodes=node_filter)
    # Imported here: a mistake in the file needs no painter.
    from netlab.cli.drawing.dot import write_dot
    from netlab.cli.drawing.mermaid import write_mermaid
    from netlab.cli.drawing.model import draw
    from netlab.cli.drawing.svg import write_svg

    writers = {Language.svg: write_svg, Language.dot: write_dot, Language.mermaid: write_mermaid}
    write_text(writers[language](draw(plan)), output)


def _language_of(output: Path | None) -> Language:
    suffix = output.suffix.lower() if output else ""
    if suffix and suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise UsageError(f"{output}: nothing is drawn as {suffix}", hint=f"{known}, or --format")
    return SUFFIXES.get(suffix, Language.mermaid)
