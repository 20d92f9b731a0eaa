"""Folders of the host's for a guest: by a virtiofsd for each, or by QEMU itself over 9p.

Facts: virtiofsd(1), of QEMU up to 7.2 and of its successor in Rust, which takes the same options in
the older form (both tried, 1.13.2 of the latter); QEMU's docs/interop/vhost-user.json, by which a
distribution says where its own is.
It confines itself to the folder by chroot(2), beneath what the sandbox has confined it to already.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

from netlab.errors import MissingProgramError
from netlab.machine.argv import FIRST_DESCRIPTOR
from netlab.machine.boot import Share
from netlab.machine.companion import Companion, Surroundings, open_companion
from netlab.plan.model import NodePlan
from netlab.plan.parts import ShareDriver, SharePlan
from netlab.process import ServedFolder

REGISTRIES = tuple(
    Path(folder, "qemu/vhost-user") for folder in ("/etc", "/usr/local/share", "/usr/share")
)
"""Where distributions and administrators say which program serves vhost-user devices."""

_AT = "/tmp"
"""A folder of every system, for which virtiofsd has no use."""
_SOCKET = "share.socket"


def find_virtiofsd(registries: Sequence[Path] = REGISTRIES) -> str | None:
    """Return the path of the host's virtiofsd, or None.

    Args:
        registries: Folders with descriptions of such programs. In the first that has it, a file is
            looked at; among all, they go by their names.
    """
    files: dict[str, Path] = {}
    for registry in reversed(registries):
        files.update({path.name: path for path in registry.glob("*.json")})
    for _, path in sorted(files.items()):
        program = _read_program(path)
        if program is not None and os.access(program, os.X_OK):
            return program
    return shutil.which("virtiofsd")


def _read_program(path: Path) -> str | None:
    try:
        described: object = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(described, dict):
        return None
    entries = cast("Mapping[str, object]", described)
    program = entries.get("binary")
    if entries.get("type") != "fs" or not isinstance(program, str) or "\0" in program:
        return None
    return program if program.startswith("/") else None


def choose_shares(node: NodePlan, virtiofsd: str | None) -> tuple[Share, ...]:
    """Return how each of a node's shares gets into it.

    Args:
        node: The node.
        virtiofsd: The host's program, or None.

    Raises:
        MissingProgramError: A share needs virtiofsd, and the host has none.
    """
    return tuple(_choose(share, virtiofsd) for share in node.shares if share.on)


def _choose(share: SharePlan, virtiofsd: str | None) -> Share:
    possible: list[ShareDriver] = list(share.drivers)
    if virtiofsd is None and "virtiofs" in possible:
        possible.remove("virtiofs")
    if not possible:
        raise MissingProgramError("virtiofsd", "virtiofsd")
    return Share(
        tag=share.tag,
        source=share.source,
        target=share.target,
        writable=share.writable,
        driver=possible[0],
        program=virtiofsd if possible[0] == "virtiofs" else None,
    )


def find_share_mistakes(shares: Iterable[SharePlan]) -> Iterator[str]:
    """Yield what keeps folders of the host's from being shared, a line each."""
    for share in shares:
        if not share.on:
            continue
        path = Path(share.source)
        if not path.exists():
            yield f"{path}: there is no such folder to share"
        elif not path.is_dir():
            yield f"{path}: this is no folder that could be shared; a file goes into files"
        elif not os.access(path, os.R_OK | os.X_OK):
            yield f"{path}: this user may not read the folder that is to be shared"
        elif share.writable and not os.access(path, os.W_OK):
            yield f"{path}: this user may not write to the folder that is to be writable"


@asynccontextmanager
async def open_shares(
    shares: Iterable[Share], surroundings: Surroundings
) -> AsyncGenerator[tuple[Companion | None, ...]]:
    """Start a virtiofsd for each share that has one, and end them when the block is left.

    Args:
        shares: A machine's.
        surroundings: Where they run.

    Raises:
        LaunchError: One could not be started, or its folder could not be shared.
        SandboxError: The launcher is gone.
    """
    async with AsyncExitStack() as stack:
        companions: list[Companion | None] = []
        for share in shares:
            if share.program is None:
                companions.append(None)
                continue
            companion = open_companion(
                f"the share at {share.target}",
                _command(share.program),
                _connect(surroundings.folder),
                surroundings,
                folder=ServedFolder(path=share.source, at=_AT, writable=share.writable),
            )
            companions.append(await stack.enter_async_context(companion))
        yield tuple(companions)


def _command(program: str) -> tuple[str, ...]:
    options = (
        f"source={_AT}",
        "sandbox=chroot",
        # Each side sees at once what the other has written.
        "cache=none",
        # What a guest makes is never more to the host than a file.
        "modcaps=-mknod:-setfcap",
    )
    return (
        program,
        f"--fd={FIRST_DESCRIPTOR}",
        # It has as many as there can be, and would ask for more.
        "--rlimit-nofile=0",
        *(word for option in options for word in ("-o", option)),
    )


def _connect(folder: Path) -> tuple[socket.socket, socket.socket]:
    """Return a connection that waits to be accepted, and who is to accept it: it takes no other."""
    folder.mkdir(parents=True, exist_ok=True)
    # By descriptor: the folder's path may be longer than a socket's can be.
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener, connection = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    try:
        address = f"/proc/self/fd/{descriptor}/{_SOCKET}"
        listener.bind(address)
        try:
            listener.listen(1)
            connection.connect(address)
        finally:
            (folder / _SOCKET).unlink()
    except OSError:
        listener.close()
        connection.close()
        raise
    finally:
        os.close(descriptor)
    return connection, listener
