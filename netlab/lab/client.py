"""The control API's client: on the standard library alone, because `netlab exec` must start fast.

The console needs a WebSocket and lives in :mod:`netlab.lab.attach`.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

from netlab.errors import ControlError, NotReadyError, UnknownNameError
from netlab.lab.folders import (
    LabFolders,
    is_alive,
    lab_folders,
    list_labs,
    open_lock,
    take_lock,
    wait_released,
)
from netlab.lab.records import from_record

LISTENING_LIMIT = 5.0
"""Seconds in which a lab that has its lock has its control socket too."""

DOWN_GRACE = 30.0
"""Seconds that a lab process has to take its lab down before it is killed, lab and all."""


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float | None = None) -> None:
        super().__init__("netlab", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class Result:
    """How a program in a guest ended, and what it printed.

    Attributes:
        incomplete: What is missing of the output (the agent keeps 16 MiB of each), or None.
    """

    status: int
    stdout: bytes
    stderr: bytes
    incomplete: str | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """Talks to one lab process; every call is one request."""

    folders: LabFolders

    def status(self) -> dict[str, Any]:
        """Return the lab and its nodes."""
        return self._call("GET", "/status")

    def wait_listening(self) -> None:
        """Wait until the lab can be asked: who has just taken its lock makes the socket first.

        Raises:
            ControlError: There is none after a moment.
        """
        # Milliseconds, between two system calls of another process: nothing tells of their end.
        deadline = time.monotonic() + LISTENING_LIMIT
        while not self.folders.control.exists() and time.monotonic() < deadline:
            time.sleep(0.01)

    def wait_ready(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait until every node is ready; return the status.

        Args:
            timeout: Seconds, or None for as long as it takes.

        Raises:
            NotReadyError: They were not in time.
            NetlabError: A node failed.
        """
        try:
            return self._call("GET", "/ready", timeout=timeout)
        except TimeoutError:
            raise NotReadyError(
                f"lab {self.folders.lab} is not ready after {timeout:g} s",
                hint="`netlab status` says what it waits for",
            ) from None

    def execute(
        self,
        node: str,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        output: Callable[[str, bytes], None] | None = None,
    ) -> Result:
        """Run a program in a node.

        Args:
            node: Its name.
            argv: The program with its arguments.
            stdin: What it reads.
            environment: Additions to its environment.
            output: Takes a stream's name, ``stdout`` or ``stderr``, and what the program printed
                there, as it comes; the result has no output then.

        Raises:
            UnknownNameError: No such node.
            ControlError: The lab ended meanwhile.
            NetlabError: The node is not ready, its agent refused, or its QEMU ended.
        """
        body = {
            "argv": list(argv),
            "stdin": base64.b64encode(stdin).decode(),
            "environment": dict(environment or {}),
            "tell": output is not None,
        }
        path = f"/nodes/{quote(node, safe='')}/exec"
        if output is None:
            answer = self._call("POST", path, body)
        else:
            answer = self._pass_on(path, body, output)
        stdout, stderr = (base64.b64decode(answer[key]) for key in ("stdout", "stderr"))
        return Result(int(answer["status"]), stdout, stderr, answer["incomplete"])

    def _pass_on(
        self, path: str, body: object, output: Callable[[str, bytes], None]
    ) -> dict[str, Any]:
        """Pass a program's output on and return how it ended."""
        with closing(self._records(path, "POST", body)) as pieces:
            for piece in pieces:
                if "error" in piece:
                    raise from_record(piece["error"])
                if "status" in piece:
                    return piece
                output(str(piece["stream"]), base64.b64decode(piece["data"]))
        raise ControlError(f"lab {self.folders.lab} ended while a program ran")

    def set_link(self, first: str, second: str, *, up: bool) -> None:
        """Pull the cables between two endpoints, or put them back."""
        self._call("POST", "/link", {"endpoints": [first, second], "up": up})

    def events(self) -> Iterator[dict[str, Any]]:
        """Iterate over all events so far and to come, until the lab ends."""
        yield from self._records("/events")

    def console(self, node: str) -> Iterator[bytes]:
        """Iterate over what a node's console prints from now on, until it ends."""
        with self._stream(f"/nodes/{quote(node, safe='')}/console") as response:
            while chunk := response.read1(65536):
                yield chunk

    def down(self) -> None:
        """Take the lab down and wait until its process has ended.

        A lab process that does not end within :data:`DOWN_GRACE` seconds is killed; its sandbox
        and machines go with it.
        """
        pid = self.folders.read_about().get("pid")
        with open_ending(self.folders) as wait_ended:
            # Where it cannot be asked, a signal says the same thing.
            if not self._post_down() and isinstance(pid, int):
                _signal(self.folders, pid, signal.SIGTERM)
            if not wait_ended(DOWN_GRACE) and isinstance(pid, int):
                _signal(self.folders, pid, signal.SIGKILL)
            wait_ended(None)

    def _post_down(self) -> bool:
        """Send the request and return whether it could be; its answer may be cut off by the end."""
        connection = _Connection(str(self.folders.control))
        try:
            connection.request("POST", "/down", "{}", {"Content-Type": "application/json"})
            with suppress(http.client.HTTPException, OSError):
                connection.getresponse().read()
        except OSError:
            return False
        finally:
            connection.close()
        return True

    def _call(
        self, method: str, path: str, body: object = None, *, timeout: float | None = None
    ) -> dict[str, Any]:
        with self._request(method, path, body, timeout=timeout) as response:
            try:
                return json.loads(response.read() or b"{}")
            except (http.client.HTTPException, ConnectionError) as error:
                raise ControlError(f"lab {self.folders.lab} ended while it answered") from error

    def _records(
        self, path: str, method: str = "GET", body: object = None
    ) -> Generator[dict[str, Any]]:
        """Iterate over the JSON objects of an answer, one a line, until it or the lab ends.

        What befalls who takes them is not taken for the end of the lab.
        """
        with self._stream(path, method, body) as response:
            for line in response:
                if not line.endswith(b"\n"):
                    return  # the lab ended while it wrote it
                yield json.loads(line)

    @contextmanager
    def _stream(
        self, path: str, method: str = "GET", body: object = None
    ) -> Generator[http.client.HTTPResponse]:
        with self._request(method, path, body) as response:
            try:
                yield response
            except (http.client.HTTPException, ConnectionError):
                return  # the lab ended; so does the stream

    @contextmanager
    def _request(
        self, method: str, path: str, body: object = None, *, timeout: float | None = None
    ) -> Generator[http.client.HTTPResponse]:
        connection = _Connection(str(self.folders.control), timeout)
        payload = None if body is None else json.dumps(body)
        try:
            try:
                connection.request(method, path, payload, {"Content-Type": "application/json"})
                response = connection.getresponse()
            except TimeoutError:
                raise
            except (OSError, http.client.HTTPException) as error:
                raise ControlError(
                    f"lab {self.folders.lab} does not answer: {error}",
                    hint="`netlab status` says what became of it",
                ) from error
            if response.status >= 400:
                _raise(response)
            yield response
        finally:
            connection.close()


