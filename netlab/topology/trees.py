"""Files and folders of the host that go into images: what is there, by digest or with its content.

Nothing is followed but the path that was given: a symbolic link inside is kept as one, wherever it
leads, for it is the guest that follows it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from netlab.topology.reading import UnreadableError, read_file

Kind = Literal["file", "folder", "link"]

MAXIMUM_ENTRIES = 50_000
"""Most files and folders that one path of a recipe may bring along."""

MAXIMUM_BYTES = 512 * 1024 * 1024
"""Most bytes that all files of a recipe may have together: an image is packed in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """A file, a folder or a symbolic link.

    Attributes:
        path: Below the path that was given, without a slash at its ends; empty for that itself.
        kind: What it is.
        mode: Its permission bits; of links, which have none, 0.
        digest: SHA-256 of a file's content in hexadecimal digits; empty for others.
        target: What a link leads to; empty for others.
        content: A file's content; empty for others.
    """

    path: str
    kind: Kind
    mode: int
    digest: str = ""
    target: str = ""
    content: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """What is at a path of the host.

    Attributes:
        entries: By their paths; a folder is before what is in it.
        size: Bytes of all its files.
    """

    entries: tuple[TreeEntry, ...]
    size: int

    @property
    def is_file(self) -> bool:
        """Whether it is one file and no folder."""
        return self.entries[0].kind == "file"

    @property
    def digest(self) -> str:
        """SHA-256 of everything in it but for its own name, in hexadecimal digits."""
        lines = [(one.path, one.kind, one.mode, one.digest, one.target) for one in self.entries]
        return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def read_tree(path: Path, maximum: int = MAXIMUM_BYTES) -> Tree:
    """Read a file, or a folder with all that is in it.

    Args:
        path: Where; it may be a symbolic link, what is in it is not followed.
        maximum: Bytes that all its files may have together.

    Raises:
        UnreadableError: It is not there, too large, or has something in it that no image can have.
    """
    entries: list[TreeEntry] = []
    size = 0
    for found, name in _walk(path):
        if len(entries) == MAXIMUM_ENTRIES:
            raise UnreadableError(f"has more than {MAXIMUM_ENTRIES:,} files and folders")
        try:
            entry = _read_entry(found, name, maximum - size)
        except UnreadableError as error:
            message = error.message
            if message.startswith("is larger than"):
                message = f"is larger than {MAXIMUM_BYTES >> 20} MiB with all before it"
            inside = f"{name!r} in it {message}" if name else message
            raise UnreadableError(inside, error.hint) from None
        size += len(entry.content)
        entries.append(entry)
    return Tree(entries=tuple(entries), size=size)


def _walk(path: Path) -> Iterator[tuple[Path, str]]:
    """Find everything at a path, sorted: folders before what is in them."""
    pending = [(path, "")]
    while pending:
        found, name = pending.pop()
        yield found, name
        if not stat.S_ISDIR(_status(found, follow=not name).st_mode):
            continue
        try:
            inside = sorted((each.name for each in found.iterdir()), reverse=True)
        except OSError as error:
            raise UnreadableError(f"{name!r} in it cannot be read: {error.strerror}") from None
        pending += [(found / each, f"{name}/{each}" if name else each) for each in inside]


def _status(path: Path, *, follow: bool) -> os.stat_result:
    try:
        return path.stat(follow_symlinks=follow)
    except FileNotFoundError:
        raise UnreadableError("there is no such file or folder") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UnreadableError(f"cannot be read: {reason}") from None


def _read_entry(path: Path, name: str, maximum: int) -> TreeEntry:
    if not name.isprintable():
        # Bytes that are no UTF-8 are surrogates in Python: they are not printable either.
        raise UnreadableError("has a name that is not text", "name it otherwise")
    status = _status(path, follow=not name)
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return TreeEntry(path=name, kind="folder", mode=mode)
    if stat.S_ISLNK(status.st_mode):
        return TreeEntry(path=name, kind="link", mode=0, target=_read_link(path))
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableError(
            "is neither a file, nor a folder, nor a symbolic link",
            "devices, sockets and pipes are made when the guest runs",
        )
    content = read_file(path, maximum, follow=not name)
    digest = hashlib.sha256(content).hexdigest()
    return TreeEntry(path=name, kind="file", mode=mode, digest=digest, content=content)


def _read_link(path: Path) -> str:
    try:
        target = str(path.readlink())
        target.encode()
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from None
    except UnicodeEncodeError:
        raise UnreadableError("leads to a name that is not text", "name it otherwise") from None
    return target
