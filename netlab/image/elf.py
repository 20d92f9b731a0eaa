"""What an ELF file says of itself: the libraries that it needs, and a kernel module's own words.

Only what x86_64, aarch64 and riscv64 have is read: 64 bits, little endian. Source: elf(5).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from netlab.errors import ImageError

MAGIC = b"\x7fELF"

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_DYNAMIC = struct.Struct("<QQ")

_NOTE = struct.Struct("<III")

_LOAD, _DYNAMIC_SEGMENT, _INTERPRETER, _NOTE_SEGMENT = 1, 2, 3, 4
_END, _NEEDED, _STRINGS = 0, 1, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a program or library needs in order to be loaded.

    Attributes:
        interpreter: The dynamic loader's path, or empty.
        libraries: Names such as ``libc.so.6``, in their order.
    """

    interpreter: str
    libraries: tuple[str, ...]


def is_elf(data: bytes) -> bool:
    """Say whether a file begins like an ELF file of 64 bits, little endian."""
    return data[:6] == MAGIC + b"\x02\x01"


def read_needs(data: bytes, name: str) -> Needs:
    """Return what a program or library needs.

    Args:
        data: The file.
        name: What to call it in an error.

    Raises:
        ImageError: It is damaged.
    """
    try:
        return _read_needs(data)
    except (struct.error, IndexError, ValueError) as error:
        raise ImageError(f"{name} is not a program that can be read: {error}") from error


def read_module_information(data: bytes, name: str) -> dict[str, tuple[str, ...]]:
    """Return the fields of a kernel module's ``.modinfo`` section, such as depends and alias.

    Args:
        data: The module, not compressed.
        name: What to call it in an error.

    Raises:
        ImageError: It is damaged, or no kernel module.
    """
    try:
        section = _find_section(data, b".modinfo")
    except (struct.error, IndexError, ValueError) as error:
        raise ImageError(f"{name} is not a kernel module that can be read: {error}") from error
    fields: dict[str, tuple[str, ...]] = {}
    for item in section.split(b"\0"):
        key, separator, value = item.decode(errors="replace").partition("=")
        if separator:
            fields[key] = (*fields.get(key, ()), value)
    return fields


def read_notes(data: bytes, name: str) -> frozenset[tuple[bytes, int]]:
    """Return the owner (as it is written, with its closing zero) and type of every note.

    Args:
        data: The file.
        name: What to call it in an error.

    Raises:
        ImageError: It is damaged.
    """
    try:
        return frozenset(_read_notes(data))
    except (struct.error, IndexError, ValueError) as error:
        raise ImageError(f"{name} has no notes that can be read: {error}") from error


def _read_notes(data: bytes) -> Iterator[tuple[bytes, int]]:
    for kind, _, offset, _, _, size, _, _ in _read_table(data, _SEGMENT):
        position, end = (offset, offset + size) if kind == _NOTE_SEGMENT else (0, 0)
        while position + _NOTE.size <= end:
            owner, content, number = _NOTE.unpack_from(data, position)
            position += _NOTE.size
            yield _slice(data, position, owner), number
            position += -(-owner // 4) * 4 + -(-content // 4) * 4


def _read_needs(data: bytes) -> Needs:
    segments = [
        (kind, offset, address, size)
        for kind, _, offset, address, _, size, _, _ in _read_table(data, _SEGMENT)
    ]
    interpreter = ""
    libraries: tuple[str, ...] = ()
    for kind, offset, _, size in segments:
        if kind == _INTERPRETER:
            interpreter = _slice(data, offset, size).rstrip(b"\0").decode()
        elif kind == _DYNAMIC_SEGMENT:
            libraries = _read_libraries(data, _slice(data, offset, size), segments)
    return Needs(interpreter=interpreter, libraries=libraries)


def _read_libraries(
    data: bytes, dynamic: bytes, segments: list[tuple[int, int, int, int]]
) -> tuple[str, ...]:
    needed: list[int] = []
    strings = 0
    for tag, value in _DYNAMIC.iter_unpack(dynamic):
        if tag == _END:
            break
        if tag == _NEEDED:
            needed.append(value)
        elif tag == _STRINGS:
            strings = _find_offset(value, segments)
    return tuple(_read_string(data, strings + offset).decode() for offset in needed)


def _find_offset(address: int, segments: list[tuple[int, int, int, int]]) -> int:
    for kind, offset, start, size in segments:
        if kind == _LOAD and start <= address < start + size:
            return address - start + offset
    raise ValueError("its strings are in no segment")


def _read_table(data: bytes, form: struct.Struct) -> Iterator[tuple[int, ...]]:
    """Yield the segments or sections, whichever `form` is."""
    header = _HEADER.unpack_from(data)
    if not is_elf(data):
        raise ValueError("no 64-bit little-endian ELF file")
    if form is _SEGMENT:
        offset, size, number = header[5], header[9], header[10]
    else:
        offset, size, number = header[6], header[11], header[12]
    if number and size != form.size:
        raise ValueError("a table of an unknown form")
    if offset + number * size > len(data):
        raise ValueError("its tables are beyond its end")
    for index in range(number):
        yield form.unpack_from(data, offset + index * size)


def _find_section(data: bytes, wanted: bytes) -> bytes:
    sections = list(_read_table(data, _SECTION))
    index: int = _HEADER.unpack_from(data)[13]
    names = sections[index][4]
    for section in sections:
        if _read_string(data, names + section[0]) == wanted:
            return _slice(data, section[4], section[5])
    raise ValueError(f"no section {wanted.decode()}")


def _read_string(data: bytes, offset: int) -> bytes:
    return data[offset : data.index(b"\0", offset)]


def _slice(data: bytes, offset: int, size: int) -> bytes:
    if offset + size > len(data):
        raise ValueError("it ends too early")
    return data[offset : offset + size]
