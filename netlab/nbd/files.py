"""An image file as a disk to read, whatever its format: QEMU's storage daemon serves it.

QEMU knows the formats, and reads them without a machine. The daemon inherits a listening socket,
so that it can be connected to before it runs: nothing to wait for. It locks the file as every QEMU
does: a file that a running machine writes to is an error, and no file of half a state.
"""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import cast

import trio

from netlab.errors import ImageError, NBDError, ProgramError, describe_status
from netlab.nbd.client import Disk, open_export
from netlab.plan.model import DiskFormat
from netlab.process import open_process, run

EXPORT = "disk"

END_GRACE = 5.0
"""Seconds for a daemon that has closed the connection to end, so that it can be said why."""


@asynccontextmanager
async def open_image(path: Path, image_format: DiskFormat) -> AsyncGenerator[Disk]:
    """Read an image file as the disk that it holds, with all files that it is a layer over.

    Args:
        path: The file; only ever read.
        image_format: Its format, which is said and never guessed: whoever wrote a raw disk could
            otherwise choose which of the host's files is read.

    Raises:
        ImageError: There is no such file, it is not of that format, it is in use, or a file that
            it is a layer over is none of a known format.
        MissingProgramError: qemu-storage-daemon or qemu-img is not installed.
        NBDError: The daemon failed later.
    """
    nodes = await describe_layers(path, image_format)
    with _open_folder() as folder:
        address, log = folder / "socket", folder / "log"
        async with _open_daemon(nodes, address, log) as daemon:
            opening: Path | None = path
            try:
                async with open_export(address, EXPORT, label=str(path)) as disk:
                    opening = None
                    yield disk
            except NBDError as error:
                # Not one of another disk that the block reads as well, nor one of a single read.
                if error.export != str(path) or not await _has_ended(daemon, error):
                    raise
                raise _explain(error, daemon, log, opening) from error


@contextmanager
def _open_folder() -> Generator[Path]:
    """Make a folder that is ours alone, under a name that is short wherever it lies."""
    with tempfile.TemporaryDirectory(prefix="netlab-nbd-") as folder:
        # The path of a socket has at most 107 bytes (unix(7)), that of a TMPDIR may be longer.
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            yield Path(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)


@asynccontextmanager
async def _open_daemon(
    nodes: Sequence[dict[str, object]], address: Path, log: Path
) -> AsyncGenerator[trio.Process]:
    with socket.socket(socket.AF_UNIX) as listener, log.open("wb") as output:
        listener.bind(str(address))
        listener.listen()
        argv = _build_argv(nodes, listener.fileno())
        descriptors = (listener.fileno(),)
        async with open_process(argv, pass_fds=descriptors, stderr=output.fileno()) as daemon:
            # The daemon's copy is the only one left: when it ends, who connects is told.
            listener.close()
            yield daemon


def _build_argv(nodes: Sequence[dict[str, object]], listener: int) -> tuple[str, ...]:
    return (
        "qemu-storage-daemon",
        *(word for node in nodes for word in ("--blockdev", json.dumps(node))),
        "--nbd-server",
        f"addr.type=fd,addr.str={listener}",
        "--export",
        f"type=nbd,id={EXPORT},name={EXPORT},node-name={EXPORT}",
    )


async def _has_ended(daemon: trio.Process, error: NBDError) -> bool:
    if error.errno is None:
        with trio.move_on_after(END_GRACE):
            await daemon.wait()
    return daemon.returncode is not None


def _explain(
    error: NBDError, daemon: trio.Process, log: Path, opening: Path | None
) -> NBDError | ImageError:
    """Return the better error when the daemon has ended: how, and what it said."""
    status = daemon.returncode or 0
    output = log.read_text(errors="replace").strip()
    argv = [str(word) for word in cast("Sequence[str]", daemon.args)]
    evidence = ProgramError(argv, status, output).evidence
    if opening is not None:
        words = _first_line(output) or f"{argv[0]} {describe_status(status)}"
        return ImageError(f"{opening}: {words}", evidence=evidence)
    reason = f"qemu-storage-daemon {describe_status(status)}"
    return NBDError(reason, export=error.export, offset=error.offset, evidence=evidence)


