"""Ctrl-C without the command line: a thread that waits for another ends, and nothing is left."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import trio

from netlab.process import open_process
from netlab.vma.format.header import build_header
from tests.vma.archives import make_header, names_in

LIMIT = 30

TELL = """
import sys, trio, trio.testing

async def tell():
    # Then all that is left waits; a system task is not what Ctrl-C interrupts.
    await trio.testing.wait_all_tasks_blocked(cushion=0.3)
    print("waiting", flush=True)
"""

CREATE = """
from netlab.vma import Contents, Range, create_archive

class Waiting:
    size = 65536
    async def data_ranges(self):
        yield Range(0, self.size)
    async def read(self, *spans):
        trio.lowlevel.spawn_system_task(tell)
        await trio.sleep_forever()

trio.run(create_archive, sys.argv[1], Contents(disks={"drive-scsi0": Waiting()}))
"""

EXTRACT = """
from pathlib import Path
from netlab.vma import open_archive

async def main():
    async with open_archive(sys.argv[1]) as archive:
        trio.lowlevel.spawn_system_task(tell)
        await archive.extract(Path(sys.argv[2]))

trio.run(main)
"""


async def interrupt(script: str, *words: str) -> int:
    """Send SIGINT to a script that has said that it waits; return its exit status."""
    output, end = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(output, "rb", buffering=0) as said, os.fdopen(end, "wb", buffering=0) as theirs:
        argv = (sys.executable, "-c", TELL + script, *words)
        with trio.fail_after(LIMIT):
            async with open_process(argv, stdout=end) as process:
                theirs.close()
                await trio.to_thread.run_sync(said.readline, abandon_on_cancel=True)
                process.send_signal(signal.SIGINT)
                return await process.wait()


async def test_an_interrupted_writer_leaves_nothing(tmp_path: Path) -> None:
    assert await interrupt(CREATE, str(tmp_path / "a.vma")) == -signal.SIGINT
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("behind", [b"", b"VMAE"])
async def test_an_interrupted_reader_leaves_nothing(tmp_path: Path, behind: bytes) -> None:
    os.mkfifo(tmp_path / "pipe")
    pipe = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        os.write(pipe, build_header(make_header({"drive-scsi0": bytes(65536)}, {})) + behind)
        words = (str(tmp_path / "pipe"), str(tmp_path / "out"))
        assert await interrupt(EXTRACT, *words) == -signal.SIGINT
    finally:
        os.close(pipe)
    assert names_in(tmp_path) == ["pipe"]
