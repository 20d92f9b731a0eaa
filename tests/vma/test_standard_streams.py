"""Standard output that somebody else has open, too: written to as it is, and given up on Ctrl-C."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netlab.vma.format.layout import CLUSTER
from tests.vma.archives import CREATED, UUID_1, make_archive, pattern
from tests.vma.test_durability import unprivileged

DISK = pattern(*range(1, 201)) * 20
LIMIT = 60

WRITE = f"""
import sys, trio
from uuid import UUID
from netlab.vma import Contents, create_archive, open_disk

async def main():
    async with open_disk(sys.argv[1]) as disk:
        made = Contents(disks={{"a": disk}}, uuid=UUID(int={UUID_1.int}), created={CREATED})
        await create_archive("-", made)

trio.run(main)
"""

Ends = tuple[int, int]


def open_pipe() -> Ends:
    """Return a pipe that cannot be opened again, like one of another user's."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    os.fchmod(theirs, 0)
    return ours, theirs


def open_socket() -> Ends:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


@contextmanager
def writing(tmp_path: Path, ends: Ends) -> Generator[subprocess.Popen[bytes]]:
    """Run what writes an archive of a disk to one end, and close both in the end."""
    (tmp_path / "disk").write_bytes(DISK)
    argv = unprivileged(sys.executable, "-c", WRITE, str(tmp_path / "disk"))
    try:
        with subprocess.Popen(argv, stdout=ends[1], stderr=subprocess.PIPE) as process:
            try:
                yield process
            finally:
                process.kill()
    finally:
        for end in ends:
            os.close(end)


kinds = pytest.mark.parametrize("open_ends", [open_pipe, open_socket])


@kinds
def test_what_somebody_else_has_open_gets_the_same_bytes(
    tmp_path: Path, open_ends: Callable[[], Ends]
) -> None:
    ends = open_ends()
    received = bytearray()
    expected = make_archive({"a": DISK}, {})
    with writing(tmp_path, ends) as process:
        while len(received) < len(expected) and (part := os.read(ends[0], CLUSTER)):
            received += part
            assert os.get_blocking(ends[1])
        said = process.communicate(timeout=LIMIT)[1]
        assert (process.returncode, said) == (0, b"")
    assert received == expected


@kinds
def test_what_nobody_empties_is_given_up_on_an_interrupt(
    tmp_path: Path, open_ends: Callable[[], Ends]
) -> None:
    ends = open_ends()
    with writing(tmp_path, ends) as process:
        deadline = time.monotonic() + LIMIT
        poller = select.poll()
        poller.register(ends[1], select.POLLOUT)
        while poller.poll(0):
            assert time.monotonic() < deadline
            time.sleep(0.01)  # That there is no room any more wakes nobody.
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT)
        assert process.returncode == -signal.SIGINT
