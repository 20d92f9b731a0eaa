"""Frames of a link, as they pass: from a packet socket in the sandbox, kept and written as pcap."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import trio

from netlab.errors import MissingFeatureError
from netlab.scopes import open_background

if TYPE_CHECKING:
    from netlab.lab.lab import Lab

SNAPSHOT = 65535 + 18
"""Bytes of the longest frame that is kept: the largest MTU, an Ethernet header and a VLAN tag."""

LIMIT = 256 * 1024 * 1024
"""Bytes of all frames together; what comes behind is counted and not kept."""

_PCAP = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_MAGIC_NANOSECONDS = 0xA1B23C4D
_ETHERNET = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame: when it passed, in nanoseconds since the epoch, and its bytes."""

    time: int
    data: bytes


@final
@dataclass(slots=True)
class Capture:
    """What was captured; it grows while its block runs.

    Attributes:
        frames: In the order in which they passed.
        missed: How many were not kept.
    """

    frames: list[Frame] = field(default_factory=list[Frame])
    missed: int = 0
    _size: int = 0

    def add(self, data: bytes) -> None:
        """Keep a frame that passes now."""
        if self._size + len(data) > LIMIT:
            self.missed += 1
            return
        self._size += len(data)
        self.frames.append(Frame(time.time_ns(), data))

    def write(self, path: str | Path) -> Path:
        """Write a pcap file, which tcpdump, tshark and Wireshark read; return its path.

        Source: draft-ietf-opsawg-pcap, the format with nanoseconds.
        """
        target = Path(path)
        with target.open("wb") as file:
            file.write(_PCAP.pack(_MAGIC_NANOSECONDS, 2, 4, 0, 0, SNAPSHOT, _ETHERNET))
            for frame in self.frames:
                seconds, rest = divmod(frame.time, 1_000_000_000)
                size = len(frame.data)
                file.write(_RECORD.pack(seconds, rest, size, size) + frame.data)
        return target

    def scapy(self) -> list[Any]:
        """Return the frames as scapy's packets.

        Raises:
            MissingFeatureError: scapy is not installed.
        """
        try:
            # Layers of IP and IPv6 are known to scapy once they are imported.
            from scapy.layers import inet, inet6, l2  # pyright: ignore
        except ImportError:
            raise MissingFeatureError(
                "scapy is not installed", hint="pip install 'netlab-vm[capture]'"
            ) from None
        del inet, inet6
        return [l2.Ether(frame.data) for frame in self.frames]


@asynccontextmanager
async def open_capture(lab: Lab, interface: str) -> AsyncGenerator[Capture]:
    """Capture what passes a tap or a bridge of a lab while the block runs.

    Args:
        lab: Whose.
        interface: The tap's or the bridge's name in the sandbox.

    Raises:
        UnknownNameError: There is none of that name.
    """
    capture = Capture()
    descriptor = await lab.sandbox.open_capture(interface)
    with socket.socket(fileno=descriptor) as plain:
        plain.setblocking(False)  # noqa: FBT003 # the standard library's
        frames = trio.socket.from_stdlib_socket(plain)

        async def read() -> None:
            while True:
                capture.add(await frames.recv(SNAPSHOT))

        async with open_background() as tasks:
            tasks.start_soon(read)
            yield capture
            # What has passed before the block's end is in the socket's buffer, and counts.
            _drain(plain, capture)


def _drain(frames: socket.socket, capture: Capture) -> None:
    try:
        while True:
            capture.add(frames.recv(SNAPSHOT, socket.MSG_DONTWAIT))
    except BlockingIOError:
        return
