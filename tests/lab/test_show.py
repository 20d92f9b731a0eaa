"""What a guest prints on its way to our standard output."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import trio

from netlab.lab.terminal import show


async def test_a_full_disk_at_our_output_is_not_taken_for_a_reader_that_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def receive() -> bytes:
        await trio.lowlevel.checkpoint()
        return b"something"

    with Path("/dev/full").open("w") as full:  # noqa: ASYNC230 # a device
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(OSError, match="No space left") as raised:
            await show(receive)
    assert raised.value.errno == errno.ENOSPC
