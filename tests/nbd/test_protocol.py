"""Requests, heads, pieces and their assembly, without a connection."""

from __future__ import annotations

import itertools
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.errors import NBDError
from netlab.nbd.assembly import CHUNK_LIMIT, ReadReply, StatusReply
from netlab.nbd.protocol import (
    STATUS_LIMIT,
    Chunk,
    ChunkHead,
    Command,
    Extent,
    SimpleHead,
    build_request,
    check_payload,
    describe_errno,
    iterate_status,
    measure_head,
    parse_error,
    parse_head,
)

NUMBERS = st.integers(0, 2**32 - 1)
LARGE = st.integers(0, 2**64 - 1)


def head(kind: int, length: int, *, done: bool = True) -> ChunkHead:
    return ChunkHead(cookie=1, kind=kind, length=length, done=done)


def test_a_request_is_28_bytes_as_the_protocol_draws_it() -> None:
    request = build_request(Command.READ, cookie=0x0102030405060708, offset=512, length=4096)
    assert request == bytes.fromhex("25609513 0000 0000 0102030405060708 0000000000000200 00001000")


@given(cookie=LARGE, errno=NUMBERS)
def test_a_simple_head_is_read_as_it_was_written(cookie: int, errno: int) -> None:
    data = pack(">IIQ", 0x67446698, errno, cookie)
    for structured in (False, True):
        assert measure_head(data, structured=structured) == 16
    assert parse_head(data) == SimpleHead(cookie, errno)


@given(cookie=LARGE, flags=st.integers(0, 65535), kind=st.integers(0, 65535), length=NUMBERS)
def test_a_chunk_head_is_read_as_it_was_written(
    cookie: int, flags: int, kind: int, length: int
) -> None:
    data = pack(">IHHQI", 0x668E33EF, flags, kind, cookie, length)
    assert measure_head(data[:16], structured=True) == 20
    assert parse_head(data) == ChunkHead(cookie, kind, length, bool(flags & 1))
    with pytest.raises(NBDError, match="0x668e33ef"):
        measure_head(data[:16], structured=False)


@given(kind=st.sampled_from(list(Chunk)) | st.integers(0, 65535), length=NUMBERS)
def test_only_data_that_were_asked_for_may_be_long(kind: int, length: int) -> None:
    try:
        check_payload(head(kind, length))
    except NBDError:
        return
    assert kind == Chunk.OFFSET_DATA or length <= STATUS_LIMIT


@given(errno=st.integers(1, 2**32 - 1), words=st.text(max_size=40), rest=st.binary(max_size=8))
def test_an_error_chunk_has_a_number_and_words(errno: int, words: str, rest: bytes) -> None:
    encoded = words.encode()
    assert parse_error(pack(">IH", errno, len(encoded)) + encoded + rest) == (errno, words)


@pytest.mark.parametrize("payload", [pack(">IH", 0, 0), pack(">IH", 5, 9) + b"short"])
def test_an_error_chunk_that_is_none_is_an_error(payload: bytes) -> None:
    with pytest.raises(NBDError, match="error chunk that is none"):
        parse_error(payload)


def test_errors_are_said_in_the_words_of_the_protocol_and_not_of_the_host() -> None:
    assert describe_errno(108) == "the server is shutting down (ESHUTDOWN)"
    assert describe_errno(9999) == "error 9999"


DESCRIPTORS = st.lists(st.tuples(st.integers(1, 2**32 - 1), st.integers(0, 15)), min_size=1)


@given(DESCRIPTORS, st.integers(0, 2**62), st.integers(1, 2**30))
def test_extents_are_what_the_bit_zero_says_without_gaps(
    descriptors: list[tuple[int, int]], offset: int, length: int
) -> None:
    payload = pack(">I", 7) + b"".join(pack(">II", *each) for each in descriptors)
    extents = list(iterate_status(payload, offset=offset, length=length))
    assert extents[0].offset == offset
    covered = min(length, sum(size for size, _ in descriptors))
    assert sum(extent.length for extent in extents) == covered
    for before, after in itertools.pairwise(extents):
        assert after.offset == before.offset + before.length
        assert after.kind != before.kind
    position = offset
    for size, state in descriptors:
        # ZERO is bit 1; a HOLE alone (bit 0) has data that nobody knows.
        kinds = [
            each.kind for each in extents if each.offset <= position < each.offset + each.length
        ]
        assert kinds == (["zero" if state & 2 else "data"] if position < offset + length else [])
        position += size


