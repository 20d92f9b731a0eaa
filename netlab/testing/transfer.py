"""Files and trees into a guest and out of it, over virtio alone: no share with the host.

A tree travels as a tar file that lies in the guest's ``/tmp`` meanwhile. What comes out of a guest
is not trusted: nothing is written outside the target, and nothing through a link.
"""

from __future__ import annotations

import posixpath
import shutil
import tarfile
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from netlab.errors import CommandError, InputError, MachineError
from netlab.lab.access import NodeAccess
from netlab.testing.files import (
    Passed,
    host_errors,
    is_full,
    read_facts,
    receive_file,
    remove_quietly,
    send_file,
)


def ignore(_count: int) -> None:
    """Tell nobody."""


async def copy_to(node: NodeAccess, source: Path, target: str, *, passed: Passed = ignore) -> None:
    """Copy a file or a folder of the host to a path in the guest; permissions come along.

    Args:
        node: Whose guest.
        source: On the host.
        target: What it is called in the guest. Folders above it are made.
        passed: Is told what has passed.

    Raises:
        InputError: There is no such file, or it is neither file nor folder.
        CommandError: The guest could not take it.
    """
    if not target.startswith("/"):
        raise InputError(f"{target}: a path in the guest begins with /")
    if await trio.Path(source).is_dir():
        await _send_tree(node, source, target, passed)
    elif await trio.Path(source).is_file():
        await _check(node, ("mkdir", "-p", "--", posixpath.dirname(target)))
        mode = (await trio.Path(source).stat()).st_mode & 0o7777
        await send_file(node, source, target, mode, passed)
    else:
        raise InputError(f"{source}: there is no such file or folder")


async def copy_from(
    node: NodeAccess, source: str, target: Path, *, passed: Passed = ignore
) -> None:
    """Copy a file or a folder of the guest to a path on the host; permissions come along.

    It appears there when it is complete.

    Args:
        node: Whose guest.
        source: In the guest.
        target: What it is called on the host. A file there is replaced, a folder must not be.
        passed: Is told what has passed.

    Raises:
        CommandError: The guest has no such file, or it cannot be read.
        InputError: The target is a folder already, or cannot be written.
        CapacityError: There is no room on the host.
        MachineError: The guest sent a tree with names that lead out of it.
    """
    if await trio.Path(target).is_dir():
        raise InputError(f"{target}: there is a folder already")
    is_folder = (await node.execute(("test", "-d", source))).status == 0
    with host_errors(target):
        await trio.Path(target.parent).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
            part = Path(name) / "part"
            if is_folder:
                await _receive_tree(node, source, Path(name) / "tar", part, passed)
            else:
                facts = await read_facts(node, source)
                await receive_file(node, source, part, facts.size, passed)
                await trio.Path(part).chmod(facts.mode)
            await trio.Path(part).replace(target)


async def _send_tree(node: NodeAccess, source: Path, target: str, passed: Passed) -> None:
    with tempfile.TemporaryDirectory(prefix="netlab-copy-") as name:
        archive = Path(name) / "tar"
        with host_errors(archive):
            await trio.to_thread.run_sync(_pack, source, archive)
        async with _guest_file(node) as path:
            await send_file(node, archive, path, 0o600, passed)
            await _check(node, ("mkdir", "-p", "--", target))
            await _check(node, ("tar", "-xf", path, "-C", target))


async def _receive_tree(
    node: NodeAccess, source: str, archive: Path, target: Path, passed: Passed
) -> None:
    async with _guest_file(node) as path:
        await _check(node, ("tar", "-cf", path, "-C", source, "."))
        facts = await read_facts(node, path)
        await receive_file(node, path, archive, facts.size, passed)
    try:
        await trio.to_thread.run_sync(_unpack, node.plan.name, archive, target)
    except (tarfile.TarError, OSError, ValueError, RecursionError) as error:
        if is_full(error):
            raise
        message = f"{node.plan.name}: what the guest sent of {source} cannot be unpacked"
        raise MachineError(f"{message}: {error}") from error


@asynccontextmanager
async def _guest_file(node: NodeAccess) -> AsyncGenerator[str]:
    """Make an empty temporary file in the guest; it is gone afterwards."""
    path = (await _check(node, ("mktemp", "/tmp/netlab.XXXXXX"))).strip()
    try:
        yield path
    finally:
        await remove_quietly(node, path)


async def _check(node: NodeAccess, argv: tuple[str, ...]) -> str:
    result = await node.execute(argv)
    if result.status != 0:
        output = (result.stdout + result.stderr).decode(errors="replace").strip()
        raise CommandError(
            f"{node.plan.name}: {argv[0]} failed: {output.rpartition(chr(10))[2]}",
            evidence=output or None,
        )
    return result.stdout.decode(errors="replace")


def _pack(source: Path, archive: Path) -> None:
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(source, arcname=".", filter=_anonymous)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The guest knows none of the host's users."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _unpack(node: str, archive: Path, target: Path) -> None:
    """Unpack what a guest made: links last, so that nothing is made through one."""
    target.mkdir()
    links: list[tarfile.TarInfo] = []
    with tarfile.open(archive) as tar:
        for member in tar:
            place = target / _inside(node, member.name)
            if member.isdir():
                place.mkdir(parents=True, exist_ok=True)
            elif member.issym():
                # All folders are made before any link: one that a link leads through is refused.
                place.parent.mkdir(parents=True, exist_ok=True)
                links.append(member)
            elif member.isfile():
                _write(tar, member, place)
            elif member.islnk():
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(target / _inside(node, member.linkname), place)
    for member in links:
        (target / member.name).symlink_to(member.linkname)


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None
    with content, place.open("wb") as file:
        shutil.copyfileobj(content, file)
    # No rights of other users: a set-user-id file of a guest is none of the host's.
    Path(place).chmod(member.mode & 0o777)


def _inside(node: str, name: str) -> str:
    if name.startswith("/") or ".." in name.split("/"):
        raise MachineError(f"{node}: the guest sent a file called {name!r}, which leads elsewhere")
    return name
