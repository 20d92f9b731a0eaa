"""``qemu-server.conf`` as a frozen value: text in, value out, and back.

The syntax is that of ``parse_vm_config`` and ``write_vm_config`` (PVE/QemuServer.pm), the lines
that map drives to an archive's devices that of ``assemble`` (PVE/VZDump/QemuServer.pm). Proxmox
drops a line that it cannot read and goes on without it; here such a line is a mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from netlab.errors import ConfigurationError, Mistake

NAME = "qemu-server.conf"
"""The configuration's name in an archive."""

_KEY = re.compile(r"[a-z][a-z_\-]*[0-9]*")
_BLANKS = " \t\f\v\r"
_SECTION = re.compile(r"\[([a-zA-Z][a-zA-Z0-9_:-]*)\][ \t\r]*")
_MAP = re.compile(r"#qmdump#map:([^\s:]+):([^\s:]+):([^\s:]*):([^\s:]*):")
# Printable ASCII but ":" and "%": encode_text in PVE/Tools.pm.
_UNESCAPED = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ":%")
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Entry:
    """A setting.

    Attributes:
        key: Such as ``cores`` or ``net0``.
        value: As it is written.
        line: Where, from 1; 0 when it was not read from a file. Does not count when compared.
    """

    key: str
    value: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class DriveMap:
    """Which of an archive's devices has a drive's content, and where it was stored.

    Attributes:
        drive: The drive's key, such as ``scsi0``.
        device: The device's name in the archive, such as ``drive-scsi0``.
        storage: The storage that it is restored to when nobody says another; may be empty.
        format: ``raw``, ``qcow2`` …; may be empty, which is raw.
        line: Where, from 1; 0 when it was not read from a file. Does not count when compared.
    """

    drive: str
    device: str
    storage: str
    format: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A virtual machine as Proxmox describes it.

    Attributes:
        entries: Its settings, sorted by key, each key once; without ``description``.
        description: Free text, several lines; without white space at its end.
        maps: The drives whose content an archive has, sorted by drive.
        description_line: Where the text begins, from 1; 0 when it was not read from a file. Does
            not count when compared.
        sections: Snapshots and pending changes behind the settings, with their lines: a backup has
            none, and nothing of them is read. They do not count when compared.
        file: What mistakes call it. Does not count when compared.
    """

    entries: tuple[Entry, ...]
    description: str = ""
    maps: tuple[DriveMap, ...] = ()
    description_line: int = field(default=0, compare=False)
    sections: tuple[tuple[str, int], ...] = field(default=(), compare=False)
    file: str = field(default=NAME, compare=False)

    def get(self, key: str) -> str | None:
        """Return a setting's value, or None."""
        return next((entry.value for entry in self.entries if entry.key == key), None)

    def numbered(self, *names: str) -> Iterator[tuple[Entry, int]]:
        """Return the settings called a name and a number, such as ``net0``, by number."""
        pattern = re.compile(f"({'|'.join(map(re.escape, names))})(0|[1-9][0-9]{{0,3}})")
        found = ((entry, pattern.fullmatch(entry.key)) for entry in self.entries)
        numbered = [(match[1], int(match[2]), entry) for entry, match in found if match]
        return ((entry, number) for _, number, entry in sorted(numbered, key=lambda one: one[:2]))


def find_entry(configuration: Configuration, key: str, default: str) -> Entry:
    """Return a setting, or what it is when nothing says so."""
    found = (entry for entry in configuration.entries if entry.key == key)
    return next(found, Entry(key, default))


def make_configuration(
    settings: Iterable[tuple[str, str]],
    *,
    description: str = "",
    maps: Iterable[DriveMap] = (),
    file: str = NAME,
) -> Configuration:
    """Return a configuration in its one form: sorted, the description's end stripped.

    Args:
        settings: Keys with values, each key once.
        description: Free text.
        maps: Drives whose content an archive has.
        file: What mistakes call it.
    """
    return Configuration(
        entries=tuple(sorted((Entry(key, value) for key, value in settings), key=_key)),
        description=description.rstrip(),
        maps=tuple(sorted(maps, key=lambda one: one.drive)),
        file=file,
    )


def _key(entry: Entry) -> str:
    return entry.key


def write(configuration: Configuration) -> str:
    """Return a configuration as text: the description, the settings, the drives, LF at line ends.

    It is written as it is: :func:`netlab.proxmox.rules.check` says whether Proxmox would take it.
    """
    lines = [f"#{_escape(line)}" for line in configuration.description.split("\n")]
    return "".join(
        f"{line}\n"
        for line in (
            *(lines if configuration.description else ()),
            *(f"{entry.key}: {entry.value}" for entry in configuration.entries),
            *map(write_map, configuration.maps),
        )
    )


