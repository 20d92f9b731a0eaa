"""Files that say what a machine did; where they cannot be made, the error says so."""

from __future__ import annotations

import io
import shlex
from pathlib import Path

from netlab.errors import explain_storage


def open_log(path: Path) -> io.FileIO:
    """Open a log at its end, unbuffered: who looks at it sees the last byte.

    Raises:
        StorageError: It cannot be opened.
    """
    with explain_storage(path):
        return path.open("ab", buffering=0)


def prepare_logs(folder: Path, command: tuple[str, ...]) -> io.FileIO:
    """Make the folder of a machine's logs, write its command line there, and open QEMU's own log.

    Raises:
        StorageError: They cannot be made.
    """
    commands = folder / "command.log"
    with explain_storage(commands):
        folder.mkdir(parents=True, exist_ok=True)
        with commands.open("a", encoding="utf-8") as file:
            file.write(shlex.join(command) + "\n")
    return open_log(folder / "qemu.log")
