"""Ctrl-C for verbs that have something to clear away: they are cancelled, and end in order."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from netlab.scopes import open_background

_Result = TypeVar("_Result")


def run_interruptibly(function: Callable[[], Awaitable[_Result]]) -> _Result:
    """Run an asynchronous function; SIGINT, SIGTERM and SIGHUP cancel it.

    Raises:
        KeyboardInterrupt: It was cancelled, and has cleared away.
    """
    return trio.run(_run, function)


async def _run(function: Callable[[], Awaitable[_Result]]) -> _Result:
    async with open_background() as watcher:
        with trio.CancelScope() as scope:
            await watcher.start(watch_signals, scope)
            return await function()
    raise KeyboardInterrupt


async def watch_signals(
    scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Cancel a scope at the first signal; further ones do not cut its clean-up short.

    A terminal that goes is none to whom nohup(1) started: SIGHUP stays ignored.
    """
    heard = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        heard.append(signal.SIGHUP)
    with trio.open_signal_receiver(*heard) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()