def write_map(drive: DriveMap) -> str:
    """Return the line that says which of an archive's devices a drive is; its last colon counts."""
    return f"#qmdump#map:{drive.drive}:{drive.device}:{drive.storage}:{drive.format}:"


def parse(text: str, *, file: str = NAME) -> Configuration:
    """Read a configuration.

    Args:
        text: Its text.
        file: What mistakes call it.

    Raises:
        ConfigurationError: Every line that cannot be read, and every key that is there twice.
    """
    reader = _Reader(file)
    for number, line in enumerate(text.split("\n"), 1):
        reader.read(line, number)
    return reader.result()


class _Reader:
    def __init__(self, file: str) -> None:
        self.file = file
        self.mistakes: list[Mistake] = []
        self.entries: dict[str, Entry] = {}
        self.maps: dict[str, DriveMap] = {}
        self.description: list[str] = []
        self.description_line = 0
        self.sections: list[tuple[str, int]] = []

    def read(self, line: str, number: int) -> None:
        if section := _SECTION.fullmatch(line):
            self.sections.append((section[1], number))
        if self.sections or not line.strip():
            return
        if line.startswith("#qmdump#"):
            self._read_map(line, number)
        elif line.startswith("#"):
            # Lines of backups of long ago mean nothing any more, and are not the description's.
            if not line.startswith("#vzdump#"):
                self._describe(line[1:], number)
        else:
            self._read_entry(line, number)

    def _read_entry(self, line: str, number: int) -> None:
        key, _, value = line.partition(":")
        value = value.strip(_BLANKS)
        if not value or "\r" in line or _KEY.fullmatch(key) is None:
            hint = "lines end with LF alone" if "\r" in line else "a line is KEY: VALUE"
            self._add(number, "", f"{_show(line)} cannot be read", hint)
        elif key == "description":
            self._describe(value, number)
        elif key in self.entries:
            self._add(number, key, "is there twice", f"first in line {self.entries[key].line}")
        else:
            self.entries[key] = Entry(key, value, number)

    def _describe(self, text: str, number: int) -> None:
        self.description.append(unquote(text, errors="replace"))
        self.description_line = self.description_line or number

    def _read_map(self, line: str, number: int) -> None:
        found = _MAP.fullmatch(line)
        if found is None:
            hint = "#qmdump#map:DRIVE:DEVICE:STORAGE:FORMAT: with a colon and LF at its end"
            self._add(number, "", f"{_show(line)} maps no drive", hint)
        elif found[1] in self.maps:
            self._add(
                number, found[1], "is mapped twice", f"first in line {self.maps[found[1]].line}"
            )
        else:
            self.maps[found[1]] = DriveMap(found[1], found[2], found[3], found[4], number)

    def _add(self, line: int, path: str, message: str, hint: str) -> None:
        self.mistakes.append(Mistake(self.file, line, 1, path, message, hint))

    def result(self) -> Configuration:
        if self.mistakes:
            raise ConfigurationError(self.mistakes)
        return Configuration(
            entries=tuple(self.entries[key] for key in sorted(self.entries)),
            description="\n".join(self.description).rstrip(),
            description_line=self.description_line,
            maps=tuple(self.maps[drive] for drive in sorted(self.maps)),
            sections=tuple(self.sections),
            file=self.file,
        )


def parse_properties(value: str, default: str = "") -> tuple[tuple[str, str], ...]:
    """Return the properties of a value such as ``virtio=…,bridge=vmbr0``, in their order.

    Args:
        value: The value.
        default: What the property is called that is written without a name; the first one can be.
    """
    properties: list[tuple[str, str]] = []
    for part in value.split(","):
        name, equals, content = part.partition("=")
        properties.append((name, content) if equals else (default, name))
    return tuple(properties)


def write_properties(properties: Sequence[tuple[str, str | int | None]]) -> str:
    """Return properties as one value; those that are None are left out.

    Args:
        properties: Names with values; the name may be empty, for the value alone.
    """
    return ",".join(
        f"{name}={content}" if name else str(content)
        for name, content in properties
        if content is not None
    )


def _escape(text: str) -> str:
    return quote(text, safe=_UNESCAPED, errors="replace")


def _show(line: str) -> str:
    return repr(line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…")
