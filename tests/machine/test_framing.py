"""Lines out of a stream."""

from itertools import pairwise

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.errors import QMPProtocolError
from netlab.machine.framing import LineReader, decode, encode


class Pieces(trio.abc.ReceiveStream):
    """Gives out these pieces, then the end or a reset."""

    def __init__(self, pieces: list[bytes], *, reset: bool = False) -> None:
        self.pieces = pieces
        self.reset = reset

    async def receive_some(self, max_bytes: int | None = None) -> bytes:  # noqa: ARG002
        await trio.lowlevel.checkpoint()
        if self.pieces:
            return self.pieces.pop(0)
        if self.reset:
            raise trio.BrokenResourceError
        return b""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def read_all(stream: trio.abc.ReceiveStream, limit: int = 1000) -> list[bytes]:
    reader = LineReader(stream, limit=limit, error=QMPProtocolError)
    lines: list[bytes] = []
    while (line := await reader.receive()) is not None:
        lines.append(line)
    return lines


@given(
    lines=st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"\n", b" ")), max_size=8),
    cuts=st.lists(st.integers(0, 200), max_size=10),
)
@settings(deadline=None, max_examples=60)
def test_lines_do_not_depend_on_where_the_stream_is_cut(
    lines: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(line + b"\n" for line in lines)
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    pieces = [data[start:end] for start, end in pairwise(edges)]
    assert trio.run(read_all, Pieces(pieces)) == lines


@pytest.mark.parametrize("reset", [False, True])
async def test_a_line_that_the_end_cuts_short_is_dropped(reset: bool) -> None:
    assert await read_all(Pieces([b"one\ntw", b"o"], reset=reset)) == [b"one"]


@pytest.mark.parametrize("pieces", [[b"x" * 2000], [b"x" * 600, b"x" * 600], [b"x" * 1001 + b"\n"]])
async def test_a_line_without_measure_is_refused(pieces: list[bytes]) -> None:
    with pytest.raises(QMPProtocolError, match="longer than 1000 bytes"):
        await read_all(Pieces(pieces))


async def test_a_cancelled_reader_loses_nothing(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001  # Trio takes the clock that a test asks for
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    reader = LineReader(ours, limit=100, error=QMPProtocolError)
    await theirs.send_all(b"hal")
    with trio.move_on_after(1):
        await reader.receive()
    await theirs.send_all(b"f\n")
    assert await reader.receive() == b"half"


@pytest.mark.parametrize("line", [b"", b"[1]", b"{", b"\xff\xfe", b"nonsense", b"[" * 100_000])
def test_what_is_no_object_is_none(line: bytes) -> None:
    assert decode(line) is None


def test_messages_are_one_ascii_line() -> None:
    line = encode({"a": "ü\n"})
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert decode(line) == {"a": "ü\n"}
