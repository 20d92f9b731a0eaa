"""lz4 as Linux has it: the "legacy" frame of kernels and initial RAM disks.

Of what the kernel can unpack, lz4 costs an emulated guest least (docs/images.md has the figures).
The library is the one that apt itself needs, so it is wherever an image can be built.
Source: lz4_Frame_format.md, "Legacy frame"; lib/decompress_unlz4.c of the kernel.
"""

from __future__ import annotations

import ctypes
import struct
from functools import cache

from netlab.errors import ImageError, MissingFeatureError

MAGIC = b"\x02\x21\x4c\x18"

BLOCK = 8 << 20
"""Bytes of content in every block but the last."""

LEVEL = 9
"""Best for its time: 12 is 0.4 % smaller and takes five times as long."""

_SIZE = struct.Struct("<I")


def compress(data: bytes) -> bytes:
    """Return one frame.

    Raises:
        MissingFeatureError: The host has no lz4 library.
    """
    starts = range(0, len(data), BLOCK)
    return MAGIC + b"".join(compress_block(data[start : start + BLOCK]) for start in starts)


def compress_block(data: bytes) -> bytes:
    """Return a block of a frame, which is :data:`MAGIC` and blocks.

    Args:
        data: :data:`BLOCK` bytes, or what is left of the content in the last block.

    Raises:
        MissingFeatureError: The host has no lz4 library.
    """
    library = _load_library()
    room = ctypes.create_string_buffer(library.LZ4_compressBound(len(data)))
    size = library.LZ4_compress_HC(data, room, len(data), len(room), LEVEL)
    return _SIZE.pack(size) + room.raw[:size]


def decompress(frame: bytes) -> bytes:
    """Return the content of one frame; what follows the frame is ignored.

    Raises:
        ImageError: It is damaged, or no such frame.
        MissingFeatureError: The host has no lz4 library.
    """
    if not frame.startswith(MAGIC):
        raise ImageError("not an lz4 frame of the legacy form")
    library = _load_library()
    room = ctypes.create_string_buffer(BLOCK)
    content = bytearray()
    position = len(MAGIC)
    while position + _SIZE.size <= len(frame):
        size = _SIZE.unpack_from(frame, position)[0]
        position += _SIZE.size
        block = frame[position : position + size]
        if size == 0 or len(block) < size:
            break
        written = library.LZ4_decompress_safe(block, room, size, BLOCK)
        if written < 0:
            raise ImageError("a damaged lz4 frame")
        content += ctypes.string_at(room, written)
        position += size
        if written < BLOCK:
            break
    return bytes(content)


@cache
def _load_library() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("liblz4.so.1")
    except OSError as error:
        raise MissingFeatureError(
            f"the lz4 library cannot be loaded: {error}",
            hint="apt-get install --no-install-recommends liblz4-1",
        ) from error
