"""The live part of `netlab vma`: archives opened, and how far it is."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import trio

from netlab.cli.bars import open_bar
from netlab.cli.failure import make_printable
from netlab.cli.interrupts import run_interruptibly
from netlab.errors import UnknownNameError, UsageError
from netlab.vma import (
    Archive,
    Compression,
    Contents,
    Header,
    Problem,
    Range,
    create_archive,
    open_archive,
    open_disk,
    verify_archive,
)
from netlab.vma.blocking import explain
from netlab.vma.format.header import check_counts
from netlab.vma.format.layout import MAX_BLOB
from netlab.vma.progress import Progress, ignore
from netlab.vma.sink import open_sink

_Result = TypeVar("_Result")

_CHUNK = 4 << 20


def create_from(
    target: str,
    disks: Mapping[str, str],
    configs: Sequence[Path],
    compression: Compression | None,
    identity: Mapping[str, Any],
) -> None:
    """Make an archive of files.

    Args:
        target: A new file, a pipe, or ``-``.
        disks: Paths by disk name.
        configs: Files.
        compression: How to compress.
        identity: ``uuid`` and ``created``, where they are given.

    Raises:
        NetlabError: As :func:`netlab.vma.writer.create_archive` has it.
    """
    # First: so many could not even be opened.
    check_counts(len(configs), len(disks))
    contents = _read_configs(configs)

    async def create() -> None:
        async with AsyncExitStack() as stack:
            sources = {
                name: await stack.enter_async_context(open_disk(path))
                for name, path in disks.items()
            }
            made = Contents(disks=sources, configs=contents, **identity)
            with open_progress(target) as progress:
                await create_archive(target, made, compression=compression, progress=progress)

    run_interruptibly(create)


def read_header(source: str) -> Header:
    """Return an archive's header."""

    async def read(archive: Archive) -> Header:
        await trio.lowlevel.checkpoint()
        return archive.header

    return _with_archive(source, read)


def print_config(source: str, name: str) -> None:
    """Write a configuration to standard output as it is, but for what a terminal would act on.

    Raises:
        UnknownNameError: There is no configuration of that name.
    """
    configs = {config.name: config.data for config in read_header(source).configs}
    if name not in configs:
        names = ", ".join(configs)
        raise UnknownNameError(
            f"{source} has no configuration {name!r}", hint=f"it has: {names}" if names else None
        )
    if sys.stdout.isatty():
        sys.stdout.write(make_printable(configs[name].decode(errors="replace")))
    else:
        sys.stdout.buffer.write(configs[name])


def extract_to(source: str, folder: Path, names: Sequence[str] | None) -> None:
    """Extract into a new folder."""

    async def extract(archive: Archive) -> None:
        with open_progress(source) as progress:
            await archive.extract(folder, disks=names, progress=progress)

    _with_archive(source, extract)


def extract_disk(source: str, name: str) -> None:
    """Write one disk of a plain archive to standard output."""

    async def copy(archive: Archive) -> None:
        disk = await archive.open_disk(name)
        buffer = memoryview(bytearray(_CHUNK))
        with open_progress(source) as progress:
            async with open_sink("-", None) as sink:
                for offset in range(0, disk.size, _CHUNK):
                    part = buffer[: min(_CHUNK, disk.size - offset)]
                    await disk.read((offset, part))
                    await sink.write([[part]])
                    progress(offset + len(part), disk.size)

    _with_archive(source, copy)


def find_problems(source: str) -> tuple[Problem, ...]:
    """Return what is wrong with an archive."""

    async def verify() -> tuple[Problem, ...]:
        with open_progress(source) as progress:
            return await verify_archive(source, progress=progress)

    return run_interruptibly(verify)


def read_map(
    source: str, name: str | None
) -> tuple[Mapping[str, int], Mapping[str, Sequence[Range]]]:
    """Return the sizes of an archive's disks, and which parts of them are stored."""

    async def read(archive: Archive) -> tuple[Mapping[str, int], Mapping[str, Sequence[Range]]]:
        wanted = archive.device(name) if name is not None else None
        found = await archive.map()
        return archive.sizes, {wanted.name: found[wanted.name]} if wanted else found

    return _with_archive(source, read)


def _with_archive(source: str, use: Callable[[Archive], Awaitable[_Result]]) -> _Result:
    async def run() -> _Result:
        async with open_archive(source) as archive:
            return await use(archive)

    return run_interruptibly(run)


def _read_configs(paths: Sequence[Path]) -> dict[str, bytes]:
    """Return configurations by their names, read no further than one may be long."""
    configs: dict[str, bytes] = {}
    for path in paths:
        if path.name in configs:
            raise UsageError(f"two configurations are called {path.name}")
        with explain(str(path)), path.open("rb") as file:
            configs[path.name] = file.read(MAX_BLOB + 1)
            if len(configs[path.name]) > MAX_BLOB:
                raise UsageError(
                    f"{path} has more than {MAX_BLOB} bytes, the most that a configuration has"
                )
    return configs


@contextmanager
def open_progress(title: str) -> Generator[Progress]:
    """Show bytes, rate and time left on a terminal while the block runs."""
    if not sys.stderr.isatty():
        yield ignore
        return
    with open_bar(title) as show:
        yield lambda done, total: show(title, done, total)
