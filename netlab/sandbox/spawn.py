"""PID 1 starts programs: descriptors under given numbers, failures of exec told apart."""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, NoReturn

from netlab.sandbox.messages import RefusedError
from netlab.sandbox.seclusion import seclude
from netlab.sandbox.system import set_descriptor_limit

_RESET = (
    signal.SIGCHLD,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGIO,
    signal.SIGPIPE,
    signal.SIGTERM,
    signal.SIGXFSZ,
)
"""Signals that PID 1 or Python treat otherwise than a fresh program expects."""

_STANDARD = (0, 1, 2)


class Enclosure(NamedTuple):
    """The folder that a program serves, as :func:`~netlab.sandbox.seclusion.seclude` has it."""

    path: str
    at: str
    writable: bool


def spawn(
    argv: Sequence[str],
    descriptors: Mapping[int, int],
    limit: int,
    enclosure: Enclosure | None = None,
) -> int:
    """Start a program in a process group of its own; return its process id here.

    Args:
        argv: Its command line; the first word is looked up in PATH unless it has a slash.
        descriptors: The child's descriptor numbers, each with the descriptor of ours that it gets.
            0, 1 and 2 are /dev/null unless given.
        limit: Its soft limit of descriptors.
        enclosure: The folder that it is to serve, or None for any other program.

    Raises:
        RefusedError: It could not be started; the message says why.
    """
    opened: list[int] = []
    try:
        sources = _lift(descriptors, opened)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        opened.append(reader)
        # Out of the way of the numbers that the child wants, like the sources.
        lifted = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, max(sources) + 1)
        os.close(writer)
        child = os.fork()
        if child == 0:
            _become(argv, sources, lifted, partial(_prepare, limit, enclosure))
        os.close(lifted)
        failure = _read_all(reader)
    except OSError as error:
        raise _refuse(argv, error.strerror or str(error)) from None
    finally:
        for descriptor in opened:
            os.close(descriptor)
    if failure:
        os.waitpid(child, 0)
        raise _refuse(argv, failure.decode())
    return child


def _lift(descriptors: Mapping[int, int], opened: list[int]) -> dict[int, int]:
    """Copy what the child gets to numbers above all that it wants, so that none is overwritten."""
    floor = max((*_STANDARD, *descriptors)) + 1
    sources: dict[int, int] = {}
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        for target in sorted({*_STANDARD, *descriptors}):
            source = descriptors.get(target, null)
            sources[target] = fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, floor)
            opened.append(sources[target])
    finally:
        os.close(null)
    return sources


def _prepare(limit: int, enclosure: Enclosure | None) -> None:
    if enclosure is None:
        set_descriptor_limit(limit)
        return
    # Its limit stays ours, the highest there is: each file that a guest knows is one it has open.
    seclude(enclosure.path, enclosure.at, writable=enclosure.writable)


def _become(
    argv: Sequence[str], sources: Mapping[int, int], report: int, prepare: Callable[[], None]
) -> NoReturn:
    """Turn this process, just forked, into the program; never return."""
    try:
        # No session of its own: the kernel shares processors among sessions (autogroup, sched(7)).
        # A machine that has just used its share would wait for all others to use theirs, also with
        # the thread that lets its CPUs go on.
        os.setpgid(0, 0)
        for number in _RESET:
            signal.signal(number, signal.SIG_DFL)
        for target, source in sources.items():
            os.dup2(source, target, inheritable=True)
        prepare()
        os.execvp(argv[0], [*argv])
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        os.write(report, (reason or str(error)).encode())
    finally:
        os._exit(127)


def _read_all(descriptor: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        return file.read()


def _refuse(argv: Sequence[str], reason: str) -> RefusedError:
    return RefusedError(
        "LaunchError", f"{argv[0]} could not be started: {reason}", evidence=shlex.join(argv)
    )
