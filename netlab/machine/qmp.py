"""A client of QEMU's monitor protocol, on Trio.

::

    async with open_qmp(stream) as qmp:
        with qmp.events("STOP") as events:
            await qmp.execute("stop")
            await events.wait()

Commands run concurrently and are told apart by their ids. Facts: docs/interop/qmp-spec.txt of QEMU.
"""

from __future__ import annotations

import os
import socket
from array import array
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import cast, final

import trio

from netlab.errors import MachineError, QMPClosedError, QMPCommandError, QMPError, QMPProtocolError
from netlab.machine.framing import LineReader, decode, encode, excerpt
from netlab.machine.transcript import RECEIVED, SENT, Transcript
from netlab.scopes import open_background

LINE_LIMIT = 16 * 1024 * 1024
"""Bytes of the longest message; ``query-qmp-schema`` answers with about 200 kB."""

EVENT_LIMIT = 4096
"""How many events a subscriber may leave unread."""

Explain = Callable[[MachineError], Awaitable[MachineError]]
"""Finds the better error for the end of a connection: that QEMU died, and how."""


async def take_as_is(error: MachineError) -> MachineError:
    """Return the error itself: the :data:`Explain` of who knows nothing better."""
    return error


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that QEMU tells unasked.

    Attributes:
        name: Such as ``STOP``.
        data: What comes with it.
        seconds: Host time, in seconds since the epoch.
    """

    name: str
    data: Mapping[str, object]
    seconds: float


@final
class Events:
    """A subscription: every matching event since it began, in order, none lost."""

    def __init__(self, names: frozenset[str], limit: int) -> None:
        self._names = names
        self._sender, self._receiver = trio.open_memory_channel[Event](limit)
        self._end: QMPError | None = None

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Event:
        return await self.wait()

    async def wait(self, predicate: Callable[[Event], bool] = lambda _event: True) -> Event:
        """Return the next event for which the predicate holds; others are thrown away.

        Raises:
            QMPClosedError: The connection ended first.
            QMPError: Too many events were left unread.
        """
        try:
            while not predicate(event := await self._receiver.receive()):
                pass
        except trio.EndOfChannel:
            raise self._end or QMPClosedError("the subscription has ended") from None
        return event

    def feed(self, event: Event) -> None:
        """Take an event if it is of a name subscribed to."""
        if self._end is not None or (self._names and event.name not in self._names):
            return
        try:
            self._sender.send_nowait(event)
        except trio.WouldBlock:
            # Said instead of losing one silently; blocking would stop every command's answer.
            self.end(QMPError(f"{EVENT_LIMIT} QMP events were left unread"))

    def end(self, error: QMPError) -> None:
        """Let what was collected be read, then raise the error."""
        if self._end is None:
            self._end = error
            self._sender.close()


@dataclass(frozen=True, slots=True)
class _Message:
    """A command on its way, with a descriptor that goes along, or None."""

    identifier: int
    data: bytes
    descriptor: int | None


class _Call:
    """A command whose answer is awaited."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.answer: dict[str, object] | None = None


