"""lz4.py: frames that are read back, and damaged ones that are refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.errors import ImageError
from netlab.image import lz4


@given(st.binary(max_size=2000), st.integers(0, 3))
def test_what_is_compressed_is_read_back(data: bytes, repeat: int) -> None:
    content = data * 10**repeat
    assert lz4.decompress(lz4.compress(content)) == content


@pytest.mark.parametrize("size", [lz4.BLOCK - 1, lz4.BLOCK, lz4.BLOCK + 1, 2 * lz4.BLOCK])
def test_blocks_meet_without_a_gap(size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    assert lz4.decompress(lz4.compress(content[:size])) == content[:size]


def test_the_same_content_gives_the_same_frame() -> None:
    assert lz4.compress(b"netlab" * 999) == lz4.compress(b"netlab" * 999)


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(ImageError, match="not an lz4 frame"):
        lz4.decompress(b"\x28\xb5\x2f\xfd")


@given(st.data())
def test_a_damaged_frame_is_refused_or_read(data: st.DataObject) -> None:
    frame = bytearray(lz4.compress(bytes(range(256)) * 8))
    frame[data.draw(st.integers(4, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(ImageError):
        assert len(lz4.decompress(bytes(frame))) <= lz4.BLOCK
