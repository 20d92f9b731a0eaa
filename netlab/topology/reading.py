"""Files of the host that are input: read whole, bounded, and never waited for."""

from __future__ import annotations

import os
import stat
from io import FileIO
from pathlib import Path


class UnreadableError(Exception):
    """A file cannot be read as what it should be.

    Attributes:
        message: What is wrong.
        hint: What to do, or empty.
        place: Line and column, counted from 1; zeros when it is no place.
    """

    def __init__(self, message: str, hint: str = "", place: tuple[int, int] = (0, 0)) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.place = place


def read_file(path: Path, maximum: int, *, follow: bool = True) -> bytes:
    """Return the content of a regular file.

    Args:
        path: The file.
        maximum: Bytes that it may have.
        follow: Whether it may be a symbolic link.

    Raises:
        UnreadableError: It is not there, no regular file, or larger.
    """
    # O_NONBLOCK, so that a FIFO in its place cannot make us wait.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise UnreadableError("is a directory, not a file")
    except FileNotFoundError:
        raise UnreadableError("there is no such file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UnreadableError(f"cannot be read: {reason}") from None
    with FileIO(descriptor) as file:
        try:
            return _read_open(file, maximum)
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror}") from None


def _read_open(file: FileIO, maximum: int) -> bytes:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableError("is not a regular file")
    # Read to one byte more than allowed: a file may grow, or say that its size is 0.
    content = bytearray()
    while len(content) <= maximum >= status.st_size and (
        piece := file.read(maximum + 1 - len(content))
    ):
        content += piece
    if max(len(content), status.st_size) > maximum:
        raise UnreadableError(f"is larger than {maximum // 1024 // 1024} MiB")
    return bytes(content)


def decode(content: bytes) -> str:
    """Return the text of a YAML file.

    Raises:
        UnreadableError: It is none.
    """
    if b"\0" in content:
        raise UnreadableError("is a binary file", "it has to be YAML in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig")
        place = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise UnreadableError(message, "save it as UTF-8", place) from None
