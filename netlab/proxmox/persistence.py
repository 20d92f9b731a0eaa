"""What a node is, as files that make a guest so without netlab around: pure.

A system with systemd gets ``.link`` and ``.network`` files (systemd.link(5), systemd.network(5)):
interfaces are found by their MAC addresses, whatever slots they have. A guest in memory gets the
script that netlab itself would run, and starts it at boot.
"""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Iterable, Iterator, Sequence

from netlab.machine.identity import host_lines, read_content, script
from netlab.plan.model import FilePlan, HostPlan, InterfacePlan, NodePlan, RoutePlan

START = "/usr/lib/netlab/start"
"""The script that a guest in memory runs at boot, and the start-up commands of a system's."""

UNIT = "/etc/systemd/system/netlab-start.service"
_WANTED = "/etc/systemd/system/multi-user.target.d/netlab.conf"

_INITTAB = "/etc/inittab"

_SYSCTLS = """\
net.ipv4.ip_forward = 1
net.ipv4.conf.all.rp_filter = 0
net.ipv4.conf.default.rp_filter = 0
net.ipv6.conf.all.forwarding = 1
net.ipv6.conf.default.forwarding = 1
"""

_UNIT = f"""\
[Unit]
Description=Start-up commands of this node
After=network.target systemd-networkd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {START}
"""


def system_files(node: NodePlan, hosts: Sequence[HostPlan]) -> tuple[FilePlan, ...]:
    """Return the files that make a system with systemd the node, at every boot; its own are last.

    Two may have the same path: the later one is meant, as in a lab.
    """
    return (*_names(node, hosts), *_settings(node), *node.files)


def lasting_files(node: NodePlan) -> tuple[FilePlan, ...]:
    """Return what a system of a lab lacks of them: its names and its own files are there.

    They may have been changed since, by whom they are for.
    """
    own = {file.path for file in node.files}
    return tuple(file for file in _settings(node) if file.path not in own)


def _names(node: NodePlan, hosts: Sequence[HostPlan]) -> tuple[FilePlan, ...]:
    """Return the files that every guest of a lab gets from netlab when it boots."""
    lines = "".join(f"{line}\n" for line in host_lines(node, hosts))
    return _file("/etc/hostname", f"{node.name}\n"), _file("/etc/hosts", lines)


def _settings(node: NodePlan) -> tuple[FilePlan, ...]:
    """Return what systemd makes of a node that netlab makes of it in a lab."""
    files = {"/etc/sysctl.d/90-netlab.conf": _SYSCTLS}
    for index, interface in enumerate(node.interfaces):
        name = f"/etc/systemd/network/10-netlab-{index}"
        files[f"{name}.link"] = _section("Match", [("MACAddress", interface.mac)]) + _section(
            "Link", [("Name", interface.name)]
        )
        files[f"{name}.network"] = _network(node, interface)
    if node.loopback:
        addresses = [("Address", address) for address in node.loopback]
        files["/etc/systemd/network/10-netlab-lo.network"] = _section(
            "Match", [("Name", "lo")]
        ) + _section("Network", addresses)
    if node.run:
        files[START] = _commands(node.run)
        files[UNIT] = _UNIT
        files[_WANTED] = _section("Unit", [("Wants", UNIT.rpartition("/")[2])])
    return tuple(_file(path, content) for path, content in files.items())


def memory_files(
    node: NodePlan, hosts: Sequence[HostPlan], inittab: str, *, ran: bool
) -> tuple[FilePlan, ...]:
    """Return the files that make a guest in memory the node, at every boot.

    Args:
        node: Who it is.
        hosts: Everybody's names and addresses.
        inittab: The image's own table of what starts (busybox init).
        ran: It has been the node already: its names and its own files are in its root, and may have
            been changed since, by whom they are for.
    """
    own = {file.path: file for file in node.files}
    if _INITTAB in own:
        inittab = read_content(own.pop(_INITTAB)).decode(errors="replace")
    identity = f"(\n{script(node, hosts, names=False)}) >/dev/null 2>&1 </dev/null\n"
    given = () if ran else (*_names(node, hosts), *own.values())
    return (
        *given,
        _file(_INITTAB, f"::sysinit:/bin/sh {START}\n{inittab}"),
        _file(START, identity + _commands(node.run)),
    )


def _network(node: NodePlan, interface: InterfacePlan) -> str:
    network = [
        ("LinkLocalAddressing", "ipv6"),
        ("IPv6AcceptRA", "no"),
        ("ConfigureWithoutCarrier", "yes"),
        *(("Address", address) for address in interface.addresses),
    ]
    parts = [
        _section("Match", [("MACAddress", interface.mac)]),
        _section("Link", [("MTUBytes", str(interface.mtu)), ("RequiredForOnline", "no")]),
        _section("Network", network),
    ]
    parts += [_route(route) for route in node.routes if _carrier(node, route) is interface]
    return "".join(parts)


def _carrier(node: NodePlan, route: RoutePlan) -> InterfacePlan | None:
    """Return the interface that a route leaves by: what it says, or where its gateway is."""
    for interface in node.interfaces:
        if route.interface == interface.name:
            return interface
    if route.interface is not None or route.via is None:
        return None
    gateway = ipaddress.ip_address(route.via)
    for interface in node.interfaces:
        if any(gateway in ipaddress.ip_interface(one).network for one in interface.addresses):
            return interface
    return node.interfaces[0] if node.interfaces else None


def _route(route: RoutePlan) -> str:
    destination = route.to
    if destination == "default":
        destination = "::/0" if ":" in (route.via or "") else "0.0.0.0/0"
    values = [("Destination", destination)]
    if route.via is not None:
        values.append(("Gateway", route.via))
    return _section("Route", values)


def _commands(commands: Iterable[str]) -> str:
    """Return a script that runs each in a shell of its own, as netlab does; one ends none else."""
    return "".join(f"/bin/sh -c {shlex.quote(command)}\n" for command in commands)


def _section(name: str, values: Iterable[tuple[str, str]]) -> str:
    return "\n".join(_lines(name, values)) + "\n"


def _lines(name: str, values: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield f"[{name}]"
    yield from (f"{key}={value}" for key, value in values)


def _file(path: str, content: str) -> FilePlan:
    mode = 0o755 if path == START else 0o644
    return FilePlan(path=path, content=content, encoding="utf-8", mode=mode)
