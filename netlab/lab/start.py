"""Starts a lab process and follows it until its nodes are ready."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import cast

from netlab.errors import ControlError, LabConflictError, StorageError, explain_storage
from netlab.lab.client import how_it_ended, open_client, open_ending
from netlab.lab.folders import LabFolders, lab_folders, take_lock
from netlab.lab.options import Options
from netlab.lab.plans import read_plan
from netlab.lab.records import from_record
from netlab.plan.codec import difference, digest, to_json
from netlab.plan.model import Plan
from netlab.process import start_detached


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What `netlab up` asks for.

    Attributes:
        plan: What to bring to life.
        topology: The file that it came from, for `netlab status`.
        options: How.
        timeout: Seconds that the nodes have to become ready.
    """

    plan: Plan
    topology: str
    options: Options
    timeout: float


def start_lab(start: Start) -> Generator[dict[str, object]]:
    """Start a lab process, or find the one that runs the same plan; yield what it tells.

    Yields ``{"event": ...}`` records and at last ``{"ready": status}``. Closing the generator early
    (or Ctrl-C) takes everything back and returns when it is gone.

    Raises:
        LabConflictError: A lab of that name runs another plan.
        NetlabError: It could not be brought to life; everything has been taken back.
        StorageError: Its folders cannot be written.
    """
    folders = lab_folders(start.plan.lab)
    lock = take_lock(folders)
    if lock is None:
        yield from _join(folders, start)
        return
    with open_ending(folders) as wait_ended, _launch(folders, lock, start) as (channel, pid):
        try:
            _write_about(folders, start, pid)
            yield from _follow(folders, channel, wait_ended)
        except (KeyboardInterrupt, GeneratorExit, StorageError):
            channel.shutdown(socket.SHUT_RDWR)
            wait_ended(None)
            raise


@contextmanager
def _launch(folders: LabFolders, lock: int, start: Start) -> Generator[tuple[socket.socket, int]]:
    """Start the lab process; it inherits the lock, and one end of the socket that is yielded."""
    ours, theirs = socket.socketpair()
    with ours:
        try:
            with theirs:
                pid = _start_process(folders, start, (theirs.fileno(), lock))
        except StorageError:
            folders.remove()
            raise
        finally:
            os.close(lock)
        yield ours, pid


def _start_process(folders: LabFolders, start: Start, inherited: tuple[int, int]) -> int:
    request = {
        **asdict(start.options),
        "timeout": start.timeout,
    }
    with explain_storage(folders.state):
        folders.clear_state()
        folders.plan.write_text(to_json(start.plan), encoding="utf-8")
        log = os.open(folders.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(log, "ab"), _listen(folders) as control:
            descriptors = (*inherited, control.fileno())
            words = (start.plan.lab, *map(str, descriptors), json.dumps(request))
            return start_detached(
                (sys.executable, "-m", "netlab.lab.main", *words),
                pass_fds=descriptors,
                output=log,
            )


def _write_about(folders: LabFolders, start: Start, pid: int) -> None:
    about = {"pid": pid, "started": time.time(), "topology": start.topology}
    with explain_storage(folders.about):
        folders.about.write_text(json.dumps(about), encoding="utf-8")


def _follow(
    folders: LabFolders, channel: socket.socket, wait_ended: Callable[[float | None], bool]
) -> Generator[dict[str, object]]:
    with channel.makefile("r", encoding="utf-8") as lines:
        for line in lines:
            record = cast("dict[str, object]", json.loads(line))
            if isinstance(record.get("error"), dict):
                wait_ended(None)
                raise from_record(cast("dict[str, object]", record["error"]))
            if "ready" in record:
                yield {"ready": open_client(folders).status()}
                return
            yield record
    wait_ended(None)
    log = folders.log.read_text(errors="replace") if folders.log.exists() else ""
    raise ControlError(
        f"lab {folders.lab} ended before it was ready", evidence=log[-4000:].strip() or None
    )


def _listen(folders: LabFolders) -> socket.socket:
    """Make the control socket: who asks before the lab process can answer waits for it."""
    control = socket.socket(socket.AF_UNIX)
    # Bound where nobody finds it before it listens, for our eyes only.
    path = folders.control.with_name("control.new")
    path.unlink(missing_ok=True)
    control.bind(str(path))
    path.chmod(0o600)
    control.listen()
    path.rename(folders.control)
    return control


def _join(folders: LabFolders, start: Start) -> Generator[dict[str, object]]:
    """Wait for the running lab of that name, if it is the same."""
    with open_ending(folders) as wait_ended:
        client = open_client(folders)
        client.wait_listening()
        running = read_plan(folders)
        if digest(running) != digest(start.plan):
            raise LabConflictError(
                f"lab {start.plan.lab} is up from another plan",
                hint=f"netlab down --name {start.plan.lab}, or --name for a second lab",
                evidence="\n".join(difference(running, start.plan)),
            )
        try:
            yield {"ready": client.wait_ready(start.timeout), "joined": True}
        except ControlError as error:
            # Its start failed, or it was taken down meanwhile: it ends, and then it is known how.
            wait_ended(start.timeout)
            how = how_it_ended(folders) or error.message
            raise ControlError(f"lab {start.plan.lab} ended while it started: {how}") from error
