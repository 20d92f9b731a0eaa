"""Reading an archive: what is in it, onto files, or one disk at any place."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from netlab.errors import UnknownNameError, UsageError
from netlab.vma.disk import ArchivedDisk
from netlab.vma.extraction import extract
from netlab.vma.format.header import Device, Header, parse_header, read_length
from netlab.vma.format.layout import FIXED_HEADER
from netlab.vma.format.problems import Report, naming, refuse
from netlab.vma.index import DiskIndex, MapOfData, scan
from netlab.vma.progress import Progress, ignore
from netlab.vma.source import Range
from netlab.vma.stream import Stream, open_stream


class Archive:
    """An archive whose header has been read.

    Of a pipe, one of :meth:`extract`, :meth:`map` can be done, once.

    Attributes:
        name: What it is called in messages.
        header: UUID, time, configurations and devices.
        configs: The configurations by name.
        sizes: Bytes of each disk by name. Of saved memory they are those that the header expects,
            until :meth:`map` or :meth:`open_disk` has read how many there are.
    """

    def __init__(self, stream: Stream, header: Header) -> None:
        self.name = stream.name
        self.header = header
        self.configs = {config.name: config.data for config in header.configs}
        self.sizes = {device.name: device.size for device in header.devices}
        self._stream = stream
        self._length = stream.position

    def device(self, name: str) -> Device:
        """Return the disk of that name.

        Raises:
            UnknownNameError: There is none; the error names those that there are.
        """
        for device in self.header.devices:
            if device.name == name:
                return device
        names = ", ".join(device.name for device in self.header.devices)
        raise UnknownNameError(
            f"{self.name} has no disk {name!r}", hint=f"its disks: {names}" if names else None
        )

    async def extract(
        self,
        folder: Path,
        *,
        disks: Collection[str] | None = None,
        progress: Progress = ignore,
    ) -> None:
        """Write the configurations and the disks into a new folder, as sparse files.

        A configuration has its own name there, a disk is ``disk-NAME.raw``. Cancelled or failed,
        nothing is left.

        Args:
            folder: Must not be there.
            disks: The names of those that are wanted; all when None.
            progress: Told how far it is.

        Raises:
            ArchiveError: The archive is damaged; it says where.
            StorageError: A file cannot be written, or the archive not be read.
            UnknownNameError: There is no disk of such a name.
            UsageError: The folder is there already, or a pipe was read before.
        """
        names = None if disks is None else dict.fromkeys(disks)
        devices = self.header.devices if names is None else [self.device(name) for name in names]
        await self._rewind()
        with naming(self.name):
            await extract(self._stream, self.header, folder, devices, progress)

    async def map(self) -> dict[str, Sequence[Range]]:
        """Return which parts of each disk are stored; the rest is zeros.

        Raises:
            ArchiveError: The archive is damaged, or too scattered for a map.
            StorageError: It cannot be read.
            UsageError: It is a pipe that was read before.
        """
        takers = {device.number: MapOfData(device) for device in self.header.devices}
        await self._rewind()
        await self._scan(takers)
        return {
            device.name: tuple(takers[device.number].ranges()) for device in self.header.devices
        }

    async def open_disk(self, name: str) -> ArchivedDisk:
        """Return a disk that can be read at any place while the archive is open.

        The extents' headers are read for that, and the data are not.

        Raises:
            ArchiveError: The archive is damaged, or too scattered.
            StorageError: It cannot be read.
            UnknownNameError: There is no such disk.
            UsageError: It is compressed, or a pipe.
        """
        device = self.device(name)
        if self._stream.random_size is None:
            raise UsageError(
                f"{self.name} can only be read in order, from its beginning to its end",
                hint="decompress it into a file, or extract the disk",
            )
        index = DiskIndex()
        await self._rewind()
        await self._scan({device.number: index})
        index.sort()
        found = replace(device, size=self.sizes[name])
        return ArchivedDisk(self._stream, self.header.uuid, found, index)

    async def _scan(self, takers: Mapping[int, DiskIndex | MapOfData]) -> None:
        with naming(self.name):
            found = await scan(self._stream, self.header, takers)
        self.sizes = {device.name: found[device.number] for device in self.header.devices}

    async def _rewind(self) -> None:
        """Go to the first extent."""
        if self._stream.position == self._length:
            return
        self._stream.rewind()
        with naming(self.name):
            await self._stream.run(partial(self._stream.read, self._length))


@asynccontextmanager
async def open_archive(source: str | Path) -> AsyncGenerator[Archive]:
    """Open an archive and read its header.

    Args:
        source: A file, a pipe, or ``-`` for standard input. The suffixes ``.zst``, ``.gz``,
            ``.bz2`` and ``.lzo`` mean that it is compressed.

    Raises:
        ArchiveError: It is no archive, or its header is damaged or hostile.
        StorageError: It cannot be read.
        MissingProgramError: It is compressed by lzop, which is not installed.
    """
    async with open_stream(str(source)) as stream:
        with naming(stream.name):
            header = await read_header(stream)
        yield Archive(stream, header)


async def read_header(stream: Stream, report: Report = refuse) -> Header:
    """Return the header of a stream, which is behind it afterwards.

    Raises:
        ArchiveError: It is no archive, its header is not whole, or what the report raises.
        StorageError: It cannot be read.
    """

    def read() -> Header:
        start = stream.read(FIXED_HEADER)
        length = read_length(start)
        data = start + stream.read(length - len(start))
        return parse_header(data, report)

    return await stream.run(read)
