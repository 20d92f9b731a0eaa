"""Archives checked in a process of bounded memory, which is ended when it hangs.

Run as a program it takes lines of JSON, a source and a folder each, and answers each with another:
what went wrong, or null.
"""

from __future__ import annotations

import json
import re
import resource
import select
import subprocess
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import trio

from netlab.errors import ArchiveError, StorageError
from netlab.vma import Header, open_archive, verify_archive
from tests.vma.archives import ROOT, names_in

ADDRESS_SPACE = 2 << 30
"""Bytes of the process, most of which are reserved by threads and libraries, and never used."""

RESIDENT = 300 << 10
"""KiB that it may use."""

LIMIT = 60
"""Seconds for an archive."""


class Checker:
    """The other end of such a process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def check(self, source: Path, folder: Path) -> None:
        """Check an archive, whose extraction goes into a new folder."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([str(source), str(folder)]), file=self._process.stdin, flush=True)
        ready, _, _ = select.select([self._process.stdout], [], [], LIMIT)
        assert ready, f"{source.name}: no answer within {LIMIT} s"
        answer = self._process.stdout.readline()
        assert answer, f"{source.name}: the process has died"
        wrong = json.loads(answer)
        assert wrong is None, wrong


@contextmanager
def open_checker() -> Generator[Checker]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.vma.checking"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE)),
    ) as process:  # fmt: skip
        try:
            yield Checker(process)
        finally:
            process.kill()


async def check(source: Path, folder: Path) -> None:
    problems = await verify_archive(source)
    wrong = [problem for problem in problems if not problem.warning]
    outcome = await extract(source, folder)
    if isinstance(outcome, ArchiveError):
        assert wrong
        assert re.search(r"byte \d+|cluster|both the file", outcome.message)
    elif isinstance(outcome, StorageError):
        # A size that was changed may be more than the file system has files for.
        assert outcome.path.startswith(str(folder))
    else:
        assert wrong == []
        for device in outcome.devices:
            if not device.is_saved_state:
                assert (await trio.Path(folder / device.file_name).stat()).st_size == device.size
        files = (*outcome.configs, *outcome.devices)
        assert len(names_in(folder)) == len(files)


async def extract(source: Path, folder: Path) -> Header | ArchiveError | StorageError:
    """Return what an archive says of itself, or why it cannot be extracted."""
    try:
        async with open_archive(source) as archive:
            await archive.extract(folder)
    except (ArchiveError, StorageError) as error:
        return error
    return archive.header


def answer(source: str, folder: str) -> str | None:
    """Return what went wrong."""
    try:
        trio.run(check, Path(source), Path(folder))
    except BaseException:  # noqa: BLE001 # whatever it is, it is told
        return traceback.format_exc()
    status = Path("/proc/self/status").read_text()
    used = re.search(r"VmHWM:\s+(\d+)", status)
    assert used is not None
    return f"it took {used[1]} KiB" if int(used[1]) > RESIDENT else None


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(*json.loads(line))), flush=True)
