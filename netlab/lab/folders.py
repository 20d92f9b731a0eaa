"""Where a lab keeps its things, and which labs there are.

A lab process has two folders of its own, both 0700 and both gone after ``netlab down``:

- *runtime* (``$XDG_RUNTIME_DIR/netlab/LAB``): the lock and the control socket;
- *state* (``$XDG_STATE_HOME/netlab/labs/LAB``): the plan, logs, consoles, disks.

Without ``XDG_RUNTIME_DIR`` (who did not log in: cron, containers) the first is in
``/run/user/UID`` if that is there, else in ``$XDG_STATE_HOME/netlab/run``: never in a folder that
others can write to.

The lock is the truth about life and death: the lab process holds it from its first moment, and the
kernel releases it when the process ends, however it ends. There is no process id to be mistaken
about. It is an open file description lock (fcntl(2)): a child inherits it, and looking at it does
not take it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from platformdirs import PlatformDirs

from netlab.errors import HostError, explain_storage

# struct flock of 64-bit Linux: type, whence, start, length, process id
_FLOCK = struct.Struct("hhxxxxqqixxxx")
_WHOLE_FILE = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)

SOCKET_PATH_LIMIT = 107
"""Bytes in a Unix socket's path, without the final NUL (unix(7))."""


@dataclass(frozen=True, slots=True)
class LabFolders:
    """The two folders of one lab."""

    lab: str
    runtime: Path
    state: Path

    @property
    def lock(self) -> Path:
        """Held while the lab process lives."""
        return self.runtime / "lock"

    @property
    def control(self) -> Path:
        """The control API's socket."""
        return self.runtime / "control"

    @property
    def plan(self) -> Path:
        """The plan, as JSON."""
        return self.state / "plan.json"

    @property
    def about(self) -> Path:
        """Process id, start time and topology file, as JSON."""
        return self.state / "lab.json"

    @property
    def events(self) -> Path:
        """The event log, one JSON object a line."""
        return self.state / "events.jsonl"

    @property
    def log(self) -> Path:
        """What the lab process and its sandbox print."""
        return self.state / "lab.log"

    def make(self) -> None:
        """Make both folders, for our eyes only.

        Raises:
            HostError: A parent folder belongs to somebody else, or the socket's path is too long.
        StorageError: They cannot be made.
        """
        if len(os.fsencode(self.control)) > SOCKET_PATH_LIMIT:
            raise HostError(
                f"{self.control}: longer than a socket's path may be ({SOCKET_PATH_LIMIT} bytes)",
                hint="use a shorter lab name, or a shorter XDG_RUNTIME_DIR",
            )
        for folder in (self.runtime, self.state):
            make_private(folder)

    def read_about(self) -> dict[str, object]:
        """Return what the lab process wrote about itself; empty when it had no time to."""
        try:
            found = json.loads(self.about.read_text())
        except (OSError, ValueError):
            return {}
        return cast("dict[str, object]", found) if isinstance(found, dict) else {}

    def clear_state(self) -> None:
        """Remove what a lab that died left, for a new one. The caller holds the lock.

        Raises:
            StorageError: It cannot be removed, or nothing be written.
        """
        with explain_storage(self.state):
            shutil.rmtree(self.state)
            self.state.mkdir(mode=0o700)
            self.control.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove both folders. The caller holds the lock, so nobody else's life is in them."""
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.rmtree(self.runtime, ignore_errors=True)


def make_private(folder: Path) -> None:
    """Make a folder and the one above it, for our eyes only.

    Raises:
        HostError: One of them belongs to somebody else.
        StorageError: They cannot be made.
    """
    with explain_storage(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_private(folder.parent)
        _check_private(folder)


def promises_folder() -> Path:
    """Return the folder of what labs were promised of the host's memory."""
    return PlatformDirs("netlab", appauthor=False).user_state_path / "promises"


def _check_private(folder: Path) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise HostError(
            f"{folder}: not a folder of ours",
            hint="remove it, or set XDG_RUNTIME_DIR and XDG_STATE_HOME to folders of yours",
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        folder.chmod(0o700)


def _parents() -> tuple[Path, Path]:
    """The folders that hold all labs' runtime and state folders."""
    state = PlatformDirs("netlab", appauthor=False).user_state_path
    given, usual = os.environ.get("XDG_RUNTIME_DIR"), Path(f"/run/user/{os.geteuid()}")
    if given:
        return Path(given) / "netlab", state / "labs"
    if os.access(usual, os.W_OK):
        return usual / "netlab", state / "labs"
    return state / "run", state / "labs"


def lab_folders(lab: str) -> LabFolders:
    """Return the folders of the lab of that name, whether they are there or not."""
    runtime, state = _parents()
    return LabFolders(lab, runtime / lab, state / lab)


def list_labs() -> list[LabFolders]:
    """Return all labs of this user that left anything behind, alive or not, by name."""
    names: set[str] = set()
    for parent in _parents():
        if parent.is_dir():
            names.update(entry.name for entry in parent.iterdir() if entry.is_dir())
    return [lab_folders(name) for name in sorted(names)]


def take_lock(folders: LabFolders) -> int | None:
    """Take a lab's lock; return its descriptor, or None when a living lab process holds it.

    The folders are made if need be. Close the descriptor to release it; a child that inherits it
    holds it too.

    Raises:
        HostError: One of them belongs to somebody else.
        StorageError: They cannot be made.
    """
    while True:
        folders.make()
        with explain_storage(folders.lock):
            descriptor = os.open(folders.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not try_hold(descriptor):
            os.close(descriptor)
            return None
        if _is_same(descriptor, folders.lock):
            return descriptor
        # The last holder removed the folder before it let go: this lock is nobody's any more.
        os.close(descriptor)


def try_hold(descriptor: int) -> bool:
    """Lock a file, and return whether that was possible."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WHOLE_FILE)
    except BlockingIOError:
        return False
    return True


def open_lock(folders: LabFolders) -> int | None:
    """Open a lab's lock without taking it, to wait for its release; None when there is none.

    To be opened before the lab is told to end: the lab process removes the file before it ends.
    """
    try:
        return os.open(folders.lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None


def wait_released(lock: int) -> None:
    """Block until nobody else holds the lock of that descriptor; then it is ours."""
    fcntl.fcntl(lock, fcntl.F_OFD_SETLKW, _WHOLE_FILE)


def is_alive(folders: LabFolders) -> bool:
    """Whether a lab process holds the lock; leaves no trace when there is none."""
    return is_held(folders.lock)


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock of a file; it need not be there."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _WHOLE_FILE)
    finally:
        os.close(descriptor)
    return _FLOCK.unpack(answer)[0] != fcntl.F_UNLCK


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
