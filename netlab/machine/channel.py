"""The guest agent's wire protocol: one request, one answer, in step after anything.

The agent answers strictly in order over a channel that outlives it: an agent that restarts, a guest
that reboots or a caller that gives up leaves half-read requests and answers nobody awaits. So one
request is on the wire at a time, and after one whose answer was not read, the next begins with
``guest-sync-delimited``: a 0xFF byte empties the agent's parser, and the answer, itself marked by
0xFF, is told from everything before it by a number. Facts: qga/qapi-schema.json of QEMU, "guest-
sync-delimited". The agent complains about the 0xFF with an error of its own, before the answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from typing import final

import trio

from netlab.errors import (
    AgentClosedError,
    AgentCommandError,
    AgentInterruptedError,
    AgentProtocolError,
    MachineError,
)
from netlab.machine.framing import LineReader, decode, encode, excerpt
from netlab.machine.qmp import Explain
from netlab.machine.transcript import RECEIVED, SENT, Transcript

LINE_LIMIT = 96 * 1024 * 1024
"""Bytes of the longest answer: both outputs of a program, 16 MiB each, in base64, and some air."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 8.0
"""Seconds after which a synchronisation is sent again to an agent that has not answered."""

INTERRUPTED = "the guest's agent ended meanwhile"

_DELIMITER = b"\xff"

_RESET = b"\n" + _DELIMITER
"""Empties the agent's parser; the line end closes a string that a request may have left open."""


