"""Which names a disk or a configuration may have. Names become file names: none is trusted."""

from __future__ import annotations

MAX_NAME = 240
"""Bytes of a name: with what is put around it, it must do as a file's (255 bytes, NAME_MAX)."""


def name_mistake(name: str) -> str | None:
    """Return what is wrong with a configuration's name, or None."""
    if not name:
        return "it is empty"
    if name in {".", ".."}:
        return "it means a folder"
    if "/" in name:
        return "it has a slash"
    if not name.isprintable():
        return "it has characters that cannot be printed"
    if len(name.encode(errors="surrogateescape")) > MAX_NAME:
        return f"it is longer than {MAX_NAME} bytes"
    return None


def device_name_mistake(name: str) -> str | None:
    r"""Return what is wrong with a disk's name, or None; ``qmrestore`` reads it with ``\S+``."""
    if any(character.isspace() for character in name):
        return "it has a blank"
    return name_mistake(name)
