"""Frames of a link as they pass, from a packet socket in the sandbox."""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import final

import trio

from netlab.sandbox.sandbox import Sandbox

SNAPSHOT = 65535 + 18
"""Bytes of the longest frame that is kept: the largest MTU, an Ethernet header and a VLAN tag."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame: when it passed, in nanoseconds since the epoch, and its bytes."""

    time: int
    data: bytes


_TIME = struct.Struct(">Q")


def pack_frame(frame: Frame) -> bytes:
    """Return a frame behind its time, as it goes over the control API."""
    return _TIME.pack(frame.time) + frame.data


def unpack_frame(data: bytes) -> Frame:
    """Return the frame of :func:`pack_frame`."""
    (nanoseconds,) = _TIME.unpack_from(data)
    return Frame(nanoseconds, data[_TIME.size :])


@final
class SocketFrames:
    """What a packet socket hears; made by :func:`open_frames`."""

    def __init__(self, plain: socket.socket) -> None:
        self._plain = plain
        self._frames = trio.socket.from_stdlib_socket(plain)

    async def receive(self) -> Frame:
        """Return the next frame that passes."""
        while True:
            with _while_down():
                data = await self._frames.recv(SNAPSHOT)
                return Frame(time.time_ns(), data)

    async def drain(self) -> list[Frame]:
        """Return the frames that have passed and were not received."""
        await trio.lowlevel.checkpoint()
        frames: list[Frame] = []
        try:
            while True:
                with _while_down():
                    data = self._plain.recv(SNAPSHOT, socket.MSG_DONTWAIT)
                    frames.append(Frame(time.time_ns(), data))
        except BlockingIOError:
            return frames


@contextmanager
def _while_down() -> Generator[None]:
    """Go on where a port is down: its socket says so once, and hears it again when it is up."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENETDOWN:
            raise


@asynccontextmanager
async def open_frames(sandbox: Sandbox, interface: str) -> AsyncGenerator[SocketFrames]:
    """Hear what passes a tap or a bridge while the block runs.

    Args:
        sandbox: Whose.
        interface: The tap's or the bridge's name.

    Raises:
        UnknownNameError: There is none of that name.
    """
    descriptor = await sandbox.open_capture(interface)
    with socket.socket(fileno=descriptor) as plain:
        plain.setblocking(False)  # noqa: FBT003 # the standard library's
        yield SocketFrames(plain)
