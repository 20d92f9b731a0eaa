"""What the user gave is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netlab.errors.tree import NetlabError


class InputError(NetlabError):
    """What the user gave is wrong."""

    exit_code = 2


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One mistake in a file, printed as ``file:line:column: path: message (hint)``.

    Attributes:
        file: The file's name as the user gave it.
        line: Counted from 1; 0 when the mistake is the file's and not a line's.
        column: Counted from 1; 0 likewise.
        path: Where in the document, such as ``links[2].endpoints``; empty for the whole.
        message: What is wrong.
        hint: What to do, or empty.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    @property
    def text(self) -> str:
        """All of it but the position in the file."""
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.message}" + (f" ({self.hint})" if self.hint else "")

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.text}"


class TopologyError(InputError):
    """All mistakes of a topology, in the order of their positions."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes))
        super().__init__("\n".join(map(str, self.mistakes)))


class ConfigurationError(InputError):
    """All mistakes of a virtual machine's configuration for Proxmox, in the order of its lines."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes))
        super().__init__("\n".join(map(str, self.mistakes)))


class UsageError(InputError):
    """The command line asks for something that cannot be."""


class UnknownNameError(InputError):
    """No lab, node, interface or image has that name."""


class NotOfferedError(InputError):
    """A script asks for what netlab does not have.

    Attributes:
        name: What it asks for.
        alternative: What to do in its place.
    """

    def __init__(self, name: str, alternative: str) -> None:
        super().__init__(f"netlab does not offer {name}", hint=alternative)
        self.name = name
        self.alternative = alternative


class LabConflictError(InputError):
    """A lab of that name is up from another plan."""


class ArchiveError(InputError):
    """A VMA archive is damaged, or cannot be made as asked.

    Attributes:
        offset: Bytes from the archive's beginning to what is wrong, or None when it is no place.
        extent: The number of the extent that it is in, counted from 0; None outside of extents.
    """

    def __init__(
        self,
        message: str,
        *,
        offset: int | None = None,
        extent: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.offset = offset
        self.extent = extent
