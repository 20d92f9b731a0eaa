"""Requests and replies on one connection, many at once.

They are told apart by their cookies (proto.md, "Ordering of messages and writes").
"""

from __future__ import annotations

from contextlib import suppress
from typing import final

import trio

from netlab.errors import NBDError
from netlab.nbd.assembly import Reply
from netlab.nbd.protocol import (
    SIMPLE_HEAD_SIZE,
    Chunk,
    ChunkHead,
    Command,
    SimpleHead,
    build_request,
    check_payload,
    describe_errno,
    measure_head,
    parse_head,
    parse_offset,
)
from netlab.nbd.wire import Wire

IN_FLIGHT = 16
"""Requests that a server works on at once; QEMU takes no more of one client (MAX_NBD_REQUESTS)."""


class Call:
    """A request, and what it ended by when that is not the reply's completion."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.done = trio.Event()
        self.end: NBDError | None = None


@final
class Exchange:
    """The transmission phase of a connection.

    Args:
        wire: Negotiated.
        structured: Whether structured replies were.
        name: What messages call the export.
    """

    def __init__(self, wire: Wire, *, structured: bool, name: str) -> None:
        self._wire = wire
        self._structured = structured
        self._name = name
        # Freed when a reply is complete, not when its caller leaves: the server is still at it.
        self._slots = trio.Semaphore(IN_FLIGHT)
        self._calls: dict[int, Call] = {}
        self._issued = 0
        self._end: NBDError | None = None

    async def submit(self, command: Command, reply: Reply) -> Call:
        """Send a request as soon as the server may have another one.

        Args:
            command: What is asked for.
            reply: Knows of which part of the disk, and gets what comes back. Its caller may leave;
                the reply is still received.

        Raises:
            NBDError: The connection has ended.
        """
        await self._slots.acquire()
        if self._end is not None:
            self._slots.release()
            raise self._explain(self._end, reply.offset)
        self._issued += 1
        call = self._calls[self._issued] = Call(reply)
        request = build_request(
            command, cookie=self._issued, offset=reply.offset, length=reply.length
        )
        try:
            await self._wire.send(request)
        except NBDError as error:
            # Said here: a server may have stopped listening, and yet not have hung up.
            self._finish(error)
        return call

    async def wait(self, call: Call) -> None:
        """Wait until the reply to a request is complete.

        Raises:
            NBDError: The server told of an error, or the connection ended first.
        """
        await call.done.wait()
        reply = call.reply
        if call.end is not None:
            raise self._explain(call.end, reply.offset)
        if reply.errno:
            raise NBDError(
                describe_errno(reply.errno),
                export=self._name,
                offset=reply.offset,
                errno=reply.errno,
                evidence=reply.words or None,
            )

    async def run_reader(self) -> None:
        """Hand out replies until the connection ends; to be run once, beside the callers."""
        try:
            while True:
                await self._receive()
        except NBDError as error:
            self._finish(error)

    async def disconnect(self) -> None:
        """Tell the server that no other request follows."""
        with suppress(NBDError):
            await self._wire.send(build_request(Command.DISCONNECT, cookie=0))

    async def _receive(self) -> None:
        start = await self._wire.receive(SIMPLE_HEAD_SIZE)
        size = measure_head(start, structured=self._structured)
        head = parse_head(start + await self._wire.receive(size - SIMPLE_HEAD_SIZE))
        call = self._calls.get(head.cookie)
        if call is None:
            raise NBDError(f"the server answered what was not asked: cookie {head.cookie}")
        if isinstance(head, SimpleHead):
            await self._receive_simple(head, call.reply)
        else:
            await self._receive_chunk(head, call.reply)
            if not head.done:
                return
        call.reply.finish()
        del self._calls[head.cookie]
        self._complete(call)

    async def _receive_simple(self, head: SimpleHead, reply: Reply) -> None:
        if head.errno:
            reply.fail(head.errno)
        elif self._structured:
            raise NBDError("the server sent a simple reply, although it agreed to structured ones")
        else:
            await self._wire.receive_into(reply.claim(reply.offset, reply.length))

    async def _receive_chunk(self, head: ChunkHead, reply: Reply) -> None:
        check_payload(head)
        if head.kind == Chunk.OFFSET_DATA:
            prefix = await self._wire.receive(8)
            place = reply.claim(parse_offset(prefix), head.length - len(prefix))
            await self._wire.receive_into(place)
        else:
            reply.take(head, await self._wire.receive(head.length))

    def _complete(self, call: Call) -> None:
        call.done.set()
        self._slots.release()

    def _finish(self, error: NBDError) -> None:
        self._end = self._end or error
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.end = self._end
            self._complete(call)

    def _explain(self, end: NBDError, offset: int) -> NBDError:
        # A fresh one each time: several callers raising one object would share its traceback.
        return NBDError(end.reason, export=self._name, offset=offset)
