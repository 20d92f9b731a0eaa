"""MTUs of a host's networks, and of the cards that go on them: pure.

A card with a greater MTU than its network's keeps its machine from starting, and one that says none
has its network's (print_netdevice_full in PVE/QemuServer.pm). Nothing in an answer of a host is
taken for granted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from netlab.proxmox.configuration import Entry, parse_properties
from netlab.proxmox.recipe import ZONE_TYPE
from netlab.proxmox.target import NewMachine

STANDARD_MTU = 1500
"""Bytes that a card has whose node says nothing else, and a network of a simple zone whose zone
says nothing else: Linux's own for a bridge."""

_MAXIMUM = 65_535


@dataclass(frozen=True, slots=True)
class Offer:
    """What a network has: the MTU in bytes, and in words where that is said."""

    mtu: int
    where: str


def find_offers(
    bridges: Iterable[Mapping[str, Any]],
    zones: Iterable[Mapping[str, Any]],
    vnets: Iterable[Mapping[str, Any]],
) -> dict[str, Offer]:
    """Return the MTU of each network of a host of which it is known.

    A virtual network has its zone's; of a zone that is not a simple one, and of a bridge, it is
    known when they say one (PVE/Network/SDN/Zones, /etc/network/interfaces).

    Args:
        bridges: The bridges of a node.
        zones: The zones of the cluster.
        vnets: Its virtual networks.
    """
    offers: dict[str, Offer] = {}
    for bridge in bridges:
        name, mtu = str(bridge.get("iface")), _read(bridge.get("mtu"))
        if mtu:
            offers[name] = Offer(mtu, f"the bridge {name}")
    known = {str(zone.get("zone")): zone for zone in zones}
    for vnet in vnets:
        name = str(vnet.get("zone"))
        zone = known.get(name, {})
        mtu = _read(zone.get("mtu")) or (STANDARD_MTU if zone.get("type") == ZONE_TYPE else 0)
        if mtu:
            offers[str(vnet.get("vnet"))] = Offer(mtu, f"the zone {name[:80]}")
    return offers


def find_small_offers(machines: Iterable[NewMachine], offers: Mapping[str, Offer]) -> Iterator[str]:
    """Yield why networks cannot carry the cards that go on them, in words, by network."""
    wanted: dict[str, int] = {}
    for machine in machines:
        for entry, _ in machine.configuration.numbered("net"):
            values = dict(parse_properties(entry.value, "model"))
            bridge, mtu = values.get("bridge", ""), _read(values.get("mtu"))
            wanted[bridge] = max(wanted.get(bridge, 0), mtu)
    for bridge, mtu in sorted(wanted.items()):
        offer = offers.get(bridge)
        if offer is not None and offer.mtu < mtu:
            yield (
                f"{offer.where} has an MTU of {offer.mtu}, and a card on {bridge} one of {mtu}:"
                f" give it {mtu} there, or --map the segments to networks that have it"
            )


def state_mtus(machine: NewMachine, offers: Mapping[str, Offer]) -> NewMachine:
    """Return a machine whose cards have the standard MTU also where their networks have more."""
    entries = tuple(_state(entry, offers) for entry in machine.configuration.entries)
    return replace(machine, configuration=replace(machine.configuration, entries=entries))


def _state(entry: Entry, offers: Mapping[str, Offer]) -> Entry:
    values = dict(parse_properties(entry.value, "model"))
    offer = offers.get(values.get("bridge", "")) if entry.key.startswith("net") else None
    if offer is None or offer.mtu <= STANDARD_MTU or "virtio" not in values or "mtu" in values:
        return entry
    return replace(entry, value=f"{entry.value},mtu={STANDARD_MTU}")


def _read(value: object) -> int:
    """Return a number of an answer's, which may be text; 0 when there is none that can be."""
    text = str(value)
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
    return number if number <= _MAXIMUM else 0
