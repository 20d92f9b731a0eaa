"""Static routes of a node."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

from netlab.plan.addressing import Address
from netlab.plan.inventory import PlannedNode
from netlab.plan.model import RoutePlan
from netlab.topology.model import Route
from netlab.topology.source import Mistakes, Path, quote


def plan_routes(
    node: PlannedNode, interfaces: Mapping[str, tuple[Address, ...]], mistakes: Mistakes
) -> tuple[RoutePlan, ...]:
    """Return the routes of a node.

    Args:
        node: The node.
        interfaces: Its interfaces' addresses, by name.
        mistakes: Gets interfaces that it has not and gateways that it cannot reach: the guest's
            kernel would refuse those, long after the file was read.
    """
    routes = node.settings.routes
    path = node.settings.places.get("routes", node.path)
    for index, route in enumerate(routes):
        _check(route, (*path, index), node.name, interfaces, mistakes)
    return tuple(
        RoutePlan(
            to=str(route.to),
            via=None if route.via is None else str(route.via),
            interface=route.interface,
        )
        for route in routes
    )


def _check(
    route: Route,
    path: Path,
    node: str,
    interfaces: Mapping[str, tuple[Address, ...]],
    mistakes: Mistakes,
) -> None:
    if route.interface is not None and route.interface not in interfaces:
        hint = mistakes.suggest(route.interface, interfaces)
        message = f"{quote(node)} has no interface {quote(route.interface)}"
        mistakes.add((*path, "interface"), message, hint)
        return
    if route.via is None:
        return
    if not isinstance(route.to, str) and route.to.version != route.via.version:
        message = f"a route to {route.to} via {route.via}"
        mistakes.add(path, message, "both are of one IP version")
        return
    names = (route.interface,) if route.interface is not None else tuple(interfaces)
    addresses = [address for name in names for address in interfaces[name]]
    if not _reaches(route.via, addresses, route.interface):
        where = route.interface or "any interface"
        message = f"{route.via} is not on the subnet of {where} of {quote(node)}"
        lost = route.interface is None and Address(6, int(route.via), 128).is_link_local
        hint = "name its interface: dev eth1" if lost else "a gateway is a neighbour"
        mistakes.add((*path, "via"), message, hint)


def _reaches(
    via: IPv4Address | IPv6Address, addresses: list[Address], interface: str | None
) -> bool:
    gateway = Address(via.version, int(via), 128)
    if gateway.is_link_local:
        return interface is not None
    return any(address.network.holds(gateway) for address in addresses)
