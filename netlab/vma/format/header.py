"""The header: configurations and devices, in a table of blobs."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from netlab.errors import ArchiveError
from netlab.vma.format.layout import (
    CLUSTER,
    CONFIG_SLOTS,
    FIXED_HEADER,
    MAX_BLOB,
    MAX_CLUSTERS,
    MAX_DEVICE,
    MAX_HEADER,
    MAX_WRITTEN_HEADER,
    SAVED_STATE,
    SECTOR,
    STATE_SLACK,
)
from netlab.vma.format.names import device_name_mistake, name_mistake
from netlab.vma.format.problems import Problem, Report, refuse

_MAGIC = b"VMA\0"
_HEAD = struct.Struct(">4sI16sq16sIII")
_DIGEST = slice(32, 48)
_NAMES, _DATA, _DEVICES = 2044, 3068, 4096
_POINTERS = struct.Struct(f">{CONFIG_SLOTS}I")
_DEVICE = struct.Struct(">I4xQ16x")
_LENGTH = struct.Struct("<H")
_QUOTED = 60
"""Characters of a name that cannot be one which are quoted."""

_COMPRESSED = {
    b"\x28\xb5\x2f\xfd": "zstd -dc",
    b"\x1f\x8b": "gzip -dc",
    b"BZh": "bzip2 -dc",
    b"\x89LZO": "lzop -dc",
}


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration: a small file in the header, such as ``qemu-server.conf``."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Device:
    """A disk of an archive.

    Attributes:
        number: Its number in the archive, 1 to 254.
        name: Such as ``drive-scsi0``.
        size: Bytes. Of saved memory it is what was expected before that was written: there may be
            less or more.
    """

    number: int
    name: str
    size: int

    @property
    def clusters(self) -> int:
        """How many clusters it has; the last one may be cut off."""
        return -(-self.size // CLUSTER)

    @property
    def most_clusters(self) -> int:
        """How many clusters are taken.

        Proxmox's tools write and read any number of saved memory (``vma_writer_write`` and
        ``restore_extent`` of pve-qemu look at its order alone). It comes of the machine's memory
        and some state of devices: what is far more than was expected is nobody's memory.
        """
        return 2 * self.clusters + STATE_SLACK if self.is_saved_state else self.clusters

    @property
    def is_saved_state(self) -> bool:
        """Whether it is saved memory and not a disk."""
        return self.name == SAVED_STATE

    @property
    def file_name(self) -> str:
        """What its file is called after extraction, as Proxmox's tool has it."""
        return f"{SAVED_STATE}.bin" if self.is_saved_state else f"disk-{self.name}.raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What an archive says of itself.

    Attributes:
        uuid: Ties its extents to it.
        created: Seconds since the epoch, UTC.
        configs: By place in the header.
        devices: By number.
    """

    uuid: UUID
    created: int
    configs: tuple[Config, ...]
    devices: tuple[Device, ...]


def build_header(header: Header) -> bytes:
    """Return a header's bytes; the same header gives the same bytes.

    Raises:
        ArchiveError: The format, or Proxmox's reader, has no room for it.
    """
    _check_contents(header)
    table = bytearray(1)  # so that no blob is at offset 0, which means none

    def add(data: bytes) -> int:
        position = len(table)
        table.extend(_LENGTH.pack(len(data)) + data)
        return position

    configs = [(add(_text(each.name)), add(each.data)) for each in header.configs]
    names = {each.number: (add(_text(each.name)), each.size) for each in header.devices}
    length = FIXED_HEADER + -(-len(table) // SECTOR) * SECTOR
    if length > MAX_WRITTEN_HEADER:
        raise ArchiveError(
            f"configurations and names take {length} bytes of header, more than the "
            f"{MAX_WRITTEN_HEADER} that Proxmox writes"
        )
    result = bytearray(length)
    _HEAD.pack_into(
        result, 0, _MAGIC, 1, header.uuid.bytes, header.created, b"", FIXED_HEADER, len(table),
        length,
    )  # fmt: skip
    for index, (name, data) in enumerate(configs):
        struct.pack_into(">I", result, _NAMES + 4 * index, name)
        struct.pack_into(">I", result, _DATA + 4 * index, data)
    for number, (name, size) in names.items():
        _DEVICE.pack_into(result, _DEVICES + _DEVICE.size * number, name, size)
    result[FIXED_HEADER : FIXED_HEADER + len(table)] = table
    result[_DIGEST] = hashlib.md5(result, usedforsecurity=False).digest()
    return bytes(result)


def read_length(start: bytes) -> int:
    """Return how many bytes a header has.

    Args:
        start: Its first 12,288 bytes, or all that there is.

    Raises:
        ArchiveError: It is no header of an archive, or one that is out of bounds.
    """
    if start[:4] != _MAGIC:
        tool = next((tool for magic, tool in _COMPRESSED.items() if start.startswith(magic)), None)
        raise ArchiveError(
            "byte 0: this is not a VMA archive",
            offset=0,
            hint=f"it looks compressed: `{tool} … | netlab vma … -`" if tool else None,
        )
    if len(start) < FIXED_HEADER:
        raise ArchiveError(f"byte {len(start)}: the archive ends in its header", offset=len(start))
    length: int = _HEAD.unpack_from(start)[7]
    if not FIXED_HEADER < length <= MAX_HEADER:
        raise ArchiveError(f"byte 56: a header of {length} bytes cannot be", offset=56)
    return length


def parse_header(data: bytes, report: Report = refuse) -> Header:
    """Return what a header says.

    Args:
        data: All of it, as long as :func:`read_length` says.
        report: Takes what is wrong; what it lets pass is left out of the header.

    Raises:
        ArchiveError: It is not whole, or what `report` raises.
    """
    _, version, uuid, created, digest, table_offset, table_size, length = _HEAD.unpack_from(data)
    if len(data) < length:
        raise ArchiveError(f"byte {len(data)}: the archive ends in its header", offset=len(data))
    plain = bytearray(data)
    plain[_DIGEST] = bytes(16)
    if hashlib.md5(plain, usedforsecurity=False).digest() != digest:
        report(Problem("the header's checksum is wrong", 32))
    if version != 1:
        report(Problem(f"version {version} is not known, only version 1", 4))
    if table_offset < FIXED_HEADER or table_offset + table_size > length:
        report(Problem(f"a table of {table_size} bytes at {table_offset} is not in the header", 48))
        table_size = 0
    table = memoryview(data)[table_offset : table_offset + table_size]
    header = Header(
        uuid=UUID(bytes=uuid),
        created=created,
        configs=tuple(_parse_configs(data, table, report)),
        devices=tuple(_parse_devices(data, table, report)),
    )
    _check_files(header, report)
    return header


def _check_contents(header: Header) -> None:
    """Refuse what could not be read, or not be restored."""
    if not -(1 << 63) <= header.created < 1 << 63:
        raise ArchiveError(
            f"a time of {header.created} s has no room in an archive: it takes 64 bits"
        )
    for config in header.configs:
        mistake = name_mistake(config.name)
        if mistake:
            raise ArchiveError(f"a configuration cannot be called {config.name!r}: {mistake}")
        if len(config.data) > MAX_BLOB:
            raise ArchiveError(
                f"{config.name} has {len(config.data)} bytes; a configuration has {MAX_BLOB} at "
                "most"
            )
    for device in header.devices:
        mistake = device_name_mistake(device.name) or _disk_mistake(device)
        if mistake:
            raise ArchiveError(f"a disk {device.name!r} cannot be: {mistake}")
    check_counts(len(header.configs), len(header.devices))
    _check_restorable(header)
    _check_files(header, refuse)


def check_counts(configs: int, disks: int) -> None:
    """Refuse more configurations or disks than an archive has room for.

    Raises:
        ArchiveError: There are too many.
    """
    if configs > CONFIG_SLOTS or disks > MAX_DEVICE:
        raise ArchiveError(
            f"{configs} configurations and {disks} disks are too many: an archive has room for "
            f"{CONFIG_SLOTS} and {MAX_DEVICE}"
        )


def _check_restorable(header: Header) -> None:
    if not (header.configs or header.devices):
        raise ArchiveError("an archive needs a disk or a configuration")
    if header.devices and all(device.size < CLUSTER for device in header.devices):
        raise ArchiveError(
            f"every disk is smaller than {CLUSTER} bytes: Proxmox's reader divides by zero and "
            "dies",
            hint="add a disk that is larger, or make one larger",
        )


def _disk_mistake(device: Device) -> str | None:
    if device.is_saved_state:
        return "the name is that of saved memory, which qmrestore leaves out"
    if "," in device.name:
        return "the name has a comma, which stands between names where disks are chosen"
    size = device.size
    if size <= 0:
        return "it is empty"
    if size % SECTOR:
        return f"its {size} bytes are not a multiple of {SECTOR}"
    if size > MAX_CLUSTERS * CLUSTER:
        return f"its {size} bytes are more than 256 TiB"
    return None


def _check_files(header: Header, report: Report) -> None:
    """Report what would be the same file after extraction."""
    seen: set[str] = set()
    for name in (
        *(config.name for config in header.configs),
        *(device.file_name for device in header.devices),
    ):
        if name in seen:
            report(Problem(f"two parts of the archive are both the file {name!r}"))
        seen.add(name)


def _parse_configs(data: bytes, table: memoryview, report: Report) -> Sequence[Config]:
    found: list[Config] = []
    pointers = zip(
        _POINTERS.unpack_from(data, _NAMES), _POINTERS.unpack_from(data, _DATA), strict=True
    )
    for index, (name_at, data_at) in enumerate(pointers):
        if not (name_at or data_at):
            continue
        place = _NAMES + 4 * index
        name = _parse_name(_blob(table, name_at), name_mistake)
        content = _blob(table, data_at)
        if isinstance(name, Problem):
            report(Problem(f"configuration {index}: {name.message}", place))
        elif content is None:
            report(Problem(f"configuration {name}: its data are not in the table", place))
        else:
            found.append(Config(name, content))
    return found


def _parse_devices(data: bytes, table: memoryview, report: Report) -> Sequence[Device]:
    found: list[Device] = []
    for number in range(CONFIG_SLOTS):
        place = _DEVICES + _DEVICE.size * number
        name_at, size = _DEVICE.unpack_from(data, place)
        if not (name_at or size):
            continue
        name = _parse_name(_blob(table, name_at), device_name_mistake)
        if isinstance(name, Problem):
            report(Problem(f"device {number}: {name.message}", place))
            continue
        device = Device(number, name, size)
        problem = _device_problem(device)
        if problem is not None:
            report(Problem(problem, place))
            continue
        if size % SECTOR:
            rest = f"Proxmox loses the last {size % SECTOR} bytes of {size}"
            report(Problem(f"device {number} ({name}): {rest}", place, warning=True))
        found.append(device)
    if found and sum(device.size // CLUSTER for device in found) == 0:
        report(Problem("every disk is smaller than 64 KiB: qmrestore dies of it", warning=True))
    return found


def _device_problem(device: Device) -> str | None:
    start = f"device {device.number} ({device.name})"
    if not 1 <= device.number <= MAX_DEVICE:
        return f"{start}: devices have the numbers 1 to {MAX_DEVICE}"
    if device.size == 0:
        return f"{start}: its size is 0"
    if device.clusters > MAX_CLUSTERS:
        return f"{start}: {device.size} bytes are more than 256 TiB"
    return None


def _parse_name(blob: bytes | None, mistake: Callable[[str], str | None]) -> str | Problem:
    """Return a name, or what is wrong with it."""
    if blob is None:
        return Problem("its name is not in the table")
    if not blob.endswith(b"\0"):
        return Problem("its name does not end with a zero byte")
    try:
        name = blob[:-1].decode()
    except UnicodeDecodeError:
        return Problem(f"its name {_quote(blob[:-1])} is not UTF-8")
    wrong = mistake(name)
    return Problem(f"its name {_quote(name)} is not safe: {wrong}") if wrong else name


def _quote(name: str | bytes) -> str:
    """Return a name for a message, cut off where it is longer than anybody reads."""
    return repr(name[:_QUOTED]) + ("..." if len(name) > _QUOTED else "")


def _blob(table: memoryview, position: int) -> bytes | None:
    """Return a blob, or None when it is not whole in the table."""
    start = position + _LENGTH.size
    if position == 0 or start > len(table):
        return None
    (length,) = _LENGTH.unpack_from(table, position)
    blob = bytes(table[start : start + length])
    return blob if len(blob) == length else None


def _text(name: str) -> bytes:
    return name.encode() + b"\0"
