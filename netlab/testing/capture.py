"""Frames of a link, as they pass: from a packet socket in the sandbox, kept and written as pcap."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from netlab.errors import MissingFeatureError
from netlab.lab.access import LabAccess
from netlab.lab.frames import SNAPSHOT, Frame
from netlab.process import run
from netlab.scopes import open_background

LIMIT = 256 * 1024 * 1024
"""Bytes of all frames together; what comes behind is counted and not kept."""

_PCAP = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_MAGIC_NANOSECONDS = 0xA1B23C4D
_ETHERNET = 1


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

    def add(self, frame: Frame) -> None:
        """Keep a frame."""
        if self._size + len(frame.data) > LIMIT:
            self.missed += 1
            return
        self._size += len(frame.data)
        self.frames.append(frame)

    def write(self, path: str | Path) -> Path:
        """Write a pcap file, which tcpdump, tshark and Wireshark read; return its path.

        Source: draft-ietf-opsawg-pcap, the format with nanoseconds.
        """
        target = Path(path)
        with target.open("wb") as file:
            file.writelines(self._pieces())
        return target

    async def tshark(self, *arguments: str) -> str:
        """Let tshark (Wireshark for the terminal) read the frames; return what it prints.

        Args:
            arguments: Its own, such as ``-Y ospf`` or ``-T json``.

        Raises:
            MissingProgramError: tshark is not installed.
            ProgramError: It does not know the arguments.
        """
        done = await run(("tshark", "-n", "-r", "-", *arguments), stdin=b"".join(self._pieces()))
        return done.stdout.decode(errors="replace")

    def _pieces(self) -> Iterator[bytes]:
        yield _PCAP.pack(_MAGIC_NANOSECONDS, 2, 4, 0, 0, SNAPSHOT, _ETHERNET)
        for frame in self.frames:
            seconds, rest = divmod(frame.time, 1_000_000_000)
            size = len(frame.data)
            yield _RECORD.pack(seconds, rest, size, size) + frame.data

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
async def open_capture(lab: LabAccess, interface: str) -> AsyncGenerator[Capture]:
    """Capture what passes a tap or a bridge of a lab while the block runs.

    Args:
        lab: Whose.
        interface: The tap's or the bridge's name in the sandbox.

    Raises:
        UnknownNameError: There is none of that name.
    """
    capture = Capture()
    async with lab.open_frames(interface) as frames:

        async def read() -> None:
            while True:
                capture.add(await frames.receive())

        async with open_background() as tasks:
            tasks.start_soon(read)
            yield capture
        # What has passed before the block's end counts.
        for frame in await frames.drain():
            capture.add(frame)