def _first_line(output: str) -> str:
    """Return what a program of QEMU's says first, without its name and the option at fault."""
    line = output.strip().partition("\n")[0]
    return re.sub(r"^qemu-\S+: (--blockdev \{.*\}: )?", "", line)


async def describe_layers(path: Path, image_format: DiskFormat) -> tuple[dict[str, object], ...]:
    """Return an image file, and all that it is a layer over, as QEMU's ``BlockdevOptions``.

    Each is a node of its own, the lowest first; the image itself is called :data:`EXPORT`.

    Raises:
        ImageError: A file is missing or not of its format, or does not say what it is over.
        MissingProgramError: qemu-img is not installed.
    """
    layers: list[tuple[Path, DiskFormat]] = []
    layer: tuple[Path, DiskFormat] | None = (_locate(path), image_format)
    while layer is not None:
        if layer in layers:
            raise ImageError(f"{layer[0]}: the image is a layer over itself")
        layers.append(layer)
        below = await _find_backing(*layer)
        layer = None if below is None else (_locate(below[0]), below[1])
    return tuple(_describe(layers, number) for number in reversed(range(len(layers))))


def _describe(layers: Sequence[tuple[Path, DiskFormat]], number: int) -> dict[str, object]:
    """Return a layer of many, of which the next is the one below."""
    file, image_format = layers[number]
    protocol = {"driver": "file", "filename": str(file), "read-only": True}
    if image_format == "raw":
        content: dict[str, object] = {"file": _guard(protocol)}
    else:
        below = _node(number + 1) if number + 1 < len(layers) else None
        content = {"file": protocol, "backing": below}
    return {"driver": image_format, "node-name": _node(number), "read-only": True, **content}


def _node(number: int) -> str:
    return f"layer{number}" if number else EXPORT


def _guard(protocol: Mapping[str, object]) -> dict[str, object]:
    """Let nobody write to a raw file meanwhile.

    Formats with metadata see to that by themselves; raw lets writers be, as its readers do (QEMU's
    bdrv_default_perms). This filter is the one that takes the right away and does nothing else.
    """
    unshared = ["write", "resize"]
    return {"driver": "blkdebug", "image": protocol, "unshare-child-perms": unshared}


def _locate(path: Path) -> Path:
    path = path.absolute()
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ImageError(f"{str(path)!r}: QEMU takes names of files in UTF-8 alone") from None
    if not path.is_file():
        raise ImageError(f"{path}: there is no such image file")
    return path


async def _find_backing(path: Path, image_format: DiskFormat) -> tuple[Path, DiskFormat] | None:
    """Return the file that an image is a layer over, and its format, as the image says."""
    if image_format == "raw":
        return None
    # Shared with whoever writes to it: this looks at the header alone.
    command = ("qemu-img", "info", "-U", "--output=json", "-f", image_format, str(path))
    try:
        info = json.loads((await run(command)).stdout)
    except ProgramError as error:
        words = _first_line(error.output) or error.message
        raise ImageError(f"{path}: {words}", evidence=error.evidence) from error
    return _parse_backing(path, info)


def _parse_backing(path: Path, info: dict[str, object]) -> tuple[Path, DiskFormat] | None:
    match info:
        case {"format-specific": {"data": {"data-file": str(other)}}}:
            raise ImageError(
                f"{path}: its data are in another file, {other}", hint="qemu-img convert joins them"
            )
        case {
            "full-backing-filename": str(below),
            "backing-filename-format": "raw" | "qcow2" as kind,
        }:
            if not below.startswith("/"):
                raise ImageError(f"{path}: it is a layer over what is no file here, {below}")
            return Path(below), "raw" if kind == "raw" else "qcow2"
        case {"backing-filename": str(below)}:
            kind = info.get("backing-filename-format", "unsaid")
            raise ImageError(
                f"{path}: the format of the file that it is a layer over, {below}, is {kind}",
                hint="it has to be raw or qcow2: qemu-img rebase -u -F FORMAT -b FILE says it",
            )
        case _:
            return None
