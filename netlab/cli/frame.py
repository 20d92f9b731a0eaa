"""What every verb is made with: a typer application whose help teaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeVar

import typer
from typer.main import get_command

from netlab.cli.verbs import Verb

CODES = {
    0: "done",
    1: "a check failed",
    2: "the input is wrong: a file, a name or the command line",
    3: "the host lacks something",
    4: "a machine or netlab itself failed",
    130: "interrupted",
}

_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 96}

_Function = TypeVar("_Function", bound=Callable[..., Any])


def make_app(summary: str | None = None) -> typer.Typer:
    """Return an empty application; a verb's module calls it ``app``.

    Args:
        summary: What a group of several commands is for.
    """
    # Rich help and tracebacks would import rich at every start.
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=_SETTINGS,
        help=summary,
    )
    if summary is not None:
        app.callback()(_nothing)
    return app


def _nothing() -> None:
    """A group of commands does nothing by itself."""


def add_verb(
    app: typer.Typer,
    *,
    examples: Sequence[tuple[str, str]],
    codes: Mapping[int, str] | Sequence[int],
    name: str | None = None,
    interspersed: bool = True,
) -> Callable[[_Function], _Function]:
    """Return a decorator that makes a function a verb of an application.

    Args:
        app: From :func:`make_app`.
        examples: Command lines, each with what it does.
        codes: Exit codes; with a meaning where it differs from the general one.
        name: The command's name inside a group.
        interspersed: Whether options may follow arguments; not so where the arguments are a
            command line of its own.
    """
    settings = {**_SETTINGS, "allow_interspersed_args": interspersed}
    return app.command(name, epilog=teach(examples, codes), context_settings=settings)


def teach(examples: Sequence[tuple[str, str]], codes: Mapping[int, str] | Sequence[int]) -> str:
    r"""Return the end of a help page: examples and exit codes.

    ``\b`` at the beginning of a paragraph keeps its lines as they are.
    """
    meanings = codes if isinstance(codes, Mapping) else {code: CODES[code] for code in codes}
    lines = ["\b", "Examples:"]
    width = max(len(line) for line, _ in examples)
    for line, meaning in examples:
        if width > 44:
            lines += [f"  # {meaning}", f"  {line}"]
        else:
            lines.append(f"  {line:<{width}}   {meaning}")
    lines += ["", "\b", "Exit codes:"]
    lines += [f"  {code:<4} {meaning or CODES[code]}" for code, meaning in meanings.items()]
    return "\n".join(lines)


def load_command(verb: Verb) -> Any:
    """Import a verb's module and return its command: typer keeps the type of it to itself."""
    module = import_module(f"netlab.cli.{verb.module}")
    return get_command(module.app)
