"""Everything wrong with an archive: what ``vma verify`` looks at, and what it leaves out."""

from __future__ import annotations

from pathlib import Path

from netlab.errors import ArchiveError
from netlab.vma.batches import BUFFER, ExtentReader
from netlab.vma.format.coverage import Coverage
from netlab.vma.format.header import Header
from netlab.vma.format.layout import CLUSTER
from netlab.vma.format.problems import Problem
from netlab.vma.progress import Progress, ignore
from netlab.vma.reader import read_header
from netlab.vma.stream import Stream, open_stream

MAX_PROBLEMS = 1000
"""Problems that are kept; of more, only how many."""


async def verify_archive(source: str | Path, *, progress: Progress = ignore) -> tuple[Problem, ...]:
    """Return what is wrong with an archive, in the order in which it was found.

    Behind an extent that cannot be trusted, the next one is looked for. The format has no checksum
    of data: those of a plain archive are not looked at, those of a compressed one are covered by
    the checksum of zstd, gzip, bzip2 or lzop.

    Args:
        source: As for :func:`netlab.vma.reader.open_archive`.
        progress: Told how far it is.

    Raises:
        StorageError: It cannot be read.
        MissingProgramError: It is compressed by lzop, which is not installed.
    """
    findings = _Findings()
    async with open_stream(str(source)) as stream:
        try:
            header = await read_header(stream, findings.report)
            await _verify_extents(stream, header, findings, progress)
        except ArchiveError as error:
            findings.report(_as_problem(error))
    return findings.all()


class _Findings:
    def __init__(self) -> None:
        self.more = 0  # problems that are only counted
        self._kept: list[Problem] = []

    @property
    def room(self) -> int:
        """How many problems more are kept."""
        return MAX_PROBLEMS - len(self._kept)

    def report(self, problem: Problem) -> None:
        if self.room:
            self._kept.append(problem)
        else:
            self.more += 1

    def all(self) -> tuple[Problem, ...]:
        more = (Problem(f"and {self.more} more"),) if self.more else ()
        return (*self._kept, *more)


async def _verify_extents(
    stream: Stream, header: Header, findings: _Findings, progress: Progress
) -> None:
    reader = ExtentReader(stream, header.uuid, findings.report)
    coverage = Coverage(header.devices, findings.report)
    scratch = memoryview(bytearray(BUFFER))
    total = sum(device.size for device in header.devices)
    done = 0

    def advance() -> int | None:
        """Return how many bytes of disks the next extents list; None at the end."""
        listed: int | None = None
        for extent in reader.skim(scratch):
            pieces = coverage.accept(extent)
            listed = (listed or 0) + sum(len(piece.masks) for piece in pieces) * CLUSTER
        return listed

    try:
        while (listed := await stream.run(advance)) is not None:
            done += listed
            progress(min(done, total), total)
    finally:
        findings.more += coverage.finish(findings.room)


def _as_problem(error: ArchiveError) -> Problem:
    """Return an error as a problem, which puts the place before the message by itself."""
    place = str(Problem("", error.offset, error.extent))
    message = error.message.removeprefix(place)
    return Problem(message, error.offset, error.extent, hint=error.hint or "")
