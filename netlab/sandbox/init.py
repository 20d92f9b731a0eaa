"""PID 1 of a sandbox: makes the links, starts programs, reports their ends, and ends with all.

It lives as long as the other end of its socket. When that closes, for whatever reason and whatever
we are doing (the kernel tells by SIGIO), we exit, and the kernel ends every process and removes
every interface of our namespaces with us.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, NoReturn

from netlab.sandbox import messages, system, wiring
from netlab.sandbox.links import Links, remove_taps
from netlab.sandbox.messages import Body, Message, Outgoing, RefusedError
from netlab.sandbox.spawn import Enclosure, spawn


class Answer(NamedTuple):
    """What a request gets: fields of the body, a descriptor, the process that it is about."""

    fields: Body
    descriptor: int | None = None
    pid: int | None = None


class Init:
    """The sandbox's PID 1."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._limit = system.raise_descriptor_limit()
        self._links = Links()
        self._running: dict[int, frozenset[str]] = {}
        self._verbs: Mapping[str, Callable[[Message], Answer]] = {
            "build": self._build,
            "capture": self._capture,
            "counters": self._counters,
            "launch": self._launch,
            "port": self._port,
            "signal": self._signal,
            "verify": self._verify,
        }

    def serve(self, woken: int) -> NoReturn:
        """Answer requests and report exits until the other end is gone.

        Args:
            woken: Becomes readable at each signal.
        """
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        poller.register(woken, select.POLLIN)
        while True:
            for descriptor, _ in poller.poll():
                if descriptor == woken:
                    os.read(woken, 4096)
                    self._reap()
                else:
                    self._receive()

    def _receive(self) -> None:
        data, ancillary, _, _ = self._control.recvmsg(*messages.RECEIVE)
        if not data:
            leave()
        message = messages.unpack(data, ancillary)
        try:
            answer = self._verbs[message.body["do"]](message)
        except RefusedError as refusal:
            self._send({"id": message.body["id"], "error": refusal.to_body()})
        except OSError as error:
            refusal = RefusedError("SandboxError", f"{message.body['do']} failed: {error.strerror}")
            self._send({"id": message.body["id"], "error": refusal.to_body()})
        else:
            self._answer(message.body["id"], answer)
        finally:
            _close(message.descriptors)

    def _answer(self, number: int, answer: Answer) -> None:
        descriptors = () if answer.descriptor is None else (answer.descriptor,)
        self._send({"id": number, **answer.fields}, descriptors, answer.pid)
        _close(descriptors)

    def _send(self, body: Body, descriptors: Sequence[int] = (), pid: int | None = None) -> None:
        with Outgoing(body) as outgoing:
            self._control.sendmsg([outgoing.data], outgoing.ancillary(descriptors, pid))

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            # Orphans are reaped too, but nobody asked after them.
            if self._running.pop(pid, None) is not None:
                self._send({"exit": pid, "status": os.waitstatus_to_exitcode(status)})

    def _build(self, message: Message) -> Answer:
        segments = messages.read_segments(message.body["segments"])
        self._links.build(segments, silenced=system.silence_host())
        return Answer({}, pid=os.getpid())

    def _verify(self, _: Message) -> Answer:
        if busy := sorted(tap for taps in self._running.values() for tap in taps):
            raise RefusedError(
                "SandboxError",
                f"the wiring cannot be proven while machines run on {', '.join(busy)}",
                hint="prove it before they start",
            )
        wiring.prove(self._links.segments, self._links.taps)
        self._links.forget_addresses()
        return Answer({})

    def _launch(self, message: Message) -> Answer:
        argv: list[str] = message.body["argv"]
        taps = {int(target): str(tap) for target, tap in message.body["taps"].items()}
        descriptors = dict(zip(message.body["targets"], message.descriptors, strict=True))
        self._check_free(taps.values())
        for target, tap in taps.items():
            descriptors[target] = self._links.tap(tap)
            self._links.drain(tap)
        served = message.body["folder"]
        enclosure = served and Enclosure(**served)
        pid = spawn(argv, descriptors, self._limit, enclosure)
        self._running[pid] = frozenset(taps.values())
        return Answer({"child": pid}, pid=pid)

    def _check_free(self, taps: Iterable[str]) -> None:
        for tap in taps:
            for pid, used in self._running.items():
                if tap in used:
                    raise RefusedError("LaunchError", f"tap {tap} is in use by process {pid}")

    def _signal(self, message: Message) -> Answer:
        # Only ours, and only until reaped: its number cannot mean another process meanwhile.
        if message.body["child"] in self._running:
            os.kill(message.body["child"], message.body["number"])
        return Answer({})

    def _port(self, message: Message) -> Answer:
        self._links.set_port(message.body["tap"], up=message.body["up"])
        return Answer({})

    def _counters(self, _: Message) -> Answer:
        return Answer({"counters": self._links.read_counters()})

    def _capture(self, message: Message) -> Answer:
        capture = self._links.open_capture(message.body["interface"])
        return Answer({}, descriptor=capture.detach())


def leave() -> NoReturn:
    """End, and with us everything in our namespaces."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        remove_taps()
    finally:
        os._exit(0)


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _ignore(_signal: int, _frame: object) -> None:
    pass


def _watch(control: socket.socket) -> int:
    """Leave as soon as the other end is gone; return what becomes readable at each signal."""

    def look(*_: object) -> None:
        # A new one each time: the next signal may come while this one is being looked at.
        poller = select.poll()
        poller.register(control, select.POLLHUP)
        if poller.poll(0):
            leave()

    woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    # The loop handles it, but a signal without a handler wakes nobody.
    signal.signal(signal.SIGCHLD, _ignore)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGIO, look)
    fcntl.fcntl(control, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(control, fcntl.F_SETFL, fcntl.fcntl(control, fcntl.F_GETFL) | os.O_ASYNC)
    # It may have closed before anybody watched.
    look()
    return woken


def main() -> NoReturn:
    """Be PID 1; the first argument is the socket's descriptor."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    woken = _watch(control)
    system.mount_proc()
    system.confine_children()
    Init(control).serve(woken)
