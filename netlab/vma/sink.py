"""Where an archive is written: a file that appears when it is whole, or a pipe.

Writes go through the page cache. O_DIRECT fails on ramfs, and on disks with sectors of 4096
bytes, because extents are 512 + n * 4096 bytes long; so the bytes are the same everywhere.
"""

from __future__ import annotations

import errno
import os
import secrets
import select
import socket
import stat
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Protocol

import trio

from netlab.errors import UsageError
from netlab.scopes import open_background
from netlab.vma.blocking import Blocking, Handover, explain, open_blocking, run_woken, widen
from netlab.vma.compression import Compression, make_compressor

STANDARD = "-"
"""The name of standard input and output."""

_PARTS = 1024
"""Parts of one write at most (IOV_MAX, writev(2))."""

_WRITEBACK = 8 << 20
"""Bytes after which the kernel is asked to begin bringing them to the disk: it does so while we
read on, and the sync at the end finds little left."""

_STEM = 200
"""Bytes of a file's name that its temporary name has, too; NAME_MAX is 255."""

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}
"""What file systems say that have no hard links, such as vfat and some of FUSE (link(2))."""

Part = bytes | memoryview

_Write = Callable[[int, Sequence[Part]], int]
"""Writes parts to a descriptor; returns how many bytes, or raises BlockingIOError."""

Writes = Iterable[Sequence[Part]]
"""What is written at once, one after the other; it is iterated over in the thread that writes."""


class Sink(Protocol):
    """Takes an archive's bytes in order."""

    async def write(self, writes: Writes, *wakes: Callable[[], None]) -> None:
        """Write in a thread, asking for the next parts when those before are written.

        Args:
            writes: Parts.
            wakes: What end their waiting for parts, called when the caller is cancelled.

        Raises:
            StorageError: They cannot be written.
        """
        ...


class _Descriptor:
    """A descriptor that is written to by a thread.

    Attributes:
        size: Bytes that have been written.
    """

    def __init__(
        self, name: str, descriptor: int, blocking: Blocking, write: _Write = os.writev
    ) -> None:
        self.size = 0
        self._name = name
        self._descriptor = descriptor
        self._blocking = blocking
        self._write = write

    async def write(self, writes: Writes, *wakes: Callable[[], None]) -> None:
        await self._blocking.run(partial(self._push_all, writes), *wakes)

    async def finish(self) -> None:
        """Nothing is held back."""

    def _push_all(self, writes: Writes) -> None:
        for parts in writes:
            self.push(parts)

    def push(self, parts: Sequence[Part]) -> None:
        """Write in the thread that calls."""
        rest = [part for part in parts if part]
        with explain(self._name):
            while rest:
                try:
                    written = self._write(self._descriptor, rest[:_PARTS])
                except BlockingIOError:
                    self._blocking.wait(self._descriptor, select.POLLOUT)
                else:
                    self.size += written
                    rest = _advance(rest, written)


class _File(_Descriptor):
    """A file, which the kernel begins to bring to the disk while it is written."""

    def __init__(self, name: str, descriptor: int, blocking: Blocking) -> None:
        super().__init__(name, descriptor, blocking)
        self._begun = 0
        self._requests: Handover[tuple[int, int]] = Handover()

    def push(self, parts: Sequence[Part]) -> None:
        """Write in the thread that calls."""
        super().push(parts)
        if self.size - self._begun >= _WRITEBACK:
            self._requests.put((self._begun, self.size - self._begun))
            self._begun = self.size

    async def write_back(self) -> None:
        """Serve requests until cancelled."""
        await run_woken(self._write_back, self._requests.wake)

    def _write_back(self) -> None:
        while True:
            offset, length = self._requests.get()
            # This advice makes Linux write dirty pages out.
            os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_DONTNEED)


class _Compressed:
    """Compresses on the way to a descriptor."""

    def __init__(self, inner: _Descriptor, blocking: Blocking, compression: Compression) -> None:
        self._inner = inner
        self._blocking = blocking
        self._compressor = make_compressor(compression)

    async def write(self, writes: Writes, *wakes: Callable[[], None]) -> None:
        await self._blocking.run(partial(self._compress, writes), *wakes)

    async def finish(self) -> None:
        await self._blocking.run(self._finish)

    def _compress(self, writes: Writes) -> None:
        for part in chain.from_iterable(writes):
            self._inner.push(list(self._compressor.compress(part)))

    def _finish(self) -> None:
        self._inner.push(list(self._compressor.finish()))


@asynccontextmanager
async def open_sink(target: str, compression: Compression | None) -> AsyncGenerator[Sink]:
    """Open where an archive goes: a new file, a pipe, or ``-`` for standard output.

    A file has a temporary name until the block ends well: then it is brought to the disk and
    renamed. Otherwise nothing of it is left.

    Raises:
        StorageError: It cannot be written.
        UsageError: There is a file of that name already, or standard output is a terminal.
    """
    async with open_blocking() as blocking:
        if not _is_file(target):
            async with _open_pipe(target) as (descriptor, write):
                name = "standard output" if target == STANDARD else target
                plain = _Descriptor(name, descriptor, blocking, write)
                async with _open_steps(plain, blocking, compression) as sink:
                    yield sink
            return
        async with _open_file(target) as descriptor, open_background() as nursery:
            file = _File(target, descriptor, blocking)
            nursery.start_soon(file.write_back)
            async with _open_steps(file, blocking, compression) as sink:
                yield sink
            await trio.to_thread.run_sync(_sync, target, descriptor)


