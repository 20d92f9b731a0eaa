"""The part of the language that says what has to be true of a lab: ``checks``."""

from __future__ import annotations

import re
from typing import Annotated, cast

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from netlab.topology.forms import Schema, Several
from netlab.topology.links import Model
from netlab.topology.scalars import (
    Duration,
    NodePattern,
    Percentage,
    Text,
    integer,
    text_of,
)
from netlab.topology.source import WrongError, quote

KINDS = ("ping", "reachable", "unreachable", "command", "converged")
"""The keys that say what is looked at."""

EVERY = "all"
"""In place of nodes: every node of the lab."""

_TARGET = re.compile(r"[A-Za-z0-9\[\]_.:,%-]+")
_LONGEST_NAME = 120


def _check_name(name: str) -> str:
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        hint = f"1 to {_LONGEST_NAME} characters on one line"
        raise WrongError(f"{quote(name)} cannot be a check's name", hint)
    return name.strip()


def _target(value: object) -> str:
    """Return what is pinged; which of them are nodes is known to who knows the nodes."""
    text = text_of(value, "a node, an address or a host name")
    if not _TARGET.fullmatch(text) or text.startswith("-"):
        raise WrongError(f"{quote(text)} is not a node, an address or a host name")
    return text


def _command_line(value: object) -> str | tuple[str, ...]:
    if isinstance(value, list | tuple):
        words = tuple(text_of(word, "a word") for word in cast("list[object]", value))
        empty = not words or not words[0]
    else:
        words = text_of(value, "a command line, or a list of a program and its arguments")
        empty = not words.strip()
    if empty:
        raise WrongError("there is no command to run")
    return words


def _expression(value: object) -> str:
    text = text_of(value, "a regular expression")
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise WrongError(f"{quote(text)} is not a regular expression: {error}") from None
    return text


_SCALAR: Schema = {"type": ["string", "number", "boolean"]}
_SCALARS: Schema = {"type": "array", "items": _SCALAR}

Target = Annotated[str, PlainValidator(_target), WithJsonSchema(_SCALAR)]
CommandLine = Annotated[
    str | tuple[str, ...],
    PlainValidator(_command_line),
    WithJsonSchema({"anyOf": [_SCALAR, _SCALARS]}),
]
Expression = Annotated[str, PlainValidator(_expression), WithJsonSchema(_SCALAR)]


class Ping(Model):
    """Pings that are counted, once."""

    source: Annotated[tuple[NodePattern, ...], Several()] = Field(
        alias="from", description="The node that pings; or several, or all."
    )
    target: Annotated[tuple[Target, ...], Several()] = Field(
        alias="to", description="What is pinged: nodes, addresses or host names."
    )
    count: Annotated[int, *integer("a number of pings", 1, 1000)] = Field(
        default=3, description="How many, one a second; 3 by default."
    )
    loss: Percentage = Field(
        default=0.0, description="The highest loss that passes, such as 20%; 0% by default."
    )


def _also_nodes(schema: Schema) -> None:
    """Make a model's JSON schema accept its short forms, which are nodes."""
    long = dict(schema)
    schema.clear()
    schema["description"] = long["description"]
    schema["anyOf"] = [
        {**_SCALAR, "description": "all, or a range of nodes."},
        {**_SCALARS, "description": "Nodes, each to each other."},
        long,
    ]


class Reach(Model):
    """Who reaches whom; a list alone stands for each to each other."""

    model_config = ConfigDict(json_schema_extra=_also_nodes)

    source: Annotated[tuple[NodePattern, ...], Several()] = Field(
        alias="from", description="The nodes that ping, or all."
    )
    target: Annotated[tuple[Target, ...], Several()] = Field(
        alias="to", description="What they ping: nodes, addresses or host names, or all."
    )
    within: Duration | None = Field(
        default=None,
        description="How long it may take to become true; reachable: 10s, unreachable: one look.",
    )

    @model_validator(mode="before")
    @staticmethod
    def _read_short_form(value: object) -> object:
        short = not isinstance(value, dict)
        return {"from": value, "to": value} if short else cast("object", value)


class Command(Model):
    """A command in a node, and how it has to end."""

    node: Annotated[tuple[NodePattern, ...], Several()] = Field(
        description="The node that it is run in; or several, or all."
    )
    run: CommandLine = Field(
        description="A line for the guest's shell, or a list of a program and its arguments."
    )
    status: Annotated[int, *integer("an exit status", 0, 255)] = Field(
        default=0, description="The exit status that it has to end with; 0 by default."
    )
    output: Text | None = Field(
        default=None,
        description="What it has to print; white space around it does not count.",
    )
    matches: Expression | None = Field(
        default=None,
        description=(
            "A regular expression that its output has to match somewhere; ^ and $ are a line's."
        ),
    )
    within: Duration | None = Field(
        default=None, description="Run it again and again until it holds, so long at the most."
    )


class Converged(Model):
    """Every node reaches every other."""

    within: Duration = Field(
        default=60.0, description="How long that may take, such as 30s; 60s by default."
    )


class Check(Model):
    """Something that has to be true: one of ping, reachable, unreachable, command, converged."""

    name: Annotated[Text, AfterValidator(_check_name)] | None = Field(
        default=None, description="What it is called in reports; made from the rest when left out."
    )
    ping: Ping | None = Field(default=None, description="Pings that are counted, once, now.")
    reachable: Reach | None = Field(
        default=None, description="Who reaches whom: all, a list of nodes, or {from, to}."
    )
    unreachable: Reach | None = Field(
        default=None, description="Who must not reach whom: all, a list of nodes, or {from, to}."
    )
    command: Command | None = Field(
        default=None, description="A command in a node, with its status and output."
    )
    converged: Converged | None = Field(
        default=None, description="Every node reaches every other, within a time."
    )

    @model_validator(mode="before")
    @staticmethod
    def _read_nothing(value: object) -> object:
        """Take ``converged:`` with nothing behind it as written."""
        entries = cast("dict[str, object]", value) if isinstance(value, dict) else {}
        if "converged" in entries and entries["converged"] is None:
            return {**entries, "converged": {}}
        return cast("object", value)

    @model_validator(mode="after")
    def _check_kind(self) -> Check:
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            written = " and ".join(kinds) or "none of them"
            raise WrongError(f"a check has one of {', '.join(KINDS)}, not {written}")
        return self

    @property
    def kind(self) -> str:
        """Which of the kinds it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)
