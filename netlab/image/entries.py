"""What an image has of its own, in the words of its recipe: folders, links, devices, files."""

from __future__ import annotations

import stat
from pathlib import Path

from netlab.image.cpio import Entry

FILES = Path(__file__).parent
"""Where the files are that recipes name."""


def folder(path: str, mode: int = 0o755) -> Entry:
    """Return a folder."""
    return Entry(path=path, mode=stat.S_IFDIR | mode)


def link(path: str, target: str) -> Entry:
    """Return a symbolic link."""
    return Entry(path=path, mode=stat.S_IFLNK | 0o777, data=target.encode())


def device(path: str, major: int, minor: int) -> Entry:
    """Return a character device that root alone may use."""
    return Entry(path=path, mode=stat.S_IFCHR | 0o600, device=(major, minor))


def text(path: str, content: str, mode: int = 0o644) -> Entry:
    """Return a file with that text."""
    return Entry(path=path, mode=stat.S_IFREG | mode, data=content.encode())


def file(path: str, source: str, mode: int = 0o644) -> Entry:
    """Return a file with the content of one beside the recipes."""
    return Entry(path=path, mode=stat.S_IFREG | mode, data=(FILES / source).read_bytes())
