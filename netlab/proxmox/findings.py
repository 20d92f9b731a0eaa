"""What is found while a configuration is read: mistakes, and what a topology cannot say."""

from __future__ import annotations

from dataclasses import dataclass, field

from netlab.errors import Mistake
from netlab.proxmox.configuration import Entry
from netlab.proxmox.formats import spell_boolean
from netlab.proxmox.schema import find_format


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

    def read_word(self, entry: Entry, name: str, value: str, default: str) -> str:
        """Return one of the words that Proxmox has for something, and note what is none of them.

        Args:
            entry: The setting.
            name: The property in its value, or empty.
            value: What is there.
            default: What it is taken as when it is none of them.
        """
        known = find_format(entry.key, name)
        wrong = known.mistakes(value) if known is not None else []
        for _, _, hint in wrong:
            message = f"{value[:80]!r} is none of Proxmox's: it is taken as {default}"
            self.lose(entry, name, message, hint)
        return default if wrong else value

    def read_boolean(self, entry: Entry, name: str, value: str) -> bool:
        """Return a property that is true or false; what is neither is false, and noted."""
        return self.read_word(entry, name, spell_boolean(value), "0") == "1"

    def _mistake(self, entry: Entry, where: str, message: str, hint: str) -> Mistake:
        path = f"{entry.key}.{where}" if where else entry.key
        return Mistake(self.file, entry.line, int(entry.line > 0), path, message, hint)
