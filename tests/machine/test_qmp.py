"""The QMP client against a peer that this file plays."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from netlab.errors import (
    MachineDiedError,
    MachineError,
    QMPClosedError,
    QMPCommandError,
    QMPError,
    QMPProtocolError,
)
from netlab.machine.framing import LineReader
from netlab.machine.qmp import EVENT_LIMIT, QMP, Explain, open_qmp, take_as_is
from netlab.scopes import open_background

GREETING: dict[str, Any] = {
    "QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}}, "capabilities": []}
}


class Peer:
    """QEMU's side of the connection."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.lines = LineReader(stream, limit=1 << 20, error=QMPProtocolError)

    async def send(self, *messages: object) -> None:
        text = "".join(json.dumps(message) + "\r\n" for message in messages)
        await self.stream.send_all(text.encode())

    async def receive(self) -> dict[str, Any]:
        line = await self.lines.receive()
        assert line is not None
        return json.loads(line)

    async def event(self, name: str, **data: object) -> None:
        stamp = {"seconds": 10, "microseconds": 500_000}
        await self.send({"event": name, "data": data, "timestamp": stamp})


@asynccontextmanager
async def connected(explain: Explain = take_as_is) -> AsyncGenerator[tuple[QMP, Peer]]:
    ours, theirs = trio.testing.memory_stream_pair()
    peer = Peer(theirs)

    async def greet() -> None:
        await peer.send(GREETING)
        request = await peer.receive()
        assert request["execute"] == "qmp_capabilities"
        await peer.send({"return": {}, "id": request["id"]})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(greet)
        async with open_qmp(ours, explain=explain) as qmp:
            yield qmp, peer
        nursery.cancel_scope.cancel()


async def test_answers_find_their_commands_out_of_order_and_between_events() -> None:
    results: dict[str, object] = {}
    async with connected() as (qmp, peer), trio.open_nursery() as nursery:

        async def ask(command: str) -> None:
            results[command] = await qmp.execute(command, x=command)

        for command in ("one", "two", "three"):
            nursery.start_soon(ask, command)
        requests = [await peer.receive() for _ in range(3)]
        for request in reversed(requests):
            await peer.event("NOISE")
            await peer.send({"return": request["arguments"]["x"], "id": request["id"]})
    assert results == {"one": "one", "two": "two", "three": "three"}


async def test_a_refused_command_says_what_was_sent_and_received() -> None:
    async with connected() as (qmp, peer), trio.open_nursery() as nursery:

        async def refuse() -> None:
            request = await peer.receive()
            error = {"class": "GenericError", "desc": "no such device"}
            await peer.send({"error": error, "id": request["id"]})

        nursery.start_soon(refuse)
        with pytest.raises(QMPCommandError, match="QMP set_link: no such device") as caught:
            await qmp.execute("set_link", name="nic9", up=False)
    assert caught.value.error_class == "GenericError"
    assert caught.value.sent["arguments"] == {"name": "nic9", "up": False}


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_the_end_of_the_stream_ends_every_pending_call_and_wait(how: str) -> None:
    ended: list[str] = []
    async with connected() as (qmp, peer):
        async with trio.open_nursery() as nursery:

            async def ask(command: str) -> None:
                with pytest.raises(QMPClosedError):
                    await qmp.execute(command)
                ended.append(command)

            async def listen() -> None:
                with qmp.events() as events, pytest.raises(QMPClosedError):
                    await events.wait()
                ended.append("events")

            nursery.start_soon(ask, "a")
            nursery.start_soon(ask, "b")
            nursery.start_soon(listen)
            await peer.receive()
            await peer.receive()
            if how == "end":
                await peer.stream.aclose()
            else:
                peer.stream.receive_stream.close()
                peer.stream.send_stream.close()
        with pytest.raises(QMPClosedError):
            await qmp.execute("later")
        with qmp.events() as events, pytest.raises(QMPClosedError):
            await events.wait()
    assert sorted(ended) == ["a", "b", "events"]


async def test_the_end_is_explained_by_who_knows_better() -> None:
    async def explain(_error: MachineError) -> MachineError:
        await trio.lowlevel.checkpoint()
        return MachineDiedError("r1", ["qemu"], -9, "")

    async with connected(explain) as (qmp, peer):
        await peer.stream.aclose()
        with pytest.raises(MachineDiedError, match="r1: QEMU was killed by SIGKILL"):
            await qmp.execute("stop")


