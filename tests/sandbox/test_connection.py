"""The owner's end of the socket, against another end that misbehaves."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager

import pytest
import trio

from netlab.errors import SandboxError, UnknownNameError
from netlab.sandbox import messages
from netlab.sandbox.connection import Connection
from netlab.sandbox.messages import Body, Outgoing, RefusedError, unpack
from tests.sandbox.conftest import SOON, count_descriptors


@contextmanager
def connect() -> Generator[tuple[Connection, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with trio.socket.from_stdlib_socket(ours) as end, theirs:
        yield Connection(end), theirs


def say(peer: socket.socket, body: Body, *descriptors: int) -> None:
    with Outgoing(body) as outgoing:
        peer.sendmsg([outgoing.data], outgoing.ancillary(descriptors))


def listen(peer: socket.socket) -> Body:
    data, ancillary, _, _ = peer.recvmsg(*messages.RECEIVE)
    return unpack(data, ancillary).body


async def test_a_launch_whose_caller_and_sandbox_are_gone_does_not_hold_the_end_up() -> None:
    with connect() as (connection, peer):
        say(peer, {"id": 99, "child": 7})
        peer.close()
        with trio.fail_after(SOON):
            await connection.pump()


async def test_a_launch_whose_caller_is_gone_is_undone() -> None:
    with connect() as (connection, peer):
        say(peer, {"id": 99, "child": 7})
        peer.shutdown(socket.SHUT_WR)
        with trio.fail_after(SOON):
            await connection.pump()
        undone = listen(peer)
        assert (undone["do"], undone["child"], undone["number"]) == ("signal", 7, 9)


async def test_descriptors_whose_caller_is_gone_are_closed() -> None:
    with connect() as (connection, peer):
        before = count_descriptors()
        say(peer, {"id": 99}, 0, 1, 2)
        peer.shutdown(socket.SHUT_WR)
        await connection.pump()
        assert count_descriptors() == before


async def test_answers_find_their_requests_in_any_order() -> None:
    answers: dict[str, object] = {}

    async def ask(connection: Connection, verb: str) -> None:
        answers[verb] = (await connection.request(verb)).message.body["text"]

    with connect() as (connection, peer):
        async with trio.open_nursery() as nursery:
            for verb in ("one", "two", "three"):
                nursery.start_soon(ask, connection, verb)
            await trio.testing.wait_all_tasks_blocked()
            for request in reversed([listen(peer) for _ in range(3)]):
                say(peer, {"id": request["id"], "text": request["do"].upper()})
            peer.shutdown(socket.SHUT_WR)
            await connection.pump()
    assert answers == {"one": "ONE", "two": "TWO", "three": "THREE"}


async def test_a_refusal_becomes_the_error_that_it_names() -> None:
    refusal = RefusedError("UnknownNameError", "no such", hint="look", evidence="nowhere")
    with connect() as (connection, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.pump)
            say(peer, {"id": 1, "error": refusal.to_body()})
            with pytest.raises(UnknownNameError) as caught:
                await connection.request("anything")
            nursery.cancel_scope.cancel()
    error = caught.value
    assert (error.message, error.hint, error.evidence) == ("no such", "look", "nowhere")


async def test_a_request_to_nobody_waits_for_the_reason_and_raises_it() -> None:
    with connect() as (connection, peer):
        peer.close()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(SandboxError, match="the reason"):
                    await connection.request("anything")

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            connection.lose(SandboxError("the reason"))
            connection.lose(SandboxError("a later one"))
        assert str(connection.error()) == "the reason"


async def test_an_answer_that_is_there_is_not_lost_to_a_cancellation() -> None:
    reader, writer = os.pipe()
    with connect() as (connection, peer):
        say(peer, {"id": 1}, writer)
        os.close(writer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.pump)
            with trio.CancelScope() as scope:
                answer = await connection.request("anything")
                scope.cancel()
                os.close(answer.message.descriptors[0])
            nursery.cancel_scope.cancel()
    assert os.read(reader, 1) == b""
    os.close(reader)
