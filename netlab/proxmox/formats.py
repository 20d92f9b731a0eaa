"""What single values of a configuration may be: a test, and the words that say what passes it.

Named formats are those of PVE/JSONSchema.pm, in ASCII alone. Where Proxmox takes several spellings
of one thing, those that it writes itself are enough.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from netlab.proxmox.configuration import parse_properties


@dataclass(frozen=True, slots=True)
class Format:
    """A single value.

    Attributes:
        allowed: What it may be, in words that follow "allowed is".
        accepts: Whether a value is that.
    """

    allowed: str
    accepts: Callable[[str], bool]

    def mistakes(self, value: str) -> list[tuple[str, str, str]]:
        """Return what is wrong with a value: where in it, what, and what is allowed."""
        if "\n" in value or "\r" in value or not self.accepts(value):
            return [("", f"{value!r} is not possible", f"allowed is {self.allowed}")]
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Properties:
    """A value of several properties: ``NAME=VALUE,NAME=VALUE``.

    Attributes:
        fields: What each may be.
        default: What the property is called whose name can be left out, or empty.
        required: Sets of properties of which each needs one.
        allowed: Words for the value that has something else where a name belongs.
    """

    fields: Mapping[str, Format]
    default: str = ""
    required: tuple[Collection[str], ...] = field(default=())

    def mistakes(self, value: str) -> list[tuple[str, str, str]]:
        """Return what is wrong with a value: where in it, what, and what is allowed."""
        found: list[tuple[str, str, str]] = []
        names: list[str] = []
        for name, content in parse_properties(value, self.default):
            found += self._mistakes(name, content, repeated=name in names)
            names.append(name)
        for choice in self.required:
            count = sum(name in choice for name in names)
            if count != 1:
                what = "is missing" if count == 0 else "is there more than once"
                found.append(("", f"{_either(choice)} {what}", "it has to be there once"))
        return found

    def _mistakes(self, name: str, content: str, *, repeated: bool) -> list[tuple[str, str, str]]:
        if repeated:
            return [(name, "is there twice", "a property is there once")]
        if name not in self.fields:
            known = f"known are {', '.join(sorted(self.fields))}"
            return [
                ("", f"there is no property {name!r}" if name else f"{content!r} is none", known)
            ]
        return [(name, message, hint) for _, message, hint in self.fields[name].mistakes(content)]


def spell_boolean(value: str) -> str:
    """Return a boolean as Proxmox itself writes it, and everything else as it is.

    Whoever edits a file may write it otherwise (parse_boolean in PVE/JSONSchema.pm).
    """
    word = value.lower()
    if word in {"1", "on", "yes", "true"}:
        return "1"
    return "0" if word in {"0", "off", "no", "false"} else value


def pattern(expression: str, allowed: str) -> Format:
    """Return the format of values that a regular expression matches from end to end."""
    compiled = re.compile(expression, re.ASCII)
    return Format(allowed, lambda value: compiled.fullmatch(value) is not None)


def one_of(*words: str) -> Format:
    """Return the format of a choice of words."""
    return Format(_either(words), words.__contains__)


def integer(minimum: int, maximum: int | None = None) -> Format:
    """Return the format of whole numbers of at most 18 digits, written in decimal."""
    limits = f"from {minimum} to {maximum}" if maximum is not None else f"of at least {minimum}"

    def accepts(value: str) -> bool:
        if not re.fullmatch(r"[0-9]{1,18}", value):
            return False
        return minimum <= int(value) <= (int(value) if maximum is None else maximum)

    return Format(f"a whole number {limits}", accepts)


def _either(words: Collection[str]) -> str:
    return " or ".join(filter(None, (", ".join(list(words)[:-1]), list(words)[-1])))


_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_BASE64 = r"[A-Za-z0-9+/]+={0,2}"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_TAG = r"[a-zA-Z0-9_][a-zA-Z0-9_.+-]*"
_STORAGE = r"[a-zA-Z][a-zA-Z0-9._-]*[a-zA-Z0-9]"
_FLAGS = (
    "nested-virt|md-clear|pcid|spec-ctrl|ssbd|ibpb|virt-ssbd|amd-ssbd|amd-no-ssb|pdpe1gb|"
    "hv-tlbflush|hv-evmcs|aes"
)
_DEVICE = (
    r"(?:ide[0-3]|sata[0-5]|scsi(?:[12]?[0-9]|30)|virtio(?:1[0-5]|[0-9])"
    r"|(?:net|usb|hostpci)(?:[12]?[0-9]|3[01]))"
)

TEXT = Format("text in one line", lambda value: bool(value))
BOOLEAN = one_of("0", "1")
NUMBER = pattern(r"[0-9]{1,18}(?:\.[0-9]{1,9})?", "a number, such as 0.5")
DNS_NAME = pattern(
    rf"(?:{_LABEL}\.)*{_LABEL}", 'a host name: letters, digits and, inside, "-" and "."'
)
VMID = integer(100, 999_999_999)
STORAGE = pattern(
    _STORAGE, 'at least two letters, digits, "-", "_" and ".", a letter first and no sign last'
)
BRIDGE = pattern(r"[-_.a-zA-Z0-9]+", 'letters, digits, "-", "_" and "."')
VNET = pattern(
    r"[a-zA-Z][a-zA-Z0-9]{0,6}[a-zA-Z0-9]", "two to eight letters and digits, a letter first"
)
NODE = pattern(_LABEL, 'letters, digits and, inside, "-"')
MAC = pattern(
    r"[0-9a-fA-F][02468aceACE](?::[0-9a-fA-F]{2}){5}", "a unicast address such as 02:00:00:00:00:01"
)
UUID = pattern(_UUID, "a UUID")
GENERATION = pattern(f"{_UUID}|[01]", "a UUID, 0 or 1")
BASE64 = pattern(_BASE64, "base64")
SIZE = pattern(r"[0-9]{1,15}(?:\.[0-9]{1,9})?(?:[KMGT](?:iB)?)?", "a size such as 8G or 528K")
# A space in a drive's value makes the restore lose the disk (restore_update_config_line).
VOLUME = pattern(
    rf"{_STORAGE}:[^\s,]+|none", "STORAGE:VOLUME without white space and commas, or none"
)
SERIAL = pattern(
    r"(?:[a-zA-Z0-9_.!~*'()-]|%[0-9a-fA-F]{2}){1,20}", "at most 20 characters, percent-encoded"
)
TAGS = pattern(
    rf"{_TAG}(?:[;, ]{_TAG})*", 'tags of letters, digits, "_", "-", "+" and ".", joined by ";"'
)
TRUNKS = pattern(
    r"[0-9]{1,4}(?:-[0-9]{1,4})?(?:;[0-9]{1,4}(?:-[0-9]{1,4})?)*", "VLANs such as 1;5-9"
)
FLAGS = pattern(rf"[+-](?:{_FLAGS})(?:;[+-](?:{_FLAGS}))*", "such as +aes;-pcid")
BOOT_ORDER = pattern(rf"{_DEVICE}(?:;{_DEVICE})*", 'devices joined by ";", such as scsi0;net0')
MACHINE = pattern(
    r"(?:pc|q35|pc(?:-i440fx)?-[0-9]+(?:\.[0-9]+)+(?:\+pve[0-9]+)?"
    r"|pc-q35-[0-9]+(?:\.[0-9]+)+(?:\+pve[0-9]+)?|virt(?:-[0-9]+(?:\.[0-9]+)+)?(?:\+pve[0-9]+)?)",
    "pc, q35, virt, or one of their versions such as pc-q35-9.2",
)
