"""The types of single values: text in, typed value out.

YAML's own types are never asked: ``no`` may be a node, ``1.10`` a version and ``52:54:00:12:34:56``
a MAC address. Each type says in its JSON schema what an editor's YAML (which does have types) may
hold there, a variable in place of a number included.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
)
from typing import Annotated, TypeVar, cast

from pydantic import AfterValidator, BeforeValidator, PlainValidator, WithJsonSchema

from netlab.topology import names, ranges
from netlab.topology.forms import Schema, Several
from netlab.topology.prefixes import Network, check_pool, check_subnet
from netlab.topology.source import WrongError, quote

HostAddress = IPv4Interface | IPv6Interface
VARIABLE: Schema = {"type": "string", "pattern": r"\$\{"}
_Parsed = TypeVar("_Parsed")
MAXIMUM_MEMORY = 1024 * 1024
"""MiB that a node has at most."""

_MAXIMUM_DISK = 64 * 1024 * 1024
_INTEGER = re.compile(r"[0-9]{1,9}")
_DISK = re.compile(r"([0-9]{1,9})(?: *(MiB|GiB|TiB))?")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SERIAL = re.compile(r"[!-~]{1,20}")
_MEMORY = re.compile(r"([0-9]{1,9})(?: *(MiB|GiB))?")
_MODE = re.compile(r"0?o?([0-7]{3,4})")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) *(ms|s|min)")
_PERCENTAGE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?) *%")
_EVERYBODY = IPv4Address("255.255.255.255")
"""RFC 919: it stands for all hosts."""
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_UNITS = {None: 1, "MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}
_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0}
_MAXIMUM_SECONDS = 24 * 3600.0


def describe_kind(value: object) -> str:
    """Say what kind of value something is, for ``expected …, not …``."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else quote(value)


def text_of(value: object, expected: str = "text") -> str:
    """Return a value that must be text.

    Raises:
        WrongError: It is not.
    """
    if not isinstance(value, str):
        raise WrongError(f"expected {expected}, not {describe_kind(value)}")
    return value


