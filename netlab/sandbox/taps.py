"""Taps: /dev/net/tun, one descriptor each, gone when the last descriptor closes."""

from __future__ import annotations

import fcntl
import os
import struct

TUN = "/dev/net/tun"

READ_SIZE = 65536 + 64
"""Enough for the longest frame with its header."""

VNET_HEADER = 10
"""Bytes of struct virtio_net_hdr before a frame of a ``fast`` tap, until QEMU asks for 12."""

# linux/if_tun.h
_TUNSETIFF = 0x400454CA
_TUNSETIFINDEX = 0x400454DA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR, _IFF_TUN_EXCL = 0x0002, 0x1000, 0x4000, 0x8000
_IFREQ = struct.Struct("16sH22x")


def open_tap(name: str, index: int, *, fast: bool) -> int:
    """Make a tap; return its descriptor, which does not block.

    Args:
        name: Its name, 1 to 15 bytes, checked before.
        index: Its interface number.
        fast: Whether frames carry a virtio header, for guests with offloads.

    Raises:
        OSError: The kernel refuses.
    """
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_TUN_EXCL | (_IFF_VNET_HDR if fast else 0)
    tap = os.open(TUN, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.ioctl(tap, _TUNSETIFINDEX, struct.pack("I", index))
        fcntl.ioctl(tap, _TUNSETIFF, _IFREQ.pack(name.encode(), flags))
    except OSError:
        os.close(tap)
        raise
    return tap


def read_frames(tap: int) -> list[bytes]:
    """Return the frames that wait on a tap, taking them off it."""
    frames: list[bytes] = []
    while True:
        try:
            frames.append(os.read(tap, READ_SIZE))
        except BlockingIOError:
            return frames
