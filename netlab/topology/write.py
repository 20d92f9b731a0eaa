"""Values -> YAML text that :mod:`netlab.topology.load` reads as the same values."""

from __future__ import annotations

import re

import yaml

from netlab.topology.document import Value

_WIDTH = 100


class Reference(str):
    """Text that may hold variables: every other text stands for itself."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Quotes what our reader would not take for text, and leaves ``128`` and ``no`` as they are."""

    # What the reader takes for nothing; every other scalar is text to it.
    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own attribute)
        first: [("tag:yaml.org,2002:null", re.compile(r"(?:~|null)?\Z"))]
        for first in ("~", "n", "")
    }

    def ignore_aliases(self, data: object) -> bool:
        """Write every value out, also one that is there twice."""
        del data
        return True


def dumps(value: Value, *, comment: str = "") -> str:
    """Return a document as text.

    Args:
        value: Mappings, lists, text, and None for nothing; mappings keep their order.
        comment: Lines that stand above it, each behind ``#``.
    """
    lines = [f"# {_printable(line)}".rstrip() for line in comment.splitlines()]
    text = yaml.dump(
        _literal(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH
    )
    return "".join(f"{line}\n" for line in lines) + text


def _literal(value: Value) -> Value:
    """Return a value whose text stands for itself: ``${`` would be a variable."""
    if isinstance(value, Reference):
        return str(value)
    if isinstance(value, dict):
        return {key: _literal(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_literal(inner) for inner in value]
    return value.replace("${", "$${") if value is not None else None


def _printable(line: str) -> str:
    return "".join(letter if letter.isprintable() else "�" for letter in line)
