"""A picture in Mermaid's flowchart language (https://mermaid.js.org/syntax/flowchart.html)."""

from __future__ import annotations

import json
import re

from netlab.cli.drawing.model import Line, Picture

_HARMLESS = re.compile(r"[^A-Za-z0-9 _.,:/-]")


def write_mermaid(picture: Picture) -> str:
    """Return the picture as a flowchart; GitHub and GitLab draw it inside Markdown."""
    # The title is YAML, of which JSON is a part.
    lines = ["---", f"title: {json.dumps(picture.title)}", "---", "flowchart LR"]
    for box in picture.boxes:
        label = f"{_escape(box.label)}<br/><small>{_escape(box.note)}</small>"
        label = label if box.note else _escape(box.label)
        lines.append(
            f'  {box.key}(["{label}"]):::shared' if box.shared else f'  {box.key}["{label}"]'
        )
    lines += [
        f'  {picture.boxes[line.start].key} ---|"{_label(line)}"| {picture.boxes[line.end].key}'
        for line in picture.lines
    ]
    lines.append("  classDef shared fill:#fff3dc,stroke:#c98a2b,color:#4a3208")
    return "\n".join(lines) + "\n"


def _label(line: Line) -> str:
    return " - ".join(_escape(text) for text in (line.start_label, line.end_label) if text)


def _escape(text: str) -> str:
    """Write everything that could mean something as Mermaid's ``#code;``."""
    return _HARMLESS.sub(lambda match: f"#{ord(match[0])};", text)