@final
class AgentChannel:
    """The connection to one guest's agent.

    Attributes:
        interruptions: How often the agent has ended: what one knew, the next does not.
    """

    def __init__(
        self, stream: trio.abc.Stream, explain: Explain, transcript: Transcript | None = None
    ) -> None:
        self._stream = stream
        self._transcript = transcript
        self._explain = explain
        self._lines = LineReader(stream, limit=LINE_LIMIT, error=AgentProtocolError)
        self._turn = trio.Lock()
        self.interruptions = 0
        self._in_step = False
        # A random beginning: answers to who used the channel before are not taken for ours.
        self._identifier = secrets.randbits(31)
        self._failure: Callable[[], MachineError] | None = None
        self._interruption: MachineError | None = None
        self._reading: trio.CancelScope | None = None
        # Not set while file systems are frozen.
        self._through = trio.Event()
        self._through.set()
        # Since when something was sent and nothing came; None when nothing is owed.
        self._silent_since: float | None = None

    async def wait_ready(self) -> None:
        """Wait until an agent answers, whether it starts before or after us.

        QEMU keeps what is sent until the guest opens the channel, and a guest that resets loses
        it: so the synchronisation is repeated, ever more slowly, and only the answer to the last
        one counts, because the others come before it.

        Raises:
            AgentClosedError: The connection ended.
            MachineError: The machine failed.
        """
        async with self._turn:
            pause = FIRST_PAUSE
            self._in_step = False
            while not self._in_step:
                with trio.move_on_after(pause), suppress(AgentInterruptedError):
                    await self._synchronise()
                pause = min(pause * 2, LONGEST_PAUSE)

    async def call(self, command: str, arguments: Mapping[str, object] | None = None) -> object:
        """Run an agent command and return what it returns; cancelling it does no harm.

        Raises:
            AgentCommandError: The agent refuses it, or it failed.
            AgentProtocolError: The agent sent nonsense.
            AgentClosedError: The connection ended.
            MachineError: The machine failed.
        """
        request = _request(command, arguments)
        async with self._turn:
            if not self._in_step:
                await self._synchronise()
            self._in_step = False
            self._identifier += 1
            await self._send(encode({**request, "id": self._identifier}))
            answer = await self._receive_answer()
            self._in_step, self._silent_since = True, None
        if "error" in answer:
            raise AgentCommandError(request, answer)
        return answer["return"]

    async def ask(self, command: str, arguments: Mapping[str, object] | None = None) -> object:
        """Do :meth:`call`, and wait meanwhile while others are held back.

        What an agent refuses it has not done: refused between :meth:`hold_back` and
        :meth:`let_through`, it is called again.
        """
        while True:
            await self._through.wait()
            try:
                return await self.call(command, arguments)
            except AgentCommandError:
                if self._through.is_set():
                    raise

    def hold_back(self) -> None:
        """Let :meth:`ask` wait until :meth:`let_through`: the agent is going to refuse all else."""
        if self._through.is_set():
            self._through = trio.Event()

    def let_through(self) -> None:
        """Let :meth:`ask` go on."""
        self._through.set()

    async def post(self, command: str, arguments: Mapping[str, object] | None = None) -> None:
        """Send a command that has no answer when it succeeds, such as ``guest-shutdown``.

        Raises:
            AgentClosedError: The connection has ended.
            MachineError: The machine failed.
        """
        async with self._turn:
            if not self._in_step:
                await self._synchronise()
            self._in_step = False
            await self._send(encode(_request(command, arguments)))

    async def post_blindly(self, command: str) -> None:
        """Send a command whether the agent answers or not: one that is busy does it next.

        Raises:
            AgentClosedError: The connection has ended.
            MachineError: The machine failed.
        """
        async with self._turn:
            self._in_step = False
            await self._send(_RESET + encode(_request(command, None)))

    async def measure_silence(self, limit: float) -> float:
        """Return for how long the agent has owed an answer; 0.0 when it owes none.

        One that owes something is asked again first: what it answered may not have been read.

        Args:
            limit: Seconds that it gets.

        Raises:
            MachineError: The machine failed, or the agent ended.
        """
        with trio.move_on_after(limit):
            async with self._turn:
                if not self._in_step:
                    await self._synchronise()
        since = self._silent_since
        return 0.0 if since is None else trio.current_time() - since

    def fail(self, error: Callable[[], MachineError] | None) -> None:
        """Let whoever awaits an answer, now or later, have this error; None ends that state."""
        self._failure = error
        if error is not None and self._reading is not None:
            self._reading.cancel()

    def interrupt(self) -> None:
        """Let who awaits an answer know that there will be none: its agent is gone."""
        self._in_step = False
        self.interruptions += 1
        if self._reading is not None:
            self._interruption = AgentInterruptedError(INTERRUPTED)
            self._reading.cancel()

    async def _synchronise(self) -> None:
        self._in_step = False
        self._identifier += 1
        number = self._identifier
        request = _request("guest-sync-delimited", {"id": number})
        await self._send(_RESET + encode(request))
        while True:
            line = await self._receive()
            _, delimiter, rest = line.rpartition(_DELIMITER)
            if delimiter and (decode(rest) or {}).get("return") == number:
                break
        self._in_step, self._silent_since = True, None

    async def _receive_answer(self) -> dict[str, object]:
        while True:
            line = await self._receive()
            if not line.strip():
                continue
            answer = decode(line)
            if answer is None or not ("return" in answer or "error" in answer):
                raise AgentProtocolError(f"the agent sent what is no answer: {excerpt(line)}")
            # Agents since QEMU 4.0 repeat the request's id; from older ones order is all there is.
            if answer.pop("id", self._identifier) == self._identifier:
                return answer

    async def _send(self, data: bytes) -> None:
        broken = (trio.BrokenResourceError, trio.ClosedResourceError)
        if self._transcript is not None:
            self._transcript.record(SENT, data)
        if self._silent_since is None:
            self._silent_since = trio.current_time()
        with self._interruptible(), suppress(*broken):
            await self._stream.send_all(data)
            return
        raise await self._ended()

    async def _receive(self) -> bytes:
        line = None
        with self._interruptible():
            line = await self._lines.receive()
        if line is None:
            raise await self._ended()
        if self._transcript is not None:
            self._transcript.record(RECEIVED, line)
        self._silent_since = trio.current_time()
        return line

    @contextmanager
    def _interruptible(self) -> Generator[None]:
        """Let :meth:`fail` end the wait inside."""
        self._interruption = None
        with trio.CancelScope() as self._reading:
            if self._failure is not None:
                self._reading.cancel()
            try:
                yield
            finally:
                self._reading = None

    async def _ended(self) -> MachineError:
        if self._interruption is not None:
            error, self._interruption = self._interruption, None
            return error
        if self._failure is not None:
            return self._failure()
        return await self._explain(AgentClosedError("the agent's channel was closed"))


def _request(command: str, arguments: Mapping[str, object] | None) -> dict[str, object]:
    request: dict[str, object] = {"execute": command}
    if arguments:
        request["arguments"] = dict(arguments)
    return request
