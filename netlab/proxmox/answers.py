"""What answers of a host of Proxmox say: pure. Nothing in them is taken for granted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from netlab.errors import ProxmoxError
from netlab.proxmox.recipe import ZONE, ZONE_TYPE


def read_records(listing: object) -> list[dict[str, Any]]:
    """Return the elements of a listing that are records."""
    elements = cast("list[object]", listing) if isinstance(listing, list) else []
    return [cast("dict[str, Any]", element) for element in elements if isinstance(element, dict)]


def read_names(listing: object) -> set[str]:
    """Return what the volumes of a storage are called, without storage and kind of content."""
    return {str(one.get("volid")).rpartition("/")[2] for one in read_records(listing)}


def find_lacks(storage: str, status: object, content: str) -> list[str]:
    """Return why a storage cannot take something, in words.

    Args:
        storage: Its name.
        status: What the host says of it.
        content: The kind of content that it is to take.
    """
    found = cast("dict[str, Any]", status) if isinstance(status, dict) else {}
    if not found.get("active", 1):
        return [f"the storage {storage} is not active"]
    if content not in str(found.get("content", "")).split(","):
        return [f"the storage {storage} does not take content of type {content}"]
    return []


def explain_lacks(node: str, wrong: Sequence[str]) -> ProxmoxError:
    """Return the error that says why a node cannot take machines: each reason once."""
    message = f"{node} cannot take the machine"
    if len(wrong) == 1:
        return ProxmoxError(f"{message}: {wrong[0]}")
    return ProxmoxError(f"{message}, for {len(wrong)} reasons:", evidence="\n".join(wrong))


def find_other_zone(zones: Iterable[Mapping[str, Any]], missing: Sequence[str]) -> Iterator[str]:
    """Yield why networks cannot be made in the zone of netlab's that is there already, in words.

    In a zone of another type than netlab's a network is another thing: with ``vlan`` it is a VLAN
    of a bridge of the host's, and with it on the wire outside.

    Args:
        zones: Those that are there.
        missing: The networks that would be made in it.
    """
    types = [str(zone.get("type")) for zone in zones if zone.get("zone") == ZONE]
    for found in types if missing else ():
        if found != ZONE_TYPE:
            yield (
                f"the zone {ZONE} is of type {found[:80]!r}, and networks are made in one of type"
                f" {ZONE_TYPE}: make {', '.join(missing)} there by hand, or --map the segments to"
                " networks that are there"
            )
