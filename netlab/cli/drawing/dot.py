"""A picture in Graphviz's language (https://graphviz.org/doc/info/lang.html)."""

from __future__ import annotations

from netlab.cli.drawing.model import Picture


def write_dot(picture: Picture) -> str:
    """Return the picture as an undirected graph for ``neato`` or ``dot``."""
    lines = [
        f"graph {_quote(picture.title)} {{",
        '  layout="neato"; overlap=false; splines=true;',
        '  node [shape=box, style="rounded,filled", fillcolor="#eaf1ff", fontname="sans-serif"];',
        '  edge [fontname="sans-serif", fontsize=9, len=2];',
    ]
    for box in picture.boxes:
        label = f"{box.label}\n{box.note}" if box.note else box.label
        shape = ', shape=ellipse, fillcolor="#fff3dc"' if box.shared else ""
        lines.append(f"  {box.key} [label={_quote(label)}{shape}];")
    for line in picture.lines:
        start, end = picture.boxes[line.start].key, picture.boxes[line.end].key
        labels = [
            f"{side}label={_quote(text)}"
            for side, text in (("tail", line.start_label), ("head", line.end_label))
            if text
        ]
        lines.append(f"  {start} -- {end} [{', '.join(labels)}];")
    return "\n".join([*lines, "}", ""])


def _quote(text: str) -> str:
    r"""Quote a string: a backslash would begin an escape, such as ``\N`` for the node's name."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
