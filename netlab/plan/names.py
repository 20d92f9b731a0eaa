"""Names that follow from a lab's: taps, bridges, long names, MAC addresses, UUIDs.

Each is a function of the lab, the node and the interface alone, so no edit elsewhere in a topology
changes it, and two labs of one file differ. Kernel names are at most 15 bytes (IFNAMSIZ less its
NUL) and longer ones are silently cut on the way to the kernel: what does not fit is hashed here.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Iterable

MAXIMUM_NAME = 15
"""Most bytes of an interface's name in the kernel."""

MAXIMUM_ALTNAME = 127
"""Most bytes of an interface's alternative name (ALTIFNAMSIZ less its NUL)."""

_PREFIX = "netlab."


def tap_name(lab: str, node: str, interface: str) -> str:
    """Return the name of an interface's tap: ``r1.eth1``, or ``t`` and a hash if that is too long.

    Unique in a lab: a node's name has no dot, so the first dot tells node from interface; a hashed
    name has none. A node called ``netlab`` is always hashed, as its taps would look like the long
    names of other interfaces.
    """
    plain = f"{node}.{interface}"
    if len(plain.encode()) <= MAXIMUM_NAME and not plain.startswith(_PREFIX):
        return plain
    return "t" + _hash("tap", lab, node, interface)[:14]


def vlan_bridge(vlan: int) -> str:
    """Return the name of a vlan's bridge; it has no dot, so it is never a tap's."""
    return f"vlan{vlan}"


def link_bridge(lab: str, ends: Iterable[tuple[str, str]], nth: int) -> str:
    """Return the name of a link's bridge: ``br`` and a hash of its ends, in whatever order.

    Args:
        lab: The lab.
        ends: Every end's node, and interface if the file names it: a name given by rule depends on
            the node's other links, and the bridge should not.
        nth: Which of the links with these very ends it is, from 0.
    """
    parts = (part for end in sorted(ends) for part in end)
    return "br" + _hash("bridge", lab, str(nth), *parts)[:13]


def link_name(ends: Iterable[tuple[str, str]]) -> str:
    """Return a link's name for people: ``r1:eth1--r2:eth1``, in the order of the file."""
    return "--".join(f"{node}:{interface}" for node, interface in ends)


def altname(lab: str, *parts: str) -> str:
    """Return a long name: ``netlab.LAB.`` and the parts, its tail hashed when it is too long."""
    name = f"{_PREFIX}{lab}.{'.'.join(parts).replace(':', '.')}"
    if len(name.encode()) <= MAXIMUM_ALTNAME:
        return name
    head = name.encode()[: MAXIMUM_ALTNAME - 17].decode(errors="ignore")
    return f"{head}~{_hash('altname', lab, *parts)[:16]}"


def mac_address(lab: str, node: str, interface: str) -> str:
    """Return an interface's MAC address: locally administered, unicast, lower case."""
    return "02:" + _digest("mac", lab, node, interface)[:5].hex(":")


def machine_uuid(lab: str, node: str) -> str:
    """Return a node's UUID: version 8 (RFC 9562, "vendor-specific"), the usual variant."""
    value = bytearray(_digest("uuid", lab, node)[:16])
    value[6] = value[6] & 0x0F | 0x80
    value[8] = value[8] & 0x3F | 0x80
    text = value.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def generation_id(machine: str) -> str:
    """Return a machine's VM generation id, a function of its UUID."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, machine))


def _digest(*parts: str) -> bytes:
    # A NUL cannot be in a name: no two lists of parts make the same text.
    return hashlib.sha256("\0".join(parts).encode()).digest()


def _hash(*parts: str) -> str:
    return base64.b32encode(_digest(*parts)).decode().lower()
