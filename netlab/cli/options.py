"""Options and arguments that several verbs share, with one meaning everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netlab.cli.candidates import complete_files, complete_labs, complete_nodes
from netlab.errors import UsageError

if TYPE_CHECKING:
    from netlab.lab.options import Options

DEFAULT_TIMEOUT = 300.0
"""Seconds that nodes have to become ready: for slow hosts without KVM, not for patience."""


class AccelChoice(StrEnum):
    """An accelerator that can be insisted on."""

    kvm = "kvm"
    tcg = "tcg"


class Format(StrEnum):
    """How a listing is written to standard output."""

    table = "table"
    json = "json"


TopologyArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[TOPOLOGY]",
        help="The topology file; when left out, the one in the working directory.",
        autocompletion=complete_files,
        show_default=False,
    ),
]

LabNameArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[LAB]",
        help="The lab; when left out, the only one that is up.",
        autocompletion=complete_labs,
        show_default=False,
    ),
]

LabArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[TOPOLOGY]",
        help="The lab's topology file, or its name; when left out, the only lab that is up.",
        autocompletion=complete_files,
        show_default=False,
    ),
]

TopologyOption = Annotated[
    str | None,
    typer.Option(
        "-t",
        "--topo",
        metavar="FILE",
        help="The topology file, instead of the argument.",
        autocompletion=complete_files,
    ),
]

NewNameOption = Annotated[
    str | None,
    typer.Option(
        "-n", "--name", metavar="LAB", help="The lab's name; by default the file's `name`."
    ),
]

NameOption = Annotated[
    str | None,
    typer.Option(
        "-n",
        "--name",
        metavar="LAB",
        help="The lab's name; by default that of --topo, or the only lab that is up.",
        autocompletion=complete_labs,
    ),
]

LongTopologyOption = Annotated[
    str | None,
    typer.Option(
        "--topo",
        metavar="FILE",
        help="The topology file whose lab is meant.",
        autocompletion=complete_files,
    ),
]
"""Where -t is a terminal, as docker and kubectl have it."""

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "-s", "--set", metavar="NAME=VALUE", help="Set a variable of the file; repeatable."
    ),
]

FilterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--node-filter",
        metavar="NODES",
        help="Only these nodes: names, globs or ranges (r1,fw*,r[1-6]); repeatable.",
        autocompletion=complete_nodes,
    ),
]

FormatOption = Annotated[
    Format,
    typer.Option("-f", "--format", help="A table for people, or JSON for programs."),
]

OutputOption = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Write to this file, not to standard output.",
        autocompletion=complete_files,
    ),
]

YesOption = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")]

WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--max-workers", min=1, metavar="COUNT", help="How many nodes at once; default: by CPUs."
    ),
]

TimeoutOption = Annotated[
    float, typer.Option(min=0.0, metavar="SECONDS", help="Until every node must be ready.")
]

AccelOption = Annotated[
    AccelChoice | None, typer.Option(help="Insist on an accelerator; default: what works.")
]

OvercommitOption = Annotated[
    bool, typer.Option("--overcommit", help="Start although there is not enough memory.")
]


def check_timeout(timeout: float) -> None:
    """Refuse a number that is none.

    Raises:
        UsageError: It is infinite, or not a number.
    """
    if not math.isfinite(timeout):
        raise UsageError(f"--timeout {timeout}: expected seconds")


def make_options(accel: AccelChoice | None, max_workers: int | None, overcommit: bool) -> Options:
    """Return how a lab is brought to life, of the three options that say so."""
    # Imported here: completion and help need none of it.
    from netlab.lab.options import Options

    return Options(
        accel=accel.value if accel else None, max_workers=max_workers, overcommit=overcommit
    )


def parse_variables(settings: Sequence[str] | None, option: str = "-s") -> dict[str, str]:
    """Return the variables of repeated ``NAME=VALUE`` options; the last of a name wins.

    Args:
        settings: The options' values.
        option: What the option is called, for the message.

    Raises:
        UsageError: One has no ``=`` or no name, or bytes that are no text.
    """
    variables: dict[str, str] = {}
    for setting in settings or ():
        name, equals, value = setting.partition("=")
        if not (name and equals):
            raise UsageError(f"{option} {setting}: expected NAME=VALUE")
        if _is_torn(setting):
            raise UsageError(f"{option} {setting}: this is not text in UTF-8")
        variables[name] = value
    return variables


def _is_torn(text: str) -> bool:
    """Whether bytes of the command line that are no text stand in it, as lone surrogates."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)
