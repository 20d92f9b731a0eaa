"""Onto sparse files, in a folder that appears when all of it is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from netlab.errors import UsageError
from netlab.scopes import open_tasks
from netlab.vma.batches import BUFFER, ExtentReader, Stored
from netlab.vma.blocking import Handover, explain, run_woken
from netlab.vma.format.coverage import Coverage
from netlab.vma.format.header import Config, Device, Header
from netlab.vma.format.layout import CLUSTER
from netlab.vma.format.placement import Placement, place
from netlab.vma.progress import Progress, ThreadProgress
from netlab.vma.sink import choose_temporary
from netlab.vma.stream import Stream

_BUFFERS = 4
"""Buffers of an extent or more: they fit in a processor's caches, and nobody waits for long."""

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class _Target:
    """A disk's file.

    Attributes:
        path: For messages.
        size: Bytes; None of saved memory, of which nobody knows before it ends.
        descriptor: Of the file.
    """

    path: str
    size: int | None
    descriptor: int

    def resize(self, size: int) -> None:
        """Make the file as large as it should be; what was not written is a hole."""
        with explain(self.path):
            os.ftruncate(self.descriptor, size)

    def write(self, placement: Placement) -> None:
        parts, offset = placement.parts, placement.offset
        with explain(self.path):
            while parts:
                written = os.pwritev(self.descriptor, parts, offset)
                offset += written
                parts = _advance(parts, written)


async def extract(
    stream: Stream, header: Header, folder: Path, devices: Iterable[Device], progress: Progress
) -> None:
    """Write configurations and disks of an archive into a new folder.

    Args:
        stream: Behind the header.
        header: The archive's.
        folder: Must not be there.
        devices: Which disks are written. The others are looked at all the same.
        progress: Told how far it is.

    Raises:
        ArchiveError: The archive is damaged; it says where.
        StorageError: A file cannot be written, or the archive not be read.
        UsageError: The folder is there already.
    """
    async with _open_folder(folder) as descriptor:
        with ExitStack() as stack:
            await trio.to_thread.run_sync(_write_configs, folder, descriptor, header.configs)
            targets = {
                device.number: _open_target(stack, folder, descriptor, device) for device in devices
            }
            await _Extraction(stream, header, targets, progress).run()


_Batch = tuple[bytearray, Sequence[Stored]]


class _Extraction:
    """One thread reads extents into buffers, another writes them where they belong."""

    def __init__(
        self, stream: Stream, header: Header, targets: Mapping[int, _Target], progress: Progress
    ) -> None:
        self._stream = stream
        self._reader = ExtentReader(stream, header.uuid)
        self._coverage = Coverage(header.devices)
        self._targets = targets
        self._progress = ThreadProgress(progress, sum(device.size for device in header.devices))
        self._free: Handover[bytearray] = Handover()
        self._filled: Handover[_Batch] = Handover()

    async def run(self) -> None:
        for _ in range(_BUFFERS):
            self._free.put(bytearray(BUFFER))
        async with open_tasks() as nursery:
            nursery.start_soon(self._stream.run, self._read_batches, self._free.wake)
            await run_woken(self._write_batches, self._filled.wake)
        self._coverage.finish()
        for device in self._coverage.devices.values():
            if device.is_saved_state and device.number in self._targets:
                # Zeros at its end are of it, too.
                self._targets[device.number].resize(self._coverage.size_of(device))
        self._progress.finish()

    def _read_batches(self) -> None:
        """Read all extents; a failure is told in its order, by the thread that writes."""
        batch: Sequence[Stored] | None = None
        with self._filled.failures():
            while batch is None or batch:
                buffer = self._free.get()
                batch = self._reader.read_batch(memoryview(buffer), self._targets)
                self._filled.put((buffer, batch))

    def _write_batches(self) -> None:
        while True:
            buffer, batch = self._filled.get()
            if not batch:
                return
            listed = self._write(batch)
            self._free.put(buffer)
            self._progress.add(listed)

    def _write(self, batch: Sequence[Stored]) -> int:
        """Write extents; return how many bytes of disks they list."""
        listed = 0
        for stored in batch:
            for piece in self._coverage.accept(stored.extent):
                listed += len(piece.masks) * CLUSTER
                target = self._targets.get(piece.device)
                if target is not None:
                    for placement in place(piece, stored.data, target.size):
                        target.write(placement)
        return listed


@asynccontextmanager
async def _open_folder(folder: Path) -> AsyncGenerator[int]:
    """Yield a new folder's descriptor; it gets its name when the block ends well."""
    with explain(str(folder)):
        # First: "." and "/", which are there, have no name that another could be made of.
        if _is_there(folder):
            raise UsageError(f"{folder}: it is there already", hint="name a folder that is not")
        temporary = choose_temporary(folder)
        temporary.mkdir()
    try:
        with explain(str(folder)):
            descriptor = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
        with explain(str(folder)):
            temporary.rename(folder)
    except BaseException:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(partial(shutil.rmtree, temporary, ignore_errors=True))
        raise


def _is_there(folder: Path) -> bool:
    """Return whether something has the name, if only a link that leads nowhere."""
    return os.path.lexists(folder)


def _write_configs(folder: Path, descriptor: int, configs: Iterable[Config]) -> None:
    for config in configs:
        with explain(str(folder / config.name)):
            file = os.open(config.name, _CREATE, 0o666, dir_fd=descriptor)
            with open(file, "wb") as content:  # noqa: PTH123 # a descriptor
                content.write(config.data)


def _open_target(stack: ExitStack, folder: Path, descriptor: int, device: Device) -> _Target:
    path = str(folder / device.file_name)
    with explain(path):
        file = os.open(device.file_name, _CREATE, 0o666, dir_fd=descriptor)
        stack.callback(os.close, file)
    target = _Target(path, None if device.is_saved_state else device.size, file)
    if target.size is not None:
        target.resize(target.size)
    return target


def _advance(parts: list[memoryview], written: int) -> list[memoryview]:
    """Return what is left of parts when so many bytes have been written."""
    for index, part in enumerate(parts):
        if written < len(part):
            return [part[written:], *parts[index + 1 :]]
        written -= len(part)
    return []
