"""The owner's end of the sandbox's socket: requests, answers, exits."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from os import close
from typing import Any, NamedTuple

import trio

from netlab import errors
from netlab.errors import NetlabError, SandboxError
from netlab.sandbox import messages
from netlab.sandbox.messages import Body, Message, Outgoing


class Ending:
    """The end of a program, or of the sandbox before it.

    Attributes:
        event: Set when the program, or the sandbox, has ended.
        status: Its exit status, minus the signal's number if killed; None while it is not known.
    """

    def __init__(self) -> None:
        self.event = trio.Event()
        self.status: int | None = None


class _Waiting:
    """A request without an answer yet."""

    def __init__(self) -> None:
        self.event = trio.Event()
        self.answer: Answer | None = None


class Answer(NamedTuple):
    """What PID 1 says to a request, and the end of the program if the request started one."""

    message: Message
    ending: Ending | None


class Connection:
    """Requests to a PID 1, any number at once; :meth:`pump` must be running.

    Attributes:
        heard: Whether PID 1 ever said anything: it is there, and not still being started.
        lost: Set once no request will be answered any more.
    """

    def __init__(self, socket: trio.socket.SocketType) -> None:
        self.heard = False
        self.lost = trio.Event()
        self._socket = socket
        self._waiting: dict[int, _Waiting] = {}
        self._endings: dict[int, Ending] = {}
        self._last = 0
        self._cause: NetlabError = SandboxError("the sandbox has not started")

    async def request(
        self, verb: str, fields: Body | None = None, descriptors: Sequence[int] = ()
    ) -> Answer:
        """Ask PID 1 for something; return its answer, the message of which is there.

        A request that is cancelled may be done all the same; what it made is then unmade.

        Raises:
            NetlabError: PID 1 refused; the error is the class that it named.
            SandboxError: PID 1 is gone.
        """
        if self.lost.is_set():
            raise self.error()
        self._last += 1
        number = self._last
        waiting = self._waiting[number] = _Waiting()
        try:
            await self._send({"id": number, "do": verb, **(fields or {})}, descriptors)
            if not waiting.event.is_set():
                # Not a checkpoint once the answer is there: cancelled now, it would be lost.
                await waiting.event.wait()
        except (BrokenPipeError, ConnectionResetError):
            # Whoever watches PID 1 is about to say why.
            await self.lost.wait()
        finally:
            del self._waiting[number]
        if waiting.answer is None:
            raise self.error()
        if (refusal := waiting.answer.message.body.get("error")) is not None:
            raise _to_error(refusal)
        return waiting.answer

    async def pump(self) -> None:
        """Take what PID 1 sends until it closes its end."""
        async with trio.open_nursery() as nursery:
            while (message := await self._receive()) is not None:
                child = message.body.get("exit")
                if child is not None:
                    self._end(child, message.body["status"])
                elif not self._deliver(message):
                    nursery.start_soon(self._undo, message)

    def lose(self, cause: NetlabError) -> None:
        """Let every call, pending and future, end with that error; the first cause counts."""
        if self.lost.is_set():
            return
        self._cause = cause
        self.lost.set()
        for waiting in (*self._waiting.values(), *self._endings.values()):
            waiting.event.set()
        self._endings.clear()

    def error(self) -> NetlabError:
        """Return the error that says why the connection was lost, for one to raise."""
        cause = self._cause
        return type(cause)(cause.message, hint=cause.hint, evidence=cause.evidence)

    async def _send(self, body: Body, descriptors: Sequence[int] = ()) -> None:
        with Outgoing(body) as outgoing:
            await self._socket.sendmsg([outgoing.data], outgoing.ancillary(descriptors))

    async def _receive(self) -> Message | None:
        try:
            data, ancillary, _, _ = await self._socket.recvmsg(*messages.RECEIVE)
        except ConnectionResetError:
            return None
        self.heard = self.heard or bool(data)
        return messages.unpack(data, ancillary) if data else None

    def _deliver(self, message: Message) -> bool:
        """Hand an answer to who waits for it, at once: the exit of a program may follow it."""
        waiting = self._waiting.get(message.body["id"])
        if waiting is None:
            return False
        ending = None
        if (child := message.body.get("child")) is not None:
            ending = self._endings[child] = Ending()
        waiting.answer = Answer(message, ending)
        waiting.event.set()
        return True

    def _end(self, child: int, status: int) -> None:
        # Nobody has the ending of a program whose launch was cancelled.
        if (ending := self._endings.pop(child, None)) is not None:
            ending.status = status
            ending.event.set()

    async def _undo(self, message: Message) -> None:
        """Take back what a request made whose caller has gone."""
        for descriptor in message.descriptors:
            close(descriptor)
        if message.body.get("child") is not None:
            self._last += 1
            kill = {"do": "signal", "child": message.body["child"], "number": 9}
            # Where PID 1 is gone, so is the program. Waiting for the reason would never end.
            with suppress(BrokenPipeError, ConnectionResetError):
                await self._send({"id": self._last, **kill})


def _to_error(refusal: dict[str, Any]) -> NetlabError:
    kind: type[NetlabError] = getattr(errors, refusal["kind"])
    return kind(refusal["message"], hint=refusal.get("hint"), evidence=refusal.get("evidence"))
