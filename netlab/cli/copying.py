"""The live part of `netlab cp`: where each copy goes, and how far it is."""

from __future__ import annotations

import os
import posixpath
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import trio

from netlab.cli.failure import make_printable
from netlab.errors import CapacityError, UsageError
from netlab.lab.access import NodeAccess
from netlab.lab.folders import LabFolders
from netlab.lab.remote import RemoteLab, open_remote
from netlab.testing.files import Passed, is_full
from netlab.testing.transfer import copy_from, copy_to, ignore


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One side of a copy.

    Attributes:
        path: On the host, or in the guest.
        node: The node; empty for the host.
        lab: The node's lab, or None for the host.
    """

    path: str
    node: str = ""
    lab: LabFolders | None = None

    def __str__(self) -> str:
        return f"{self.node}:{self.path}" if self.node else self.path

    def name(self) -> str:
        """Return what it is called: what a copy of it in a folder will be called.

        Raises:
            UsageError: It has no name, such as ``/``.
        """
        if self.path.endswith("/."):
            # As `cp -r` has it: what is in it, and not it itself.
            return "."
        whole = posixpath.normpath(self.path) if self.node else os.path.abspath(self.path)  # noqa: PTH100 # a link keeps its name
        name = posixpath.basename(whole)
        if not name:
            raise UsageError(f"{self}: it has no name for its copy", hint="give the copy one")
        return name

    def inside(self, name: str) -> Place:
        """Return the place of that name in this folder."""
        return Place(path=posixpath.join(self.path, name), node=self.node, lab=self.lab)


def copy_all(sources: Sequence[Place], target: Place) -> None:
    """Copy all of them, one after the other, and show how far each is.

    Raises:
        UsageError: A path of ours is not what it has to be.
        CapacityError: There is no room on the host.
        CommandError: A guest has no such file, or could not take it.
        NetlabError: A node is not ready, or failed.
    """
    try:
        trio.run(_copy_all, sources, target)
    except OSError as error:
        message = f"{error.filename or target}: {error.strerror}"
        kind = CapacityError if is_full(error) else UsageError
        raise kind(message) from error


async def _copy_all(sources: Sequence[Place], target: Place) -> None:
    async with _open_nodes([*sources, target]) as nodes:
        into = await _is_folder(target, nodes)
        if not into and (len(sources) > 1 or target.path.endswith("/")):
            raise UsageError(f"{target}: there is no such folder")
        for source in sources:
            final = target.inside(source.name()) if into else target
            with _open_progress(f"{source} -> {final}") as passed:
                await _copy(source, final, nodes, passed)


_Nodes = Mapping[Place, NodeAccess]


@asynccontextmanager
async def _open_nodes(places: Sequence[Place]) -> AsyncGenerator[_Nodes]:
    """Yield the nodes of places, by lab and name."""
    async with AsyncExitStack() as stack:
        labs: dict[LabFolders, RemoteLab] = {}
        for folders in dict.fromkeys(place.lab for place in places if place.lab):
            labs[folders] = await stack.enter_async_context(open_remote(folders))
        yield {
            _key(place): labs[place.lab].nodes[place.node]
            for place in places
            if place.lab is not None
        }


def _key(place: Place) -> Place:
    return Place(path="", node=place.node, lab=place.lab)


async def _is_folder(place: Place, nodes: _Nodes) -> bool:
    if not place.node:
        return await trio.Path(place.path).is_dir()
    return (await nodes[_key(place)].execute(("test", "-d", place.path))).status == 0


async def _copy(source: Place, target: Place, nodes: _Nodes, passed: Passed) -> None:
    if not source.node:
        await copy_to(nodes[_key(target)], Path(source.path), target.path, passed=passed)
    elif not target.node:
        await copy_from(nodes[_key(source)], source.path, _check_target(target.path), passed=passed)
    else:
        with tempfile.TemporaryDirectory(prefix="netlab-cp-") as name:
            between = Path(name) / "copy"
            await copy_from(nodes[_key(source)], source.path, between, passed=passed)
            # Counted once: a byte that goes through the host is one byte.
            await copy_to(nodes[_key(target)], between, target.path)


def _check_target(path: str) -> Path:
    """Return the file that is to be made or replaced: where a link leads, and never a device."""
    target = Path(path).resolve()
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise UsageError(f"{path}: it is neither a file nor a folder")
    return target


@contextmanager
def _open_progress(title: str) -> Generator[Passed]:
    """Show bytes and rate on a terminal while the block runs."""
    if not sys.stderr.isatty():
        yield ignore
        return
    # Imported here: only a terminal needs it.
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TextColumn, TransferSpeedColumn
    from rich.table import Column

    # The figures first: long names are cut off, and not they.
    title_column = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    columns = (
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.description}", markup=False, table_column=title_column),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, expand=True) as progress:
        task = progress.add_task(make_printable(title), total=None)
        yield lambda count: progress.advance(task, cast("float", count))
