"""Signals that end a verb in order, and the one that is none to whom nohup(1) started."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import trio.testing

from netlab.cli.interrupts import run_interruptibly


@pytest.fixture
def hangup() -> Iterator[None]:
    """Put back what SIGHUP did."""
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


async def hang_up() -> str:
    signal.raise_signal(signal.SIGHUP)
    await trio.testing.wait_all_tasks_blocked()
    await trio.lowlevel.checkpoint()
    return "done"


@pytest.mark.usefixtures("hangup")
def test_a_terminal_that_goes_ends_what_it_started() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with pytest.raises(KeyboardInterrupt):
        run_interruptibly(hang_up)


@pytest.mark.usefixtures("hangup")
def test_what_nohup_started_goes_on_without_its_terminal() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert run_interruptibly(hang_up) == "done"