def integer(what: str, minimum: int, maximum: int) -> tuple[BeforeValidator, WithJsonSchema]:
    """Return the annotations of a whole number in decimal.

    Args:
        what: What it is, for messages.
        minimum: The smallest allowed.
        maximum: The largest allowed.
    """

    def parse(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            number = value
        elif isinstance(value, str) and _INTEGER.fullmatch(value):
            number = int(value)
        else:
            raise WrongError(f"expected {what}, a whole number, not {describe_kind(value)}")
        if not minimum <= number <= maximum:
            raise WrongError(f"expected {what} from {minimum} to {maximum}, not {number}")
        return number

    number: Schema = {"type": "integer", "minimum": minimum, "maximum": maximum}
    return BeforeValidator(parse), WithJsonSchema({"anyOf": [number, VARIABLE]})


def choice(*allowed: str) -> tuple[BeforeValidator, WithJsonSchema]:
    """Return the annotations of a word that must be one of some."""

    def parse(value: object) -> str:
        text = text_of(value, f"one of {', '.join(allowed)}")
        if text not in allowed:
            raise WrongError(f"{quote(text)} is not one of {', '.join(allowed)}")
        return text

    return BeforeValidator(parse), WithJsonSchema({"anyOf": [{"enum": list(allowed)}, VARIABLE]})


def flag(value: object) -> bool:
    """Return true or false.

    Raises:
        WrongError: It is neither.
    """
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise WrongError(f"expected true or false, not {describe_kind(value)}")


def _memory(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        found = _MEMORY.fullmatch(text_of(value, "memory"))
        if found is None:
            raise WrongError(
                f"{quote(value)} is not an amount of memory", "write 128 (MiB) or 1 GiB"
            )
        number = int(found[1]) * _UNITS[cast("str | None", found[2])]
    if number > MAXIMUM_MEMORY:
        raise WrongError(f"{number} MiB of memory is more than 1 TiB")
    return number


def _disk_size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        found = _DISK.fullmatch(text_of(value, "a disk's size"))
        if found is None:
            raise WrongError(
                f"{quote(value)} is not a disk's size", "write 512 (MiB), 2 GiB or 1 TiB"
            )
        number = int(found[1]) * _UNITS[cast("str | None", found[2])]
    if not 1 <= number <= _MAXIMUM_DISK:
        raise WrongError(f"{number} MiB is not a disk's size from 1 MiB to 64 TiB")
    return number


def _serial(text: str) -> str:
    if not _SERIAL.fullmatch(text):
        hint = "1 to 20 characters of ASCII without spaces"
        raise WrongError(f"{quote(text)} cannot be a disk's serial number", hint)
    return text


def _mac(text: str) -> str:
    """Return a MAC address in lower case."""
    mac = text.lower()
    if not _MAC.fullmatch(mac):
        raise WrongError(f"{quote(text)} is not a MAC address", "write 52:54:00:12:34:56")
    # The lowest bit of the first octet tells groups from stations (IEEE 802, clause 8.2).
    if int(mac[:2], 16) & 1 or not int(mac.replace(":", ""), 16):
        raise WrongError(f"{quote(text)} is not the MAC address of one interface")
    return mac


def uuid(text: str) -> str:
    """Return a UUID in lower case.

    Raises:
        WrongError: It is none.
    """
    lower = text.lower()
    if not _UUID.fullmatch(lower):
        hint = "write 32 hexadecimal digits, as 8-4-4-4-12"
        raise WrongError(f"{quote(text)} is not a UUID", hint)
    return lower


def _mode(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0o7777:
        return value
    found = _MODE.fullmatch(text_of(value, "permission bits"))
    if found is None:
        raise WrongError(f"{quote(value)} is not permission bits", "write them in octal, as 0644")
    return int(found[1], 8)


def _duration(value: object) -> float:
    """Return seconds."""
    if isinstance(value, float):
        return value
    found = _DURATION.fullmatch(text_of(value, "a duration"))
    if found is None:
        raise WrongError(f"{quote(value)} is not a duration", "write 500ms, 30s or 2min")
    seconds = float(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds <= _MAXIMUM_SECONDS:
        raise WrongError(f"{quote(value)} is not a duration above 0s and up to a day")
    return seconds


def _percentage(value: object) -> float:
    """Return percent, 0 to 100."""
    if isinstance(value, float):
        return value
    found = _PERCENTAGE.fullmatch(text_of(value, "a percentage"))
    if found is None:
        raise WrongError(f"{quote(value)} is not a percentage", "write 5% or 0.5%")
    percent = float(found[1])
    if percent > 100:
        raise WrongError(f"{quote(value)} is more than 100%")
    return percent


def _ip(text: str, what: str, parse: Callable[[str], _Parsed]) -> _Parsed:
    if "%" in text:
        raise WrongError(f"{quote(text)} has a zone", "leave out what follows the %")
    try:
        return parse(text)
    except ValueError:
        raise WrongError(f"{quote(text)} is not {what}") from None


def _interface(value: object) -> HostAddress:
    """Return an interface's address; it must have its prefix length."""
    if isinstance(value, HostAddress):
        return value
    text = text_of(value, "an address")
    if "/" not in text:
        _ip(text, "an address", ipaddress.ip_address)
        example = f"{text}/64" if ":" in text else f"{text}/24"
        raise WrongError(f"{quote(text)} has no prefix length", f"write it, as in {example}")
    return _usable(_ip(text, "an address with a prefix length", ipaddress.ip_interface))


def _loopback(value: object) -> HostAddress:
    """Return an address of lo; alone it is a host's."""
    if isinstance(value, HostAddress):
        return value
    return _usable(_ip(text_of(value, "an address"), "an address", ipaddress.ip_interface))


def _usable(address: HostAddress) -> HostAddress:
    if (
        address.is_multicast
        or address.is_unspecified
        or address.is_loopback
        or address.ip == _EVERYBODY
    ):
        hint = "write one of 10.0.0.0/8, or of fd00::/8"
        raise WrongError(f"{address} is not a host's address", hint)
    network = address.network
    if network.max_prefixlen - network.prefixlen > 1:
        if address.ip == network.network_address:
            raise WrongError(f"{address} is the address of the network, not of a host")
        if address.version == 4 and address.ip == network.broadcast_address:
            raise WrongError(f"{address} is the broadcast address of its network")
    return address


def _loopbacks(value: object) -> bool | tuple[HostAddress, ...]:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    if value == "none":
        return False
    if isinstance(value, list | tuple):
        return tuple(_loopback(element) for element in cast("list[object]", value))
    return (_loopback(value),)


def _network(value: object) -> Network:
    if isinstance(value, Network):
        return value
    text = text_of(value, "a prefix")
    interface = _ip(text, "a prefix, such as 10.0.0.0/24", ipaddress.ip_interface)
    if interface.ip != interface.network.network_address:
        raise WrongError(f"{quote(text)} has bits beyond its prefix", f"write {interface.network}")
    return interface.network


def _destination(value: object) -> Network | str:
    return "default" if value == "default" else _network(value)


def _address(value: object) -> IPv4Address | IPv6Address:
    if isinstance(value, IPv4Address | IPv6Address) and not isinstance(value, HostAddress):
        return value
    return _ip(text_of(value, "an address"), "an address without prefix", ipaddress.ip_address)


def _node_pattern(text: str) -> str:
    ranges.count(text)
    return text


def _variable_name(text: str) -> str:
    if not _VARIABLE_NAME.fullmatch(text):
        raise WrongError(
            f"{quote(text)} cannot be a variable's name",
            "use letters, digits, _ and -, a letter or _ first",
        )
    return text


_STRING: Schema = {"type": "string"}
_SCALAR: Schema = {"type": ["string", "number", "boolean"]}

Text = Annotated[str, BeforeValidator(text_of), WithJsonSchema(_SCALAR)]
Name = Annotated[str, BeforeValidator(text_of), WithJsonSchema(_SCALAR)]
LabName = Annotated[Name, AfterValidator(names.check_lab_name)]
VariableName = Annotated[Name, AfterValidator(_variable_name)]
NodePattern = Annotated[Name, AfterValidator(_node_pattern)]
InterfaceName = Annotated[Name, AfterValidator(names.check_interface_name)]
HostPath = Annotated[Name, AfterValidator(names.check_host_path)]
GuestPath = Annotated[str, BeforeValidator(text_of), AfterValidator(names.check_guest_path)]
Flag = Annotated[
    bool,
    BeforeValidator(flag),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, VARIABLE]}),
]
Memory = Annotated[
    int,
    BeforeValidator(_memory),
    WithJsonSchema({
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": MAXIMUM_MEMORY},
            {"type": "string", "pattern": r"^[0-9]+ *(MiB|GiB)?$|\$\{"},
        ]
    }),
]
DiskSize = Annotated[
    int,
    BeforeValidator(_disk_size),
    WithJsonSchema({
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": _MAXIMUM_DISK},
            {"type": "string", "pattern": r"^[0-9]+ *(MiB|GiB|TiB)?$|\$\{"},
        ]
    }),
]
"""MiB."""
Serial = Annotated[Name, AfterValidator(_serial)]
Mode = Annotated[
    int,
    BeforeValidator(_mode),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]}),
]
Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema({
        "anyOf": [{"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? *(ms|s|min)$"}, VARIABLE],
    }),
]
"""Seconds."""
Percentage = Annotated[
    float,
    BeforeValidator(_percentage),
    WithJsonSchema({
        "anyOf": [{"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? *%$"}, VARIABLE],
    }),
]
"""Percent, 0 to 100."""
Mac = Annotated[Name, AfterValidator(_mac)]
Uuid = Annotated[Name, AfterValidator(uuid)]
Vlan = Annotated[int, *integer("a vlan", 1, 4094)]
Mtu = Annotated[int, *integer("an MTU", 68, 65521)]
InterfaceAddress = Annotated[HostAddress, PlainValidator(_interface), WithJsonSchema(_STRING)]
Loopback = Annotated[
    bool | tuple[HostAddress, ...],
    PlainValidator(_loopbacks),
    WithJsonSchema({
        "anyOf": [{"type": "boolean"}, _STRING, {"type": "array", "items": _STRING}],
    }),
]
Address = Annotated[IPv4Address | IPv6Address, PlainValidator(_address), WithJsonSchema(_STRING)]
Destination = Annotated[Network | str, PlainValidator(_destination), WithJsonSchema(_STRING)]
Prefix = Annotated[Network, PlainValidator(_network), WithJsonSchema(_STRING)]
SubnetPrefix = Annotated[Prefix, AfterValidator(check_subnet)]
PoolPrefix = Annotated[Prefix, AfterValidator(check_pool)]
Pool = Annotated[tuple[PoolPrefix, ...], Several(none=True)]
"""Prefixes; the word ``none`` and one prefix alone are its short forms."""
