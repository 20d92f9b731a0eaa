"""A CD-ROM that boots: it says so on the serial port, and does nothing else."""

from __future__ import annotations

import struct

_SECTOR = 2048

# In real mode, wherever it is: each letter behind the code goes to the first serial port once that
# is ready for it, and then the CPU halts.
_CODE = bytes.fromhex(
    "e80000 5e 83c61f 2eac 84c0 7412 88c4 bafd03 ec a820 74fb baf803 88e0 ee ebe8 f4 ebfd"
)


def make_disc(message: str, label: str = "DISC") -> bytes:
    """Return an image: ISO 9660 with a label alone, El Torito 1.0 without emulation."""
    volume = bytearray(_SECTOR)
    volume[:7] = b"\x01CD001\x01"
    volume[40:72] = label.encode().ljust(32)
    record = b"\0CD001\x01EL TORITO SPECIFICATION".ljust(71, b"\0") + struct.pack("<I", 19)
    # The validation entry's words add up to zero.
    checked = b"\x01".ljust(28, b"\0") + bytes.fromhex("aa55 55aa")
    boot = b"\x88\0" + struct.pack("<HBxHI", 0, 0, 1, 20)
    sectors = (
        bytes(16 * _SECTOR),
        bytes(volume),
        record,
        b"\xffCD001\x01",
        checked + boot,
        _CODE + message.encode() + b"\r\n\0",
    )
    return b"".join(_padded(sector) for sector in sectors)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _SECTOR)
