"""Writing a result to standard output or to a file."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from netlab.errors import UsageError


def write_text(text: str, path: Path | None) -> None:
    """Write text to a file, whole or not at all, or to standard output when there is no path.

    Raises:
        UsageError: The file cannot be written.
    """
    if path is None or str(path) == "-":
        sys.stdout.write(text)
        return
    try:
        # What is no regular file (/dev/stdout, a pipe) cannot be replaced, only written.
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
        else:
            _replace(path, text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def _replace(path: Path, text: str) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        temporary = Path(file.name)
        try:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _umask() -> int:
    # There is no way to read it but to set it.
    current = os.umask(0)
    os.umask(current)
    return current
