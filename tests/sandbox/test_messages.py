"""Messages arrive as they were sent, whatever their size."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.sandbox import messages
from netlab.sandbox.layout import lay_out
from netlab.sandbox.messages import Body, Message, Outgoing, read_segments, unpack
from tests.sandbox.conftest import count_descriptors, segment


def transfer(body: Body, *descriptors: int, pid: int | None = None) -> Message:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with Outgoing(body) as outgoing:
            ours.sendmsg([outgoing.data], outgoing.ancillary(descriptors, pid))
        data, ancillary, _, _ = theirs.recvmsg(*messages.RECEIVE)
        return unpack(data, ancillary)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON))
def test_any_body_arrives(body: Body) -> None:
    assert transfer(body).body == body


@pytest.mark.parametrize("size", [0, messages.INLINE_LIMIT - 20, messages.INLINE_LIMIT, 5_000_000])
def test_bodies_of_any_size_arrive_and_leave_no_descriptor(size: int) -> None:
    before = count_descriptors()
    message = transfer({"text": "x" * size})
    assert message.body == {"text": "x" * size}
    assert message.descriptors == ()
    assert count_descriptors() == before


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_descriptors_arrive_in_their_order_and_are_not_inherited(size: int) -> None:
    files = [os.memfd_create(f"file-{number}") for number in range(messages.DESCRIPTOR_LIMIT)]
    received = transfer({"text": "x" * size}, *files).descriptors
    try:
        assert list(map(os.fstat, received)) == list(map(os.fstat, files))
        assert not any(map(os.get_inheritable, received))
    finally:
        for file in (*files, *received):
            os.close(file)


def test_the_process_is_the_one_that_was_named() -> None:
    assert transfer({}, pid=os.getpid()).pid == os.getpid()


def test_segments_survive_the_journey() -> None:
    laid = lay_out([segment("a", 3, mtu=9000), segment("b", 0), segment("c", wire="fast")])
    assert read_segments(transfer({"segments": laid}).body["segments"]) == laid
