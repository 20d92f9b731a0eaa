"""The pages of ``netlab/docs``: they come with the package, and `netlab help` shows them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A page.

    Attributes:
        name: What the user types: the file's name without ``.md``.
        title: Its first heading.
        text: All of it, Markdown.
    """

    name: str
    title: str
    text: str


def list_topics() -> tuple[Topic, ...]:
    """Return all pages by name."""
    folder = files("netlab").joinpath("docs")
    found = (entry for entry in folder.iterdir() if entry.name.endswith(".md"))
    pages = (_read(entry.name, entry.read_text(encoding="utf-8")) for entry in found)
    return tuple(sorted(pages, key=lambda topic: topic.name))


def find_topic(name: str) -> Topic | None:
    """Return the page of that name, or None."""
    return next((topic for topic in list_topics() if topic.name == name), None)


def _read(file: str, text: str) -> Topic:
    headings = (line[2:].strip() for line in text.splitlines() if line.startswith("# "))
    name = file.removesuffix(".md")
    return Topic(name=name, title=next(headings, name), text=text)
