"""From the greeting to an export, without a connection."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.errors import NBDError
from netlab.nbd.negotiation import PAYLOAD_LIMIT, REPLY_LIMIT, BlockSize, Export, negotiate

GREETING = b"NBDMAGICIHAVEOPT\x00\x03"
UNSUPPORTED, UNKNOWN, TLS = 0x80000001, 0x80000006, 0x80000005


def reply(option: int, kind: int, data: bytes = b"") -> bytes:
    return pack(">QIII", 0x3E889045565A9, option, kind, len(data)) + data


STRUCTURED = reply(8, 1)
ALLOCATION = reply(10, 4, b"\x00\x00\x00\x07base:allocation") + reply(10, 1)
SIZE = reply(7, 3, pack(">HQH", 0, 4096, 1))
BLOCKS = reply(7, 3, pack(">HIII", 3, 512, 4096, 65536))
GO = SIZE + BLOCKS + reply(7, 1)


def play(script: bytes, name: str = "disk") -> tuple[Export, bytes]:
    """Run the negotiation against a server that sends this; return what the client sent, too."""
    steps, sent, received = negotiate(name), b"", b""
    try:
        step = next(steps)
        while True:
            if isinstance(step, bytes):
                sent, received = sent + step, b""
            else:
                assert 0 < step <= PAYLOAD_LIMIT
                received, script = script[:step], script[step:]
                if len(received) < step:
                    raise EOFError
            step = steps.send(received)
    except StopIteration as stop:
        return stop.value, sent


def test_an_export_comes_with_structured_replies_and_block_status() -> None:
    export, sent = play(GREETING + STRUCTURED + ALLOCATION + GO)
    assert export == Export(4096, BlockSize(512, 4096, 65536), structured=True, context=7)
    assert sent == (
        b"\x00\x00\x00\x03"
        b"IHAVEOPT\x00\x00\x00\x08\x00\x00\x00\x00"
        b"IHAVEOPT\x00\x00\x00\x0a\x00\x00\x00\x1f"
        b"\x00\x00\x00\x04disk\x00\x00\x00\x01\x00\x00\x00\x0fbase:allocation"
        b"IHAVEOPT\x00\x00\x00\x07\x00\x00\x00\x0c\x00\x00\x00\x04disk\x00\x01\x00\x03"
    )


def test_a_server_that_refuses_structured_replies_is_not_asked_for_block_status() -> None:
    export, _ = play(GREETING + reply(8, UNSUPPORTED) + GO)
    assert (export.structured, export.context) == (False, None)


def test_a_server_without_block_status_still_has_structured_replies() -> None:
    for refusal in (reply(10, UNSUPPORTED), reply(10, 1)):
        export, _ = play(GREETING + STRUCTURED + refusal + GO)
        assert (export.structured, export.context) == (True, None)


@pytest.mark.parametrize(("flags", "padding"), [(b"\x00\x03", 0), (b"\x00\x01", 124)])
def test_a_server_that_does_not_know_go_is_asked_by_name(flags: bytes, padding: int) -> None:
    old = reply(8, UNSUPPORTED) + reply(7, UNSUPPORTED) + pack(">QH", 512, 1) + bytes(padding)
    export, sent = play(GREETING[:16] + flags + old)
    assert export == Export(512, BlockSize(), structured=False, context=None)
    assert sent.endswith(b"IHAVEOPT\x00\x00\x00\x01\x00\x00\x00\x04disk")


@pytest.mark.parametrize(
    ("refusal", "message"),
    [(UNKNOWN, "has no export of that name"), (TLS, "wants TLS"), (0x800000FF, "0x800000ff")],
)
def test_a_refusal_is_said_in_words_with_those_of_the_server(refusal: int, message: str) -> None:
    script = GREETING + STRUCTURED + ALLOCATION + reply(7, refusal, b"not today")
    with pytest.raises(NBDError, match=message) as caught:
        play(script)
    assert caught.value.evidence == "not today"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1", "not an NBD server"),
        (b"NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53\x00\x00", "too old"),
        (b"NBDMAGICIHAVEOPT\x00\x00", "too old"),
        (GREETING + bytes(20), "not a reply to the option"),
        (GREETING + reply(7, 1), "not a reply to the option"),
        (GREETING + reply(8, 1)[:16] + b"\xff\xff\xff\xff", "a reply of 4294967295 bytes"),
        (GREETING + reply(8, 3) * REPLY_LIMIT, f"more than {REPLY_LIMIT} replies"),
        (GREETING + STRUCTURED + reply(10, 4, b"\x00\x00\x00\x07other:x") + reply(10, 1), "asked"),
        (GREETING + STRUCTURED + ALLOCATION + BLOCKS + reply(7, 1), "did not say how large"),
        (
            GREETING
            + STRUCTURED
            + ALLOCATION
            + reply(7, 3, pack(">HQH", 0, 1 << 63, 1))
            + GO[-20:],
            "9223372036854775808 bytes",
        ),
    ],
)
def test_nonsense_is_an_error_that_says_which(script: bytes, message: str) -> None:
    with pytest.raises(NBDError, match=message):
        play(script)


@pytest.mark.parametrize(
    "sizes",
    [(0, 4096, 65536), (3, 4096, 65536), (512, 4095, 65536), (512, 4096, 512), (1 << 17,) * 3],
)
def test_block_sizes_that_cannot_be_are_an_error(sizes: tuple[int, int, int]) -> None:
    script = GREETING + STRUCTURED + ALLOCATION + SIZE + reply(7, 3, pack(">HIII", 3, *sizes))
    with pytest.raises(NBDError, match="block sizes that cannot be"):
        play(script + reply(7, 1))


def test_a_name_that_is_too_long_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(NBDError, match="4097 bytes"):
        play(b"", "x" * 4097)


PARTS = st.sampled_from([
    STRUCTURED, ALLOCATION, SIZE, BLOCKS, GO, reply(7, 1), reply(10, 1), reply(10, 4, b"\x07"),
    reply(7, 3), reply(7, 3, b"\x00\x00"), reply(7, UNSUPPORTED), reply(8, UNSUPPORTED, b"\xff"),
    pack(">QH", 1, 0),
])  # fmt: skip


@given(st.lists(PARTS | st.binary(max_size=30), max_size=12))
def test_whatever_a_server_sends_ends_as_an_export_an_error_or_the_end(parts: list[bytes]) -> None:
    try:
        export, _ = play(GREETING + b"".join(parts))
    except (NBDError, EOFError):
        return
    assert 0 <= export.size < 1 << 63
