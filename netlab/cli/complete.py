"""Completion: candidates for the last word of a command line.

The scripts of `netlab completion` run netlab with ``_NETLAB_COMPLETE`` set and the words so far as
arguments, the last one being the word under the cursor. It answers with one candidate a line, a tab
and a description behind it. A line ``:files`` asks the shell to offer file names too. Verbs come
from the table alone; only a verb's own words import its module. Nothing is asked of a lab: the
names of running labs and of their nodes are read from their folders.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from netlab.cli.verbs import VERBS, find_verb

FILES = ":files"
"""Asks the shell to offer file names."""


def complete(words: Sequence[str]) -> int:
    """Print candidates for the last word; never an error: there is nobody to read it."""
    with contextlib.suppress(Exception):
        for candidate in candidates(list(words) or [""]):
            print(candidate)
    return 0


def candidates(words: list[str]) -> Iterator[str]:
    """Yield candidates for the last word, as ``value`` or ``value<TAB>description``."""
    *before, incomplete = words
    if not before:
        yield from _complete_verb(incomplete)
        return
    verb = find_verb(before[0])
    if verb is None:
        return
    # Imported here: completing a verb needs no typer.
    from netlab.cli.frame import load_command

    command: Any = load_command(verb)
    rest = before[1:]
    if hasattr(command, "commands"):
        if not rest:
            yield from _matching(
                ((name, each.get_short_help_str()) for name, each in command.commands.items()),
                incomplete,
            )
            return
        command = command.commands[rest.pop(0)]
    yield from _complete_parameter(command, rest, incomplete)


def _complete_verb(incomplete: str) -> Iterator[str]:
    if incomplete.startswith("-"):
        options = (("--help", "Show the list of verbs"), ("--version", "Show the version"))
        yield from _matching(options, incomplete)
    else:
        yield from _matching(((verb.name, verb.summary) for verb in VERBS), incomplete)


def _complete_parameter(command: Any, words: list[str], incomplete: str) -> Iterator[str]:
    options = {name: each for each in command.params for name in each.opts if name[0] == "-"}
    previous = options.get(words[-1]) if words else None
    if previous is not None and not previous.is_flag:
        yield from _complete_value(command, previous, words[:-1], incomplete)
    elif incomplete.startswith("-") and "--" not in words:
        shown = (each for each in command.params if not getattr(each, "hidden", False))
        yield from _matching(
            ((name, each.help or "") for each in shown for name in each.opts if name[:2] == "--"),
            incomplete,
        )
    else:
        argument = _next_argument(command, options, words)
        if argument is not None:
            yield from _complete_value(command, argument, words, incomplete)


def _next_argument(command: Any, options: dict[str, Any], words: list[str]) -> Any:
    """Return the argument that the next word belongs to."""
    given = 0
    skip = False
    for word in words:
        if skip or (word in options and not given):
            skip = not skip and not options[word].is_flag
        elif not word.startswith("-"):
            given += 1
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    for argument in arguments:
        if argument.nargs == -1 or given == 0:
            return argument
        given -= 1
    return None


def _complete_value(
    command: Any, parameter: Any, words: list[str], incomplete: str
) -> Iterator[str]:
    context = command.make_context(None, list(words), resilient_parsing=True)
    # Typer drops what does not begin like the word: the sign for files would be gone by then.
    if any(
        item.type in {"file", "dir"} or item.value == FILES
        for item in parameter.shell_complete(context, "")
    ):
        yield FILES
    for item in parameter.shell_complete(context, incomplete):
        if item.type in {"file", "dir"} or item.value == FILES:
            continue
        yield f"{item.value}\t{item.help}" if item.help else item.value


def _matching(pairs: Iterable[tuple[str, str]], incomplete: str) -> Iterator[str]:
    for value, meaning in pairs:
        if value.startswith(incomplete):
            yield f"{value}\t{' '.join(meaning.split())}" if meaning else value
