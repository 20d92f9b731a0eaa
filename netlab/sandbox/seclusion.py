"""A program that serves a folder of the host has namespaces of its own, and is root there alone.

Facts: user_namespaces(7), mount_namespaces(7), mount_setattr(2). What a program in a user namespace
may do to files is what whoever made the namespace may; over everything that is not the namespace's,
the lab's links among it, it has no right. A mount that is read-only when a mount namespace with
another owner is made from it is so for ever there: not even its root can make it writable.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

_CLONE_NEWNS, _CLONE_NEWIPC = 0x00020000, 0x08000000
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_SYS_MOUNT_SETATTR = 442
"""Its number is the same on every architecture."""
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV = 1, 2, 4
_MAPS = ("uid_map", "gid_map")

_libc = ctypes.CDLL(None, use_errno=True)


def seclude(folder: str, at: str, *, writable: bool) -> None:
    """Give this process, which has one thread, namespaces of its own in which it sees a folder.

    Its root is privileged there: it has the users and groups that this sandbox has, and may do to
    their files what this sandbox may.

    Args:
        folder: The folder of the host.
        at: A folder that is in every system; in its place this one is seen.
        writable: Whether anybody in there may write to it, or to what is mounted below it.

    Raises:
        OSError: The kernel refuses; the message says what.
    """
    _explain("no mount namespace can be made", _libc.unshare(_CLONE_NEWNS))
    _explain("no mount is our own", _mount(b"/", b"/", _MS_REC | _MS_PRIVATE))
    shared = _mount(os.fsencode(folder), os.fsencode(at), _MS_BIND | _MS_REC)
    _explain(f"{folder} cannot be shared", shared)
    _explain(
        f"{folder} cannot be made safe to share", _restrict(os.fsencode(at), writable=writable)
    )
    _enter_user_namespace()


def _mount(source: bytes, target: bytes, flags: int) -> int:
    return _libc.mount(source, target, None, ctypes.c_ulong(flags), None)


def _restrict(path: bytes, *, writable: bool) -> int:
    attributes = _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV
    if not writable:
        attributes |= _MOUNT_ATTR_RDONLY
    # struct mount_attr: what to set, what to clear, the propagation, a user namespace.
    values = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    return _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        path,
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(values),
        ctypes.c_size_t(ctypes.sizeof(values)),
    )


def _enter_user_namespace() -> None:
    """Make it with every user and group that there is here: only who is outside may say so."""
    maps = {name: _identity(Path("/proc/self", name).read_text("ascii")) for name in _MAPS}
    # By descriptor: where /proc is another namespace's, our number means somebody else there.
    process = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    outside = os.fork()
    if outside == 0:
        os.close(writer)
        _write_maps(lambda: os.read(reader, 1) != b"", process, maps)
    os.close(reader)
    try:
        flags = _CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWNET | _CLONE_NEWIPC
        _explain("no user namespace can be made", _libc.unshare(flags))
        os.write(writer, b"\n")
    finally:
        os.close(writer)
        _, status = os.waitpid(outside, 0)
        os.close(process)
    if status != 0:
        reason = os.strerror(os.waitstatus_to_exitcode(status))
        raise OSError(0, f"the user namespace cannot be given users: {reason}")


def _identity(text: str) -> bytes:
    """Return the map of a namespace inside one with that map, in which everybody is the same."""
    lines = [line.split() for line in text.splitlines()]
    return "".join(f"{first} {first} {count}\n" for first, _, count in lines).encode("ascii")


def _write_maps(wait: Callable[[], bool], process: int, maps: dict[str, bytes]) -> NoReturn:
    """Write them for a process, this one's parent, once it is in its namespace; never return."""
    status = 0
    try:
        if wait():
            for name, content in maps.items():
                # The kernel takes a map by one write, and only once.
                descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=process)
                os.write(descriptor, content)
    except OSError as error:
        status = error.errno or 1
    finally:
        os._exit(status)


def _explain(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
