"""The disks of running machines, as an archive takes them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import final

from netlab.nbd.client import Disk, open_export
from netlab.vma.source import Range, Span


@final
class HeldSource:
    """A disk that is offered over NBD; made by :func:`open_held`.

    Attributes:
        size: Bytes.
        socket: The Unix socket.
        name: The disk's name there.
    """

    def __init__(self, disk: Disk, socket: Path, name: str) -> None:
        self._disk = disk
        self.size = disk.size
        self.socket = socket
        self.name = name

    async def data_ranges(self) -> AsyncGenerator[Range]:
        """Yield where data may be; the rest is zeros.

        Raises:
            NBDError: The machine cannot tell, or has ended.
        """
        async for extent in self._disk.extents():
            if extent.kind == "data":
                yield Range(extent.offset, extent.length)

    async def read(self, *spans: Span) -> None:
        """Fill buffers with what is at their places.

        Raises:
            NBDError: It cannot be read, or the machine has ended.
        """
        for offset, buffer in spans:
            buffer[:] = await self._disk.read(offset, len(buffer))


@asynccontextmanager
async def open_held(path: str, name: str) -> AsyncGenerator[HeldSource]:
    """Read a disk that a machine offers.

    Args:
        path: The Unix socket.
        name: The disk's name there.

    Raises:
        NBDError: It is not offered.
    """
    async with open_export(Path(path), name) as disk:
        yield HeldSource(disk, Path(path), name)
