"""Whether Proxmox takes a configuration, and works with it as it is meant.

A restore checks little: a setting that breaks a rule is dropped with a warning, or stays and keeps
the machine from starting. Everything that netlab writes therefore goes through :func:`check`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from netlab.errors import ConfigurationError, Mistake
from netlab.proxmox import formats
from netlab.proxmox.configuration import (
    Configuration,
    DriveMap,
    Entry,
    find_entry,
    parse_properties,
    write,
    write_map,
)
from netlab.proxmox.schema import RULES, find_rule, is_drive

MAXIMUM_SIZE = 65_535
"""Most bytes of a configuration in an archive (allocate_header_blob in vma-writer.c)."""

MAXIMUM_DESCRIPTION = 8192
"""Most characters of a description (PVE/QemuServer.pm)."""

MAXIMUM_SMBIOS = 512
"""Most characters of ``smbios1`` (PVE/QemuServer.pm); six of its strings can be more, in base64."""

_Found = Iterator[tuple[int, str, str, str]]


def check(configuration: Configuration) -> tuple[Mistake, ...]:
    """Return every rule of Proxmox's that a configuration breaks, by line and key."""
    found = [
        Mistake(configuration.file, line, int(line > 0), path, message, hint)
        for line, path, message, hint in _mistakes(configuration)
    ]
    return tuple(sorted(found))


def require(configuration: Configuration) -> Configuration:
    """Return a configuration that breaks no rule.

    Raises:
        ConfigurationError: Every rule that it breaks.
    """
    mistakes = check(configuration)
    if mistakes:
        raise ConfigurationError(mistakes)
    return configuration


def _mistakes(configuration: Configuration) -> _Found:
    for entry in configuration.entries:
        yield from _check_entry(entry)
    yield from _check_description(configuration.description)
    yield from _check_drives(configuration)
    yield from _check_firmware(configuration)
    yield from _check_boot(configuration)
    yield from _check_smbios(find_entry(configuration, "smbios1", ""))
    for entry, _ in configuration.numbered("net"):
        yield from _check_net(entry)
    # Counted as it would be written: text that cannot be is a mistake already.
    size = len(write(configuration).encode(errors="replace"))
    if size > MAXIMUM_SIZE:
        yield 0, "", f"it has {size} bytes", f"an archive has room for {MAXIMUM_SIZE}"


def _check_entry(entry: Entry) -> _Found:
    rule = find_rule(entry.key)
    if rule is None:
        yield entry.line, entry.key, "is no setting that can be written", _closest(entry.key)
        return
    if entry.value != entry.value.strip():
        yield entry.line, entry.key, "begins or ends with white space", "it would be lost"
    for where, message, hint in rule.value.mistakes(entry.value):
        yield entry.line, f"{entry.key}.{where}" if where else entry.key, message, hint


def _closest(key: str) -> str:
    name = re.sub("[0-9]+$", "", key)
    rule = RULES.get(name)
    if rule is not None and rule.count is not None:
        return f"there is {name}0 to {name}{rule.count - 1}" if rule.count > 1 else f"use {name}0"
    close = difflib.get_close_matches(key, RULES, 1)
    return f"did you mean {close[0]}?" if close else ""


def _check_description(description: str) -> _Found:
    if len(description) > MAXIMUM_DESCRIPTION:
        message = f"{len(description)} characters"
        yield 0, "description", message, f"at most {MAXIMUM_DESCRIPTION} are possible"
    try:
        description.encode()
    except UnicodeEncodeError:
        yield 0, "description", "it is not text", "it cannot be written in UTF-8"
    # restore_update_config_line in PVE/QemuServer.pm drops such lines.
    if any(line.startswith(("vzdump#", "qmdump#")) for line in description.split("\n")):
        hint = "a restore would lose the line; begin it with something else"
        yield 0, "description", "a line begins with vzdump# or qmdump#", hint


def _check_drives(configuration: Configuration) -> _Found:
    """restore_vma_archive in PVE/QemuServer.pm: every drive with content is mapped."""
    drives = {entry.key: entry for entry in configuration.entries if is_drive(entry.key)}
    for drive in configuration.maps:
        if drive.drive not in drives:
            yield drive.line, drive.drive, "is mapped and is no drive of the machine", ""
        yield from _check_map(drive)
    mapped = {drive.drive for drive in configuration.maps}
    single = configuration.get("scsihw") == "virtio-scsi-single"
    for key, entry in drives.items():
        values = dict(parse_properties(entry.value, "file"))
        absent = values.get("media") == "cdrom" or values.get("backup") == "0"
        if values.get("file") == "none" and values.get("media") != "cdrom":
            yield entry.line, key, "it has no volume", "only a CD-ROM drive may be empty"
        elif configuration.maps and key not in mapped and not absent:
            yield entry.line, key, "the archive has no device for it", "map it to one"
        if key.startswith("scsi") and values.get("iothread") == "1" and not single:
            yield entry.line, f"{key}.iothread", "needs scsihw: virtio-scsi-single", ""


def _check_map(drive: DriveMap) -> _Found:
    if re.fullmatch(r"#qmdump#map:([^\s:]+:){2}([^\s:]*:){2}", write_map(drive)) is None:
        yield drive.line, drive.drive, f"{write_map(drive)!r} maps no drive", "no blanks, no colons"
    if drive.storage and formats.STORAGE.mistakes(drive.storage):
        yield (
            drive.line,
            drive.drive,
            f"{drive.storage!r} cannot be a storage",
            (f"allowed is {formats.STORAGE.allowed}"),
        )


def _check_firmware(configuration: Configuration) -> _Found:
    """config_to_command in PVE/QemuServer.pm."""
    variables = configuration.get("efidisk0")
    if variables is not None and configuration.get("bios") != "ovmf":
        yield 0, "efidisk0", "needs bios: ovmf", "SeaBIOS has no variables"
    screen = dict(parse_properties(configuration.get("vga") or "", "type")).get("type", "")
    if screen.startswith("serial") and configuration.get(screen) is None:
        yield 0, "vga", f"there is no {screen}", f"add {screen}: socket"


def _check_boot(configuration: Configuration) -> _Found:
    """assert_bootorder's rule in PVE/API2/Qemu.pm: what is booted from exists."""
    order = dict(parse_properties(configuration.get("boot") or "")).get("order", "")
    keys = {entry.key for entry in configuration.entries}
    for device in filter(None, order.split(";")):
        if device not in keys:
            yield 0, "boot.order", f"there is no {device}", "name disks and network cards it has"


def _check_smbios(entry: Entry) -> _Found:
    if len(entry.value) > MAXIMUM_SMBIOS:
        message = f"{len(entry.value)} characters"
        yield entry.line, entry.key, message, f"at most {MAXIMUM_SMBIOS} are possible: shorten it"


def _check_net(entry: Entry) -> _Found:
    """print_netdevice_full in PVE/QemuServer.pm: only virtio knows these."""
    values = dict(parse_properties(entry.value, "model"))
    if "virtio" in values or values.get("model") == "virtio":
        return
    for name in {"mtu", "queues"} & values.keys():
        yield entry.line, f"{entry.key}.{name}", "only a virtio card has one", ""
