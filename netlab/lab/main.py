"""The lab process: one plan, one lab, until it is told to stop.

Started by :mod:`netlab.lab.start` as ``python -m netlab.lab.main LAB STARTER LOCK CONTROL OPTIONS``
with three descriptors: the lab's lock, which it holds as long as it lives, the control socket,
which listens already, and one end of a socket to the command that starts it. Over the last go the
events, one JSON object a line, and at the end ``{"ready": ...}`` or ``{"error": ...}``. If its
other end closes before the lab is ready (Ctrl-C, or the command was killed), everything is taken
back.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import trio
from hypercorn.config import Config
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType]

from netlab.errors import NetlabError, StorageError, explain_condition, leaves
from netlab.lab.api import make_application
from netlab.lab.events import EventLog, open_event_log
from netlab.lab.folders import LabFolders, lab_folders
from netlab.lab.lab import Options, open_lab, wait_ready_within
from netlab.lab.records import to_record
from netlab.lab.service import Service
from netlab.lab.serving import use_own_server
from netlab.plan.codec import from_json
from netlab.sandbox.system import raise_descriptor_limit
from netlab.scopes import open_background, open_tasks


class _StarterGoneError(Exception):
    """The command that starts the lab gave up before it was ready."""


@dataclass(frozen=True, slots=True)
class _Starter:
    """The command that starts the lab, at the other end of a socket."""

    stream: trio.SocketStream

    async def tell(self, record: dict[str, object]) -> None:
        try:
            await self.stream.send_all(json.dumps(record).encode() + b"\n")
        except trio.BrokenResourceError as error:
            raise _StarterGoneError from error

    async def relay(self, events: EventLog) -> None:
        """Pass events on until the one that says that the lab is ready."""
        async with events.open_follow() as following:
            async for event in following:
                await self.tell({"event": json.loads(event.to_json())})
                if (event.kind, event.state) == ("lab", "ready"):
                    return

    async def wait_gone(self) -> None:
        """Wait until the other end closes; it never sends anything."""
        try:
            await self.stream.receive_some(1)
        except trio.BrokenResourceError as error:
            raise _StarterGoneError from error
        raise _StarterGoneError


async def run_lab(
    folders: LabFolders, starter: _Starter, control: int, options: Options, timeout: float
) -> None:
    """Bring the plan in the lab's folder to life, serve it, and take it down when told to.

    Args:
        folders: The lab's; the plan is in them.
        starter: Who follows the start.
        control: The listening socket of the control API.
        options: How to bring it to life.
        timeout: Seconds that the nodes have to become ready.

    Raises:
        NetlabError: It could not be brought to life, or broke.
    """
    plan = from_json(await trio.Path(folders.plan).read_text())
    with open_event_log(folders.events) as events:
        service = Service(plan, events)
        going_down = service.going_down
        async with open_tasks() as tasks:
            tasks.start_soon(_follow_start, starter, events)
            tasks.start_soon(_watch_signals, going_down)
            tasks.start_soon(_cancel_when, going_down, tasks.cancel_scope)
            async with (
                _open_control(service, control),
                open_lab(plan, options=options, folder=folders.state, events=events) as lab,
            ):
                service.begin(lab)
                await wait_ready_within(lab, timeout)
                events.record("lab", "ready", state="ready")
                await trio.sleep_forever()


async def _follow_start(starter: _Starter, events: EventLog) -> None:
    """Belong to the starter until the lab is ready; from then on it may go."""
    async with open_background() as tasks:
        tasks.start_soon(starter.wait_gone)
        await starter.relay(events)
        await starter.tell({"ready": True})
    await starter.stream.aclose()


_ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


async def _watch_signals(going_down: trio.Event) -> None:
    with trio.open_signal_receiver(*_ENDINGS) as signals:
        async for _ in signals:
            going_down.set()


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


@asynccontextmanager
async def _open_control(service: Service, control: int) -> AsyncGenerator[None]:
    """Serve the control API for the length of the block."""
    config = Config()
    config.bind = [f"fd://{control}"]
    config.graceful_timeout = 1
    config.loglevel = "WARNING"
    application = make_application(service)
    use_own_server()
    async with open_tasks() as tasks:
        await tasks.start(partial(serve, application, config))  # pyright: ignore[reportArgumentType]
        yield
        tasks.cancel_scope.cancel()


def main() -> None:
    """Be the lab process."""
    name, starter, lock, control, request = sys.argv[1:]
    for number in _ENDINGS:
        # What comes while the lab is taken down already must not cut that short. A function, not
        # SIG_IGN, which every program that we start would inherit.
        signal.signal(number, _take_note)
    # Inherited on purpose, and not to be inherited further.
    for number in (int(starter), int(lock), int(control)):
        os.set_inheritable(number, False)  # noqa: FBT003
    # A node takes six descriptors and more, and the usual soft limit is 1,024.
    raise_descriptor_limit()
    folders = lab_folders(name)
    asked = json.loads(request)
    timeout = asked.pop("timeout")
    with socket.socket(fileno=int(starter)) as channel:
        try:
            trio.run(_serve_starter, folders, channel, int(control), Options(**asked), timeout)
        except BaseException as error:  # noqa: BLE001 # told, kept and raised again there
            _give_up(folders, channel, error)
    folders.remove()


def _take_note(_number: int, _frame: object) -> None:
    """Do nothing: the end is under way."""


async def _serve_starter(
    folders: LabFolders, channel: socket.socket, control: int, options: Options, timeout: float
) -> None:
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(channel.dup()))
    async with stream:
        await run_lab(folders, _Starter(stream), control, options, timeout)


def _give_up(folders: LabFolders, channel: socket.socket, failure: BaseException) -> NoReturn:
    """Tell what failed to whoever still listens, keep the logs, and end."""
    errors = [explain_condition(error) for error in leaves(failure)]
    if any(isinstance(error, _StarterGoneError) for error in errors):
        folders.remove()
        sys.exit(130)
    error = next((each for each in errors if isinstance(each, NetlabError)), errors[0])
    record = to_record(error)
    with contextlib.suppress(StorageError), open_event_log(folders.events) as events:
        events.record("lab", str(record["message"]), state="failed")
    with contextlib.suppress(OSError):
        channel.setblocking(True)  # noqa: FBT003
        channel.sendall(json.dumps({"error": record}).encode() + b"\n")
    if not isinstance(error, NetlabError):
        raise failure
    print(f"{error}\n{error.evidence or ''}", file=sys.stderr)  # noqa: T201 # the lab's log
    sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
