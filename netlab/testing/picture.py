"""A picture of a screen as tesseract reads it."""

from __future__ import annotations

import re

from netlab.errors import MachineError
from netlab.process import run

_HEADER = re.compile(rb"P6\s+(\d+)\s+(\d+)\s+255\s")
"""Of a portable pixmap as QEMU writes it: three bytes a pixel follow, row by row. See ppm(5)."""

_SCALE = 2
"""A letter of a text console has 16 rows, of which tesseract reads nothing. It reads nearly all
letters of 32 rows, and of larger ones no more."""

_INVERTED = bytes(range(255, -1, -1))

_COMMAND = ("tesseract", "stdin", "stdout", "--psm", "6")
"""Page segmentation 6 is one block of text: what a screen is like, and columns stay in one line."""


async def read_picture(picture: bytes) -> tuple[str, ...]:
    """Return the text of a picture twice: read as it is, and with dark and light exchanged.

    What is read is never certain: letters that look alike are taken for each other.

    Args:
        picture: A portable pixmap (P6).

    Raises:
        MissingProgramError: tesseract is not installed.
        ProgramError: It failed.
        MachineError: This is no picture.
    """
    width, height, pixels = _parse(picture)
    readings: list[str] = []
    for shown in (pixels, pixels.translate(_INVERTED)):
        # Threads of its own make it slower where machines run beside it.
        done = await run(
            _COMMAND, stdin=enlarge(width, height, shown), environment={"OMP_THREAD_LIMIT": "1"}
        )
        lines = done.stdout.decode(errors="replace").splitlines()
        readings.append("\n".join(line.rstrip() for line in lines if line.strip()))
    return tuple(readings)


def enlarge(width: int, height: int, pixels: bytes) -> bytes:
    """Return a larger picture as a portable pixmap.

    Args:
        width: In pixels.
        height: In pixels.
        pixels: Three bytes each, row by row.
    """
    wide = bytearray(len(pixels) * _SCALE)
    for copy in range(_SCALE):
        for colour in range(3):
            wide[copy * 3 + colour :: 3 * _SCALE] = pixels[colour::3]
    row = width * 3 * _SCALE
    rows = (bytes(wide[start : start + row]) * _SCALE for start in range(0, len(wide), row))
    return b"P6\n%d %d\n255\n" % (width * _SCALE, height * _SCALE) + b"".join(rows)


def _parse(picture: bytes) -> tuple[int, int, bytes]:
    found = _HEADER.match(picture)
    if found is None:
        raise MachineError("QEMU took a picture that is no portable pixmap")
    width, height = int(found[1]), int(found[2])
    pixels = picture[found.end() :]
    if len(pixels) != width * height * 3:
        raise MachineError("QEMU took a picture that is not complete")
    return width, height, pixels
