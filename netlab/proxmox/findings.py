"""What is found while a configuration is read: mistakes, and what a topology cannot say."""

from __future__ import annotations

from dataclasses import dataclass, field

from netlab.errors import Mistake
from netlab.proxmox.configuration import Entry


@dataclass(frozen=True, slots=True)
class Findings:
    """What is found in a configuration.

    Attributes:
        file: What the configuration is called.
        mistakes: What has to be understood and cannot be.
        left_out: What a topology cannot say.
    """

    file: str
    mistakes: list[Mistake] = field(default_factory=list[Mistake])
    left_out: list[Mistake] = field(default_factory=list[Mistake])

    def refuse(self, entry: Entry, where: str, message: str, hint: str = "") -> None:
        """Note a mistake.

        Args:
            entry: The setting.
            where: The property in its value, or empty.
            message: What is wrong.
            hint: What to do.
        """
        self.mistakes.append(self._mistake(entry, where, message, hint))

    def lose(self, entry: Entry, where: str, message: str, hint: str = "") -> None:
        """Note what a topology cannot say; likewise."""
        self.left_out.append(self._mistake(entry, where, message, hint))

    def _mistake(self, entry: Entry, where: str, message: str, hint: str) -> Mistake:
        path = f"{entry.key}.{where}" if where else entry.key
        return Mistake(self.file, entry.line, int(entry.line > 0), path, message, hint)
