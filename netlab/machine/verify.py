"""What a guest says it is, against what the plan says: every difference, in words."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from typing import Any, cast

from netlab.plan.model import InterfacePlan, NodePlan, RoutePlan

LISTINGS = 8
"""How many JSON values are looked at: a guest prints four, unless it wants to keep us busy."""


def verify(node: NodePlan, observed_json: str) -> list[str]:
    """Compare a node with what its identity script printed.

    More than the plan asks for is no difference: link-local addresses, connected routes.

    Args:
        node: What was planned.
        observed_json: The script's output, one JSON value after the other: an object with
            ``hostname`` and ``ip_forward``, then what ``ip -j`` prints for addresses and routes.

    Returns:
        One sentence for each difference; empty when the guest is the node.
    """
    facts, *listings = _values(observed_json) or [None]
    if not isinstance(facts, dict):
        return [f"the guest did not say what it has, but {observed_json[:200]!r}"]
    facts = cast("dict[str, Any]", facts)
    records = [record for listing in listings for record in _records(listing)]
    links = [record for record in records if "ifname" in record]
    routes = [record for record in records if "dst" in record]
    differences: list[str] = []
    if facts.get("hostname") != node.name:
        differences.append(f"its name is {facts.get('hostname')!r}")
    if facts.get("ip_forward") != "1":
        differences.append("it does not forward IPv4")
    for interface in node.interfaces:
        differences += _check_interface(interface, links)
    loopback = [link for link in links if link.get("ifname") == "lo"]
    differences += _missing_addresses("lo", node.loopback, loopback)
    differences += [
        f"the route to {route.to} is missing"
        for route in node.routes
        if not any(_is_route(route, candidate) for candidate in routes)
    ]
    return differences


def _check_interface(interface: InterfacePlan, links: list[dict[str, Any]]) -> list[str]:
    # A bond or a bridge that the guest made itself repeats a member's MAC.
    owners = [link for link in links if link.get("address") == interface.mac]
    if not owners:
        return [f"{interface.name}: no interface has the MAC {interface.mac}"]
    named = [link for link in owners if link.get("ifname") == interface.name]
    if not named:
        return [f"{interface.name}: the interface with its MAC is called {owners[0].get('ifname')}"]
    link = named[0]
    differences: list[str] = []
    if link.get("mtu") != interface.mtu:
        differences.append(f"{interface.name}: the MTU is {link.get('mtu')}, not {interface.mtu}")
    flags = link.get("flags")
    if not isinstance(flags, list) or "UP" not in flags:
        differences.append(f"{interface.name}: it is down")
    return differences + _missing_addresses(interface.name, interface.addresses, named)


def _missing_addresses(name: str, wanted: Iterable[str], links: list[dict[str, Any]]) -> list[str]:
    present = {
        _normal_address(f"{entry.get('local')}/{entry.get('prefixlen')}")
        for link in links
        for entry in _records(link.get("addr_info"))
        if not entry.get("tentative") and not entry.get("dadfailed")
    }
    return [
        f"{name}: the address {address} is missing"
        for address in wanted
        if _normal_address(address) not in present
    ]


def _is_route(route: RoutePlan, candidate: dict[str, Any]) -> bool:
    return (
        _normal_prefix(str(candidate.get("dst"))) == _normal_prefix(route.to)
        and (route.via is None or _same_host(str(candidate.get("gateway")), route.via))
        and (route.interface is None or candidate.get("dev") == route.interface)
    )


def _same_host(observed: str, planned: str) -> bool:
    return _normal_address(observed) == _normal_address(planned)


def _normal_address(text: str) -> str:
    try:
        return str(ipaddress.ip_interface(text))
    except ValueError:
        return text


def _normal_prefix(text: str) -> str:
    # "default" is one for both families; the gateway tells them apart.
    if text in {"default", "0.0.0.0/0", "::/0"}:
        return "default"
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return text


def _values(text: str) -> list[object]:
    """Return the JSON values at the beginning of a text, up to where it is none."""
    decoder = json.JSONDecoder()
    values: list[object] = []
    while len(values) < LISTINGS and (text := text.lstrip()):
        try:
            value, end = decoder.raw_decode(text)
        except (ValueError, RecursionError):
            break
        values.append(value)
        text = text[end:]
    return values


def _records(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        return []
    return [
        cast("dict[str, Any]", entry)
        for entry in cast("list[object]", value)
        if isinstance(entry, dict)
    ]
