"""The content of files that a topology says, or names on the host."""

from __future__ import annotations

import base64
from typing import Literal

from netlab.topology.contents import Content
from netlab.topology.model import Topology
from netlab.topology.source import Mistakes, Path, quote

Encoding = Literal["utf-8", "base64"]


def find_content(content: Content, place: Path, topology: Topology, mistakes: Mistakes) -> bytes:
    """Return what is in a file.

    Args:
        content: What the topology says of it.
        place: Where.
        topology: The whole, with the files that it names.
        mistakes: Told of a file that was not read.
    """
    if content.source is None:
        return (content.text or "").encode()
    data = topology.source.files.get(content.source)
    if data is None:
        hint = "load the topology from its file"
        if not mistakes.holds((*place, "from")):
            message = f"the content of {quote(content.source)} was not read"
            mistakes.add((*place, "from"), message, hint)
        return b""
    return data


def encode(data: bytes) -> tuple[str, Encoding]:
    """Return bytes as a plan has them: their text, or base64 where they are none."""
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(data).decode(), "base64"