@final
class QMP:
    """The connection to one QEMU; made by :func:`open_qmp`."""

    def __init__(
        self, stream: trio.abc.Stream, explain: Explain, transcript: Transcript | None = None
    ) -> None:
        self._stream = stream
        self._transcript = transcript
        self._explain = explain
        self._lines = LineReader(stream, limit=LINE_LIMIT, error=QMPProtocolError)
        # A queue, so that a cancelled caller never leaves half a message on the wire.
        self._outbox, self._to_send = trio.open_memory_channel[_Message](64)
        self._calls: dict[int, _Call] = {}
        self._issued = 0
        self._subscriptions: set[Events] = set()
        self._end: QMPError | None = None

    async def execute(self, command: str, /, **arguments: object) -> object:
        """Run a command and return what it returns.

        Arguments with hyphens are given as ``**{"x-y": 1}``. Cancelled, the command still runs;
        its answer is thrown away.

        Raises:
            QMPCommandError: QEMU refuses it, or it failed.
            QMPClosedError: The connection has ended.
            QMPProtocolError: QEMU sent nonsense.
            MachineDiedError: The connection ended because QEMU did.
        """
        message: dict[str, object] = {"execute": command}
        if arguments:
            message["arguments"] = arguments
        return await self._call(message)

    async def give_descriptor(self, name: str, descriptor: int) -> None:
        """Give QEMU a copy of one of our descriptors, under a name for a later command.

        Cancelled before it is on its way, it is not sent: the number may be another file's by then.

        Args:
            name: What ``fd`` of that command says (``getfd`` of QMP).
            descriptor: Stays ours.

        Raises:
            QMPError: As of :meth:`execute`.
        """
        await self._call({"execute": "getfd", "arguments": {"fdname": name}}, descriptor)

    async def _call(self, message: dict[str, object], descriptor: int | None = None) -> object:
        call = _Call()
        self._issued += 1
        identifier = self._issued
        self._calls[identifier] = call
        try:
            if self._end is None:
                data = encode({**message, "id": identifier})
                await self._outbox.send(_Message(identifier, data, descriptor))
                await call.done.wait()
        finally:
            del self._calls[identifier]
        if call.answer is None:
            raise await self._explain(self._ended())
        if "error" in call.answer:
            raise QMPCommandError(message, call.answer)
        return call.answer["return"]

    @contextmanager
    def events(self, *names: str) -> Generator[Events]:
        """Subscribe to events of these names, or to all; nothing is missed from here on."""
        subscription = Events(frozenset(names), EVENT_LIMIT)
        self._subscriptions.add(subscription)
        if self._end is not None:
            subscription.end(self._end)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    async def negotiate(self) -> None:
        """Read the greeting and leave the negotiation mode; to be called once, first.

        Raises:
            QMPClosedError: QEMU ended first.
            QMPProtocolError: What answers is not QEMU.
        """
        greeting = await self._receive()
        if greeting is None:
            raise await self._explain(QMPClosedError("QEMU closed its monitor before the greeting"))
        if "QMP" not in greeting:
            raise QMPProtocolError(f"expected QEMU's greeting, got {greeting}")

    async def run_reader(self) -> None:
        """Hand out answers and events until the connection ends."""
        try:
            while (message := await self._receive()) is not None:
                self._dispatch(message)
            error: QMPError = QMPClosedError("QEMU closed its monitor")
        except QMPProtocolError as caught:
            error = caught
        self._finish(error)

    async def run_writer(self) -> None:
        """Send what is in the queue until the connection ends."""
        async for message in self._to_send:
            # The reader finds the end as well, after the answers that came before it.
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError):
                await self._send(message)

    async def _send(self, message: _Message) -> None:
        if message.descriptor is not None and message.identifier not in self._calls:
            return
        if self._transcript is not None:
            self._transcript.record(SENT, message.data)
        if message.descriptor is not None and isinstance(self._stream, trio.SocketStream):
            # A copy: whoever is cancelled while we wait for room closes theirs.
            copy = os.dup(message.descriptor)
            try:
                await self._send_with(self._stream, message.data, copy)
            finally:
                os.close(copy)
        else:
            await self._stream.send_all(message.data)

    @staticmethod
    async def _send_with(stream: trio.SocketStream, data: bytes, descriptor: int) -> None:
        # It travels with the first byte (unix(7)); the stream sends the rest.
        rights = array("i", [descriptor])
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
        sent = await stream.socket.sendmsg([data], ancillary)
        await stream.send_all(data[sent:])

    async def _receive(self) -> dict[str, object] | None:
        line = b""
        while not line.strip():
            received = await self._lines.receive()
            if received is None:
                return None
            line = received
        if self._transcript is not None:
            self._transcript.record(RECEIVED, line)
        message = decode(line)
        if message is None:
            raise QMPProtocolError(f"QEMU sent what is not a JSON object: {excerpt(line)}")
        return message

    def _dispatch(self, message: dict[str, object]) -> None:
        if "event" in message:
            event = _event(message)
            for subscription in self._subscriptions:
                subscription.feed(event)
            return
        identifier = message.get("id")
        if not ("return" in message or "error" in message) or not isinstance(identifier, int):
            raise QMPProtocolError(f"QEMU sent neither an answer nor an event: {message}")
        if not 0 < identifier <= self._issued:
            raise QMPProtocolError(f"QEMU answered what was never asked: {message}")
        # An answer that nobody awaits is a cancelled caller's.
        call = self._calls.get(identifier)
        if call is not None:
            call.answer = message
            call.done.set()

    def _ended(self) -> QMPError:
        # A fresh one each time: several callers raising one object would share its traceback.
        end = self._end or QMPClosedError("QEMU closed its monitor")
        return type(end)(end.message)

    def _finish(self, error: QMPError) -> None:
        self._end = error
        for call in self._calls.values():
            call.done.set()
        for subscription in self._subscriptions:
            subscription.end(error)


def _event(message: dict[str, object]) -> Event:
    match message:
        case {"event": str(name), "timestamp": {"seconds": int(whole), "microseconds": int(part)}}:
            data = message.get("data", {})
            if isinstance(data, dict):
                return Event(
                    name=name,
                    data=cast("dict[str, object]", data),
                    seconds=whole + part / 1_000_000,
                )
        case _:
            pass
    raise QMPProtocolError(f"QEMU sent an event that is none: {message}")


@asynccontextmanager
async def open_qmp(
    stream: trio.abc.Stream,
    *,
    explain: Explain = take_as_is,
    transcript: Transcript | None = None,
) -> AsyncGenerator[QMP]:
    """Speak QMP over a stream; it is closed when the block is left.

    Args:
        stream: Connected to QEMU's monitor, which has not been negotiated with.
        explain: Asked for the better error when the connection ends.
        transcript: Gets what is said, or None.

    Raises:
        QMPClosedError: QEMU ended before it was ready to take commands.
        QMPProtocolError: What answers is not QEMU.
    """
    async with stream, open_background() as nursery:
        qmp = QMP(stream, explain, transcript)
        await qmp.negotiate()
        nursery.start_soon(qmp.run_reader)
        nursery.start_soon(qmp.run_writer)
        await qmp.execute("qmp_capabilities")
        yield qmp
