"""``${name}`` and ``${name:-default}`` in the values of a topology.

Variables come from the file (``vars``) and from the command line (``-s name=value``), never from
the environment: a plan is a function of its text. ``$${`` stands for a literal ``${``. Keys, the
values of ``vars`` themselves and the content of files named by ``from`` are left as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from netlab.topology.document import Value
from netlab.topology.source import Mistakes, Path, quote

MAXIMUM_TEXT = 16 * 1024 * 1024
"""Most characters that all substituted values may have together: a variable is not a bomb."""

_REFERENCE = re.compile(
    r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_-]*)(?::-(?P<default>[^}]*))?\}|\$\{"
)


def substitute(value: Value, given: Mapping[str, str], mistakes: Mistakes) -> Value:
    """Return the document with its variables filled in.

    Args:
        value: The document.
        given: Variables from the command line; they win over the file's ``vars``.
        mistakes: Gets every variable that has no value, is not well written, or is not used.
    """
    if not isinstance(value, dict):
        return value
    declared = value.get("vars")
    variables: dict[str, str] = {}
    if isinstance(declared, dict):
        variables.update({name: text for name, text in declared.items() if isinstance(text, str)})
    substitution = _Substitution({**variables, **given}, mistakes)
    result: Value = {
        key: child if key == "vars" else substitution.fill(child, (key,))
        for key, child in value.items()
    }
    known = {*variables, *substitution.used}
    for name in given:
        if name not in known:
            hint = mistakes.suggest(name, known, "a variable stands as ${name} in a value")
            mistakes.add((), f"the file has no variable {quote(name)}", hint)
    return result


class _Substitution:
    def __init__(self, variables: Mapping[str, str], mistakes: Mistakes) -> None:
        self.used: set[str] = set()
        self._variables = variables
        self._mistakes = mistakes
        self._length = 0

    def fill(self, value: Value, path: Path) -> Value:
        if isinstance(value, str):
            return self._text(value, path) if "${" in value else value
        if isinstance(value, dict):
            return {key: self.fill(child, (*path, key)) for key, child in value.items()}
        if isinstance(value, list):
            return [self.fill(child, (*path, index)) for index, child in enumerate(value)]
        return value

    def _text(self, text: str, path: Path) -> str:
        if self._length > MAXIMUM_TEXT:
            return ""
        result = _REFERENCE.sub(lambda found: self._reference(found, path), text)
        self._length += len(result)
        if self._length > MAXIMUM_TEXT:
            size = MAXIMUM_TEXT // 1024 // 1024
            self._mistakes.add(path, f"values with variables make more than {size} MiB of text")
        return result

    def _reference(self, found: re.Match[str], path: Path) -> str:
        if found.group() == "$${":
            return "${"
        name = cast("str | None", found["name"])
        if name is None:
            hint = "write ${name} or ${name:-default}, or $${ for a literal ${"
            self._mistakes.add(path, "${ does not begin a variable here", hint)
            return ""
        self.used.add(name)
        default = cast("str | None", found["default"])
        if default is not None and "${" in default:
            self._mistakes.add(path, "a default cannot hold a variable", "give it in vars")
            return ""
        # As in a shell: an empty value is none where there is a default.
        result = self._variables.get(name)
        if default is not None and not result:
            result = default
        if result is None:
            hint = self._mistakes.suggest(
                name, self._variables, "set it in vars or with -s, or write ${name:-default}"
            )
            self._mistakes.add(path, f"the variable {quote(name)} has no value", hint)
            return ""
        # A default of hundreds of kilobytes, used over and over, must stop before the sum is built.
        self._length += len(result)
        return result if self._length <= MAXIMUM_TEXT else ""
