"""Our terminal as a guest's: raw while it is lent, put back whatever happens."""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress

import trio

from netlab.machine.streams import Terminal
from netlab.scopes import open_background

ESCAPE = b"\x1d"
"""Ctrl-], as telnet and virsh have it: leaves."""

_ENDING = (signal.SIGTERM, signal.SIGHUP)


@asynccontextmanager
async def open_raw_terminal() -> AsyncGenerator[None]:
    """Give every key to the guest while the block runs, Ctrl-C too.

    Nothing is done where standard input is no terminal.

    Raises:
        KeyboardInterrupt: SIGTERM or SIGHUP came; the terminal has been put back by then.
    """
    if not sys.stdin.isatty():
        yield
        return
    with _raw(sys.stdin.fileno()):
        async with open_background() as tasks:
            await tasks.start(_heed_signals)
            yield


async def _heed_signals(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    # By default they end a process at once, and leave the terminal raw.
    with trio.open_signal_receiver(*_ENDING) as signals:
        task_status.started()
        async for _ in signals:
            raise KeyboardInterrupt


@contextmanager
def _raw(number: int) -> Generator[None]:
    settings = termios.tcgetattr(number)
    # Who waits for keys and for room to print takes the blocking mode off, for all who share it.
    blocking = {stream: os.get_blocking(stream) for stream in (number, sys.stdout.fileno())}
    try:
        # What was typed already is kept: the guest gets it too.
        tty.setraw(number, termios.TCSADRAIN)
        yield
    finally:
        for stream, was in blocking.items():
            os.set_blocking(stream, was)
        # A terminal that has hung up has nobody to be put back for.
        with suppress(termios.error):
            termios.tcsetattr(number, termios.TCSADRAIN, settings)


def read_terminal() -> Terminal:
    """Return the size and the kind of the terminal that standard output is."""
    size = os.get_terminal_size(sys.stdout.fileno())
    # A terminal that knows no size says 0; programs in the guest would believe it.
    return Terminal(size.lines or 24, size.columns or 80, os.environ.get("TERM") or "xterm")


async def type_in(send: Callable[[bytes], Awaitable[None]]) -> None:
    """Send what is typed, until Ctrl-] is, or the input ends."""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as keyboard:
        # A terminal that hangs up ends by an error.
        with suppress(trio.BrokenResourceError):
            while typed := await keyboard.receive_some():
                before, escape, _ = bytes(typed).partition(ESCAPE)
                if before:
                    await send(before)
                if escape:
                    return


async def pass_on(send: Callable[[bytes], Awaitable[None]]) -> None:
    """Send standard input as it comes, until it ends."""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as source:
        while data := await source.receive_some():
            await send(bytes(data))


async def show(receive: Callable[[], Awaitable[bytes]]) -> None:
    """Print what comes, until nothing does.

    Raises:
        BrokenPipeError: Whoever read it has left.
        OSError: It cannot be written, as on a full disk.
    """
    async with trio.lowlevel.FdStream(os.dup(sys.stdout.fileno())) as output:
        while data := await receive():
            try:
                await output.send_all(data)
            except trio.BrokenResourceError as error:
                cause = error.__cause__
                raise cause if isinstance(cause, OSError) else BrokenPipeError from error