@asynccontextmanager
async def _open_steps(
    plain: _Descriptor, blocking: Blocking, compression: Compression | None
) -> AsyncGenerator[Sink]:
    sink = _Compressed(plain, blocking, compression) if compression else plain
    yield sink
    await sink.finish()


def _is_file(target: str) -> bool:
    """Return whether a new file is to be made.

    Raises:
        UsageError: There is one already, or the target is no file's name.
    """
    if target == STANDARD:
        return False
    if not target:
        raise UsageError("an archive needs a name", hint="- is standard output")
    with explain(target):
        if not os.path.lexists(target):
            if target.rpartition("/")[2] in {"", ".", ".."}:
                raise UsageError(f"{target}: an archive is a file, and this is a folder's name")
            return True
        # A link that leads nowhere is something, too.
        found = Path(target)
        if found.is_fifo() or found.is_char_device():
            return False
    raise _taken(target)


@asynccontextmanager
async def _open_file(target: str) -> AsyncGenerator[int]:
    final = Path(target)
    temporary = choose_temporary(final)
    with ExitStack() as stack:
        with explain(target):
            # First: where a folder cannot be opened, a name in it cannot be brought to the disk.
            folder = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o666)
            # Last: while it is open, no other file can have its number.
            stack.callback(os.close, descriptor)
        try:
            yield descriptor
            with explain(target):
                _give_name(temporary, final)
                os.fsync(folder)
        except BaseException:
            for path in (temporary, final):
                _remove(path, descriptor)
            raise


def choose_temporary(final: Path) -> Path:
    """Return a name for what is to be called otherwise when it is whole; any name has room."""
    start = os.fsencode(final.name)[:_STEM].decode(errors="ignore")
    return final.with_name(f".{start}.{secrets.token_hex(4)}")


def _remove(path: Path, descriptor: int) -> None:
    """Remove a name of a file that is open; one that has become another's stays."""
    with suppress(FileNotFoundError):
        if os.path.samestat(path.lstat(), os.fstat(descriptor)):
            path.unlink()


def _give_name(temporary: Path, final: Path) -> None:
    """Let a file be called as it should, and nothing else that is called so be lost.

    A link, unlike a rename, refuses a name that somebody has taken meanwhile (link(2)).
    """
    try:
        final.hardlink_to(temporary)
    except FileExistsError:
        raise _taken(str(final)) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        temporary.rename(final)
    else:
        temporary.unlink()


def _taken(target: str) -> UsageError:
    return UsageError(f"{target}: it is there already", hint="an archive is never overwritten")


@asynccontextmanager
async def _open_pipe(target: str) -> AsyncGenerator[tuple[int, _Write]]:
    """Open what is there already; yield it, and what writes to it without waiting."""
    name = "standard output" if target == STANDARD else target
    with explain(name):
        if target == STANDARD:
            descriptor, write = _open_standard()
        else:
            # A FIFO of which nobody reads yet is waited for, as a shell's redirection does.
            flags = os.O_WRONLY | os.O_CLOEXEC
            descriptor = await trio.to_thread.run_sync(
                os.open, target, flags, abandon_on_cancel=True
            )
            os.set_blocking(descriptor, False)
            write = os.writev
    try:
        if os.isatty(descriptor):
            raise UsageError(
                f"{name}: an archive is not for a terminal", hint="redirect it: > FILE"
            )
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            widen(descriptor)
        yield descriptor, write
    finally:
        os.close(descriptor)


def _open_standard() -> tuple[int, _Write]:
    """Return standard output, and what writes there without waiting.

    Others may have it, too: what they have open is not made non-blocking.
    """
    mode = os.fstat(1).st_mode
    if stat.S_ISSOCK(mode):
        return os.dup(1), _send
    if not stat.S_ISFIFO(mode):
        # Such as a file: its place is what is open, and it is never waited for.
        return os.dup(1), os.writev
    try:
        flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open("/proc/self/fd/1", flags), os.writev
    except OSError:
        # Another user's pipe, or no /proc: what is open may be used all the same.
        return os.dup(1), _write_little


def _send(descriptor: int, parts: Sequence[Part], /) -> int:
    """Write to a socket without waiting, whatever its flags are (send(2))."""
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        return connection.sendmsg(parts, (), socket.MSG_DONTWAIT)


def _write_little(descriptor: int, parts: Sequence[Part], /) -> int:
    """Write to a pipe without waiting, whatever its flags are.

    When it is ready there is room for so much that this does not wait, as long as nobody else
    writes there (pipe(7), PIPE_BUF).
    """
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT)
    if not poller.poll(0):
        raise BlockingIOError
    return os.write(descriptor, parts[0][: select.PIPE_BUF])


def _advance(parts: list[Part], written: int) -> list[Part]:
    """Return what is left of parts when so many bytes have been written."""
    for index, part in enumerate(parts):
        if written < len(part):
            return [memoryview(part)[written:], *parts[index + 1 :]]
        written -= len(part)
    return []


def _sync(target: str, descriptor: int) -> None:
    with explain(target):
        os.fsync(descriptor)
