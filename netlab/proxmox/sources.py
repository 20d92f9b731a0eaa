"""The disks of machines, running or not, as an archive takes them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import final

from netlab.nbd.client import Disk, open_export
from netlab.nbd.files import open_image
from netlab.plan.model import DiskFormat
from netlab.vma.source import Range, Span


class OfferedSource:
    """A disk that is offered over NBD.

    Attributes:
        size: Bytes.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.size = disk.size

    async def data_ranges(self) -> AsyncGenerator[Range]:
        """Yield where data may be; the rest is zeros.

        Raises:
            NBDError: The server cannot tell, or has ended.
        """
        async for extent in self._disk.extents():
            if extent.kind == "data":
                yield Range(extent.offset, extent.length)

    async def read(self, *spans: Span) -> None:
        """Fill buffers with what is at their places.

        Raises:
            NBDError: It cannot be read, or the server has ended.
        """
        for offset, buffer in spans:
            await self._disk.read_into(offset, buffer)


@final
class HeldSource(OfferedSource):
    """A disk that a machine offers; made by :func:`open_held`.

    Attributes:
        socket: The Unix socket.
        name: The disk's name there.
    """

    def __init__(self, disk: Disk, socket: Path, name: str) -> None:
        super().__init__(disk)
        self.socket = socket
        self.name = name


@final
class ImageSource(OfferedSource):
    """An image file of any format; made by :func:`open_image_source`.

    Attributes:
        path: The file.
        format: Its format.
    """

    def __init__(self, disk: Disk, path: Path, image_format: DiskFormat) -> None:
        super().__init__(disk)
        self.path = path
        self.format: DiskFormat = image_format


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


@asynccontextmanager
async def open_image_source(path: Path, image_format: DiskFormat) -> AsyncGenerator[ImageSource]:
    """Read an image file where it is, with all that it is a layer over.

    Raises:
        ImageError: It is not of that format, or in use.
        MissingProgramError: qemu-storage-daemon or qemu-img is not installed.
    """
    async with open_image(path, image_format) as disk:
        yield ImageSource(disk, path, image_format)