def _raise(response: http.client.HTTPResponse) -> None:
    body = response.read()
    try:
        record = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        text = body.decode(errors="replace")
        raise ControlError(f"the lab answered {response.status}: {text[:500]}") from None
    raise from_record(cast("dict[str, object]", record))


def _signal(folders: LabFolders, pid: int, number: int) -> None:
    """Signal the lab process: the lock proves that the id is still its own."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Opened first, checked second: if the lock is held now, the descriptor is the holder's.
        if is_alive(folders):
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def open_client(folders: LabFolders) -> Client:
    """Return a client of a lab that runs.

    Raises:
        UnknownNameError: No lab of that name runs; says how the last one ended, if it is known.
    """
    if not is_alive(folders):
        died = how_it_ended(folders)
        raise UnknownNameError(
            f"lab {folders.lab} is not up" + (f": {died}" if died else ""),
            hint="`netlab up` starts it; `netlab status --all` lists what is up",
        )
    return Client(folders)


def find_lab(name: str | None) -> Client:
    """Return a client of the lab of that name, or of the only one that is up.

    Raises:
        UnknownNameError: There is none, or there are several and none is named.
    """
    if name is not None:
        return open_client(lab_folders(name))
    alive = [folders for folders in list_labs() if is_alive(folders)]
    if len(alive) != 1:
        names = ", ".join(folders.lab for folders in alive)
        raise UnknownNameError(
            f"several labs are up: {names}" if alive else "no lab is up",
            hint="say which with --name" if alive else "`netlab up` starts one",
        )
    return Client(alive[0])


def how_it_ended(folders: LabFolders) -> str:
    """Say how a lab that is not up any more ended; empty when there is no trace of it."""
    if not folders.state.is_dir():
        return ""
    last = _last_event(folders)
    if last.get("kind") == "lab" and last.get("state") == "failed":
        return str(last.get("message"))
    pid = folders.read_about().get("pid", "unknown")
    return f"its lab process ({pid}) was killed; its machines and links ended with it"


def _last_event(folders: LabFolders) -> dict[str, Any]:
    try:
        lines = folders.events.read_text(encoding="utf-8", errors="replace").splitlines()
        return cast("dict[str, Any]", json.loads(lines[-1]))
    except (OSError, ValueError, IndexError):
        return {}


@contextmanager
def open_ending(folders: LabFolders) -> Generator[Callable[[float | None], bool]]:
    """Open a lab's lock before the lab is told to end; yield a function that waits for its end.

    The function takes seconds, or None to wait for as long as it takes, and returns whether the lab
    process ended in that time.
    """
    lock = open_lock(folders)
    if lock is None:
        yield lambda _timeout: True
        return
    # A blocked lock request has no deadline of its own: a thread makes it, and may be left behind.
    # An alarm would be the main thread's, and tests take labs down from others. One thread however
    # often it is asked: a second would hold the lock for a moment after the first has had it.
    waiter = threading.Thread(target=_request_lock, args=(lock,), daemon=True)
    waiter.start()

    def wait_ended(timeout: float | None = None) -> bool:
        waiter.join(timeout)
        return not waiter.is_alive()

    yield wait_ended


def _request_lock(lock: int) -> None:
    try:
        wait_released(lock)
    finally:
        os.close(lock)


def clear(folders: LabFolders) -> bool:
    """Remove what a lab that is not up left behind; return whether there was anything."""
    if not (folders.state.exists() or folders.runtime.exists()):
        return False
    lock = take_lock(folders)
    if lock is None:
        return False
    folders.remove()
    os.close(lock)
    return True