@pytest.mark.parametrize(
    "nonsense",
    [
        b"what?\n",
        b"[]\n",
        b'{"neither": 1}\n',
        b'{"return": {}}\n',
        b'{"return": {}, "id": 77}\n',
        b'{"return": {}, "id": "x"}\n',
        b'{"event": 7}\n',
        b'{"event": "STOP", "data": [], "timestamp": {"seconds": 1, "microseconds": 1}}\n',
        b"\xff\xfe\n",
    ],
)
async def test_nonsense_ends_the_connection_for_pending_calls(nonsense: bytes) -> None:
    async with connected() as (qmp, peer), trio.open_nursery() as nursery:

        async def babble() -> None:
            await peer.receive()
            await peer.stream.send_all(nonsense)

        nursery.start_soon(babble)
        with pytest.raises(QMPProtocolError):
            await qmp.execute("query-status")


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH\n", b'{"hello": 1}\n'])
async def test_what_does_not_greet_like_qemu_is_refused(greeting: bytes) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(greeting)
    with pytest.raises(QMPProtocolError):
        async with open_qmp(ours):
            pytest.fail("it was taken for QEMU")


async def test_an_end_before_the_greeting_is_an_end() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b'{"QMP"')
    await theirs.aclose()
    with pytest.raises(QMPClosedError, match="before the greeting"):
        async with open_qmp(ours):
            pytest.fail("it was taken for QEMU")


async def test_a_cancelled_call_does_not_disturb_the_next(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001  # Trio takes the clock that a test asks for
) -> None:
    async with connected() as (qmp, peer), trio.open_nursery() as nursery:
        with trio.move_on_after(1):
            await qmp.execute("slow")
        slow = await peer.receive()

        async def answer() -> None:
            request = await peer.receive()
            await peer.send(
                {"return": "late", "id": slow["id"]}, {"return": "right", "id": request["id"]}
            )

        nursery.start_soon(answer)
        assert await qmp.execute("next") == "right"


async def test_a_subscriber_misses_no_event_of_its_kind() -> None:
    async with connected() as (qmp, peer):
        with qmp.events("STOP", "RESUME") as events:
            for index in range(200):
                await peer.event("NOISE")
                await peer.event("STOP", index=index)
            await peer.event("RESUME")
            seen = [(await events.wait()).data["index"] for _ in range(200)]
            assert seen == list(range(200))
            resumed = await events.wait(lambda event: event.name == "RESUME")
            assert resumed.seconds == 10.5


async def test_a_subscriber_that_does_not_read_is_told_and_blocks_nobody() -> None:
    async with connected() as (qmp, peer):
        with qmp.events() as events:
            for index in range(EVENT_LIMIT + 1):
                await peer.event("STOP", index=index)

            async with trio.open_nursery() as nursery:

                async def answer() -> None:
                    request = await peer.receive()
                    await peer.send({"return": 1, "id": request["id"]})

                nursery.start_soon(answer)
                assert await qmp.execute("query-status") == 1
            for _ in range(EVENT_LIMIT):
                await events.wait()
            with pytest.raises(QMPError, match="left unread"):
                await events.wait()


async def test_an_error_in_a_block_with_background_tasks_leaves_as_itself() -> None:
    async def fail() -> None:
        async with open_background() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise KeyError("mine")

    with pytest.raises(KeyError):
        await fail()


async def test_a_descriptor_that_was_given_up_before_its_turn_is_not_sent() -> None:
    ours, theirs = trio.socket.socketpair()
    stream = trio.SocketStream(ours)
    qmp, peer = QMP(stream, take_as_is), Peer(trio.SocketStream(theirs))
    async with stream, peer.stream, trio.open_nursery() as nursery:
        with trio.CancelScope() as given_up:
            nursery.start_soon(_cancel_when_blocked, given_up)
            await qmp.give_descriptor("gone", 1)
        nursery.start_soon(qmp.run_writer)
        nursery.start_soon(qmp.give_descriptor, "kept", ours.fileno())
        assert (await peer.receive())["arguments"] == {"fdname": "kept"}
        nursery.cancel_scope.cancel()


async def _cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()