@st.composite
def pieces(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int]]]:
    """A disk's part, and its cuts into pieces in some order."""
    data = draw(st.binary(min_size=1, max_size=200))
    edges = sorted({0, len(data), *draw(st.lists(st.integers(0, len(data)), max_size=8))})
    parts = list(itertools.pairwise(edges))
    return data, draw(st.permutations(parts))


@given(pieces(), st.integers(0, 2**62))
def test_a_read_does_not_depend_on_the_pieces_and_their_order(
    cut: tuple[bytes, list[tuple[int, int]]], offset: int
) -> None:
    data, parts = cut
    reply = ReadReply(offset, memoryview(bytearray(b"\xff" * len(data))))
    for start, stop in parts:
        with pytest.raises(NBDError, match="before all of it"):
            reply.finish()
        if any(data[start:stop]):
            reply.claim(offset + start, stop - start)[:] = data[start:stop]
        else:
            payload = pack(">QI", offset + start, stop - start)
            reply.take(head(Chunk.OFFSET_HOLE, 12), payload)
    reply.finish()
    assert reply.data == data


@given(pieces(), st.integers(-10, 210), st.integers(-5, 2**32))
def test_bytes_that_came_or_were_not_asked_for_are_an_error(
    cut: tuple[bytes, list[tuple[int, int]]], start: int, length: int
) -> None:
    data, parts = cut
    reply = ReadReply(1000, memoryview(bytearray(len(data))))
    claimed = parts[: len(parts) // 2]
    for begin, end in claimed:
        reply.claim(1000 + begin, end - begin)
    free = set(range(len(data))) - {each for begin, end in claimed for each in range(begin, end)}
    if length in range(1, 300) and set(range(start, start + length)) <= free:
        reply.claim(1000 + start, length)
        return
    with pytest.raises(NBDError, match="the server sent"):
        reply.claim(1000 + start, length)


def test_a_reply_without_end_is_an_error() -> None:
    reply = ReadReply(0, memoryview(bytearray(CHUNK_LIMIT + 1)))
    for position in range(CHUNK_LIMIT):
        reply.claim(position, 1)
    with pytest.raises(NBDError, match=f"more than {CHUNK_LIMIT} chunks"):
        reply.claim(CHUNK_LIMIT, 1)


def test_the_first_error_of_a_reply_counts_and_excuses_what_is_missing() -> None:
    reply = ReadReply(0, memoryview(bytearray(512)))
    for errno, words in ((5, b"bad sector"), (12, b"")):
        payload = pack(">IH", errno, len(words)) + words
        reply.take(head(Chunk.ERROR, len(payload)), payload)
    reply.finish()
    assert (reply.errno, reply.words) == (5, "bad sector")


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (pack(">III", 8, 512, 0), "not asked for"),
        (pack(">IIII", 7, 512, 0, 1), "not asked for"),
        (pack(">III", 7, 0, 0), "empty extent"),
    ],
)
def test_a_block_status_that_is_no_answer_is_an_error(payload: bytes, message: str) -> None:
    with pytest.raises(NBDError, match=message):
        StatusReply(0, 512, 7).take(head(Chunk.BLOCK_STATUS, len(payload)), payload)


def test_a_second_block_status_is_an_error() -> None:
    reply, payload = StatusReply(0, 512, 7), pack(">III", 7, 512, 0)
    reply.take(head(Chunk.BLOCK_STATUS, 12, done=False), payload)
    assert list(iterate_status(reply.status, offset=0, length=512)) == [Extent(0, 512, "data")]
    with pytest.raises(NBDError, match="type 5 that was not asked for"):
        reply.take(head(Chunk.BLOCK_STATUS, 12), payload)
