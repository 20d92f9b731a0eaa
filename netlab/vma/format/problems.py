"""What is wrong with an archive, and where."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from netlab.errors import ArchiveError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        message: What.
        offset: Bytes from the archive's beginning, or None when it is no place.
        extent: The extent's number, counted from 0; None outside of extents.
        warning: Whether a disk can be read all the same.
        hint: What to do, or empty.
    """

    message: str
    offset: int | None = None
    extent: int | None = None
    warning: bool = False
    hint: str = ""

    def __str__(self) -> str:
        if self.offset is None:
            return self.message
        where = f"byte {self.offset}" if self.extent is None else (
            f"extent {self.extent} at byte {self.offset}"
        )  # fmt: skip
        return f"{where}: {self.message}"


Report = Callable[[Problem], None]
"""Takes note of a problem. One that raises makes a strict reader; one that returns, a checker."""


def refuse(problem: Problem) -> None:
    """Raise what is wrong; let warnings pass.

    Raises:
        ArchiveError: With the problem's place.
    """
    if not problem.warning:
        raise ArchiveError(
            str(problem), offset=problem.offset, extent=problem.extent, hint=problem.hint or None
        )


@contextmanager
def naming(name: str) -> Generator[None]:
    """Put an archive's name before what is said to be wrong with it.

    Raises:
        ArchiveError: The one that the block raised, with the name.
    """
    try:
        yield
    except ArchiveError as error:
        raise ArchiveError(
            f"{name}: {error.message}", offset=error.offset, extent=error.extent, hint=error.hint
        ) from error
