"""Topology -> Plan: every name, address and setting of a lab, decided before anything starts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from netlab.errors import UsageError
from netlab.plan.addressing import Addressing, assign
from netlab.plan.checklist import make_checklist
from netlab.plan.checks import check_addresses
from netlab.plan.devices import BY_RULE
from netlab.plan.images import plan_image
from netlab.plan.inventory import PlannedNode, make_inventory
from netlab.plan.machines import plan_memory
from netlab.plan.model import (
    HostPlan,
    ImagePlan,
    InterfacePlan,
    NodePlan,
    Plan,
    PortPlan,
    RoutePlan,
    SegmentPlan,
)
from netlab.plan.names import (
    altname,
    generation_id,
    link_bridge,
    mac_address,
    machine_uuid,
    tap_name,
    vlan_bridge,
)
from netlab.plan.parts import DevicesPlan
from netlab.plan.routing import plan_routes
from netlab.plan.wiring import Segment, make_segments
from netlab.topology.model import Topology
from netlab.topology.names import check_lab_name
from netlab.topology.ranges import compact
from netlab.topology.source import Mistakes, Path, WrongError, quote


def resolve(topology: Topology, *, lab: str | None = None, placed: Mistakes | None = None) -> Plan:
    """Decide everything that a lab will be.

    Args:
        topology: What its author wrote.
        lab: The lab's name; the topology's own when None. Another name gives other MAC addresses,
            UUIDs and long names, so that labs of one file can be told apart.
        placed: Gets those of the plan's own warnings that have a place in the file.

    Raises:
        TopologyError: Every mistake that the topology makes as a whole, with its position.
        UsageError: `lab` cannot be a lab's name.
    """
    name = topology.name if lab is None else _checked(lab)
    mistakes = Mistakes(topology.source, topology.mistakes)
    nodes = make_inventory(topology, mistakes)
    segments = make_segments(topology, nodes, mistakes)
    addressing = assign(topology, nodes, segments, mistakes)
    warnings = check_addresses(nodes.values(), segments, addressing, mistakes)
    interfaces = _interfaces(name, segments, addressing, mistakes)
    planned = tuple(
        _node(name, node, interfaces.get(node.name, ()), addressing, mistakes)
        for node in nodes.values()
    )
    # For their mistakes only: checks are no part of the plan.
    make_checklist(topology, nodes, mistakes)
    mistakes.check()
    placed = Mistakes(topology.source) if placed is None else placed
    _find_shares_off(nodes.values(), placed)
    return Plan(
        lab=name,
        topology=topology.name,
        nodes=planned,
        segments=tuple(_segment(name, segment) for segment in segments),
        hosts=tuple(_host(node, addressing) for node in planned),
        warnings=(*_warnings(topology, placed, nodes.values(), planned), *warnings),
        images=_images(topology, planned),
    )


def _images(topology: Topology, nodes: Iterable[NodePlan]) -> tuple[ImagePlan, ...]:
    """Return the own images that nodes boot or serve, each once, in the order of the nodes."""
    recipes = topology.source.recipes.items()
    own = [plan_image(recipe, file) for file, recipe in recipes if recipe is not None]
    # Of two recipes that say the same, the first one is named.
    by_name = {image.name: image for image in reversed(own)}
    named = (name for node in nodes for name in (node.image, *(one.image for one in node.disks)))
    return tuple(by_name[name] for name in dict.fromkeys(named) if name in by_name)


def _checked(lab: str) -> str:
    try:
        return check_lab_name(lab)
    except WrongError as wrong:
        raise UsageError(wrong.message, hint=wrong.hint) from None


def _interfaces(
    lab: str, segments: Iterable[Segment], addressing: Addressing, mistakes: Mistakes
) -> dict[str, tuple[InterfacePlan, ...]]:
    """Return the interfaces by node, in the order of the file."""
    found: dict[str, list[tuple[int, InterfacePlan]]] = {}
    macs: dict[str, str] = {}
    for segment in segments:
        for port in segment.ports:
            node = port.node.name
            mac = port.mac or mac_address(lab, node, port.name)
            whose = f"{node}:{port.name}"
            if (first := macs.setdefault(mac, whose)) != whose:
                message = f"{whose} and {first} have the MAC address {mac}"
                mistakes.add((*port.path, "mac"), message, "give one of them another")
            interface = InterfacePlan(
                name=port.name,
                segment=segment.name,
                tap=tap_name(lab, node, port.name),
                mac=mac,
                mtu=port.mtu,
                addresses=tuple(map(str, addressing.ports[node, port.name])),
            )
            found.setdefault(node, []).append((port.position, interface))
    return {
        node: tuple(interface for _, interface in sorted(pairs, key=lambda pair: pair[0]))
        for node, pairs in found.items()
    }


def _node(
    lab: str,
    node: PlannedNode,
    interfaces: tuple[InterfacePlan, ...],
    addressing: Addressing,
    mistakes: Mistakes,
) -> NodePlan:
    settings = node.settings
    uuid = node.node.uuid or machine_uuid(lab, node.name)
    return NodePlan(
        name=node.name,
        id=node.id,
        id_given=node.id_given,
        image=settings.image,
        arch=settings.arch,
        accel=settings.accel,
        cpus=settings.cpus,
        memory=plan_memory(node, len(interfaces), mistakes),
        display=settings.display,
        wire=settings.wire,
        uuid=uuid,
        interfaces=interfaces,
        loopback=tuple(map(str, addressing.loopbacks[node.name])),
        routes=_routes(node, interfaces, addressing, mistakes),
        files=settings.files,
        run=settings.run,
        firmware=settings.firmware,
        boot=settings.boot,
        disks=settings.disks,
        tmpfs_root=settings.tmpfs_root,
        cdroms=settings.cdroms,
        cloud_init=settings.cloud_init,
        machine=settings.machine,
        agent=settings.agent,
        configure=settings.configure,
        devices=_devices(settings.devices, uuid),
        shares=settings.shares,
    )


def _routes(
    node: PlannedNode,
    interfaces: Iterable[InterfacePlan],
    addressing: Addressing,
    mistakes: Mistakes,
) -> tuple[RoutePlan, ...]:
    # A gateway may be on the interface that was left out.
    routing = Mistakes(mistakes.source) if mistakes.incomplete else mistakes
    own = {one.name: addressing.ports[node.name, one.name] for one in interfaces}
    return plan_routes(node, own, routing)


def _devices(devices: DevicesPlan, uuid: str) -> DevicesPlan:
    if devices.vmgenid != BY_RULE:
        return devices
    return replace(devices, vmgenid=generation_id(uuid))


def _segment(lab: str, segment: Segment) -> SegmentPlan:
    vlan = segment.vlan
    bridge = link_bridge(lab, *segment.identity) if vlan is None else vlan_bridge(vlan)
    return SegmentPlan(
        name=segment.name,
        bridge=bridge,
        altname=altname(lab, segment.name),
        vlan=vlan,
        mtu=segment.mtu,
        ports=tuple(
            PortPlan(
                tap=tap_name(lab, port.node.name, port.name),
                altname=altname(lab, port.node.name, port.name),
                wire=port.node.settings.wire,
            )
            for port in segment.ports
        ),
    )


def _host(node: NodePlan, addressing: Addressing) -> HostPlan:
    """Return a node's line of /etc/hosts: its loopback where it has one, as that is always up."""
    addresses = addressing.loopbacks[node.name] or [
        address
        for interface in node.interfaces
        for address in addressing.ports[node.name, interface.name]
        if not address.is_link_local
    ]
    ordered = sorted(addresses, key=lambda address: address.version)
    return HostPlan(name=node.name, addresses=tuple(address.host for address in ordered))


def _warnings(
    topology: Topology, placed: Mistakes, nodes: Iterable[PlannedNode], planned: Iterable[NodePlan]
) -> tuple[str, ...]:
    """Return what an author may not have meant: what has a place in the file comes first."""
    texts = (one.text for one in (*topology.warnings, *placed.all()))
    return (*texts, *_missing_ids(nodes), *_ways_out(planned))


def _missing_ids(nodes: Iterable[PlannedNode]) -> tuple[str, ...]:
    names = [node.name for node in nodes if not node.id_given]
    if not names:
        return ()
    have = "has" if len(names) == 1 else "have"
    return (
        f"{compact(names)} {have} no id: addresses follow the position in the file, "
        "and move when nodes before are added or removed",
    )


def _ways_out(nodes: Iterable[NodePlan]) -> tuple[str, ...]:
    names = [node.name for node in nodes if node.devices.qemu_args]
    if not names:
        return ()
    have = "has" if len(names) == 1 else "have"
    return (
        f"{compact(names)} {have} qemu_args: QEMU is told what netlab knows nothing of, "
        "and no export has it",
    )


def _find_shares_off(nodes: Iterable[PlannedNode], warnings: Mistakes) -> None:
    """Find the shares that give way to what an image has, each where it stands and once."""
    names: dict[tuple[Path, str], list[str]] = {}
    for node in nodes:
        for index, share in enumerate(node.settings.shares):
            if not share.on:
                where = (*node.settings.places["shares"], index)
                names.setdefault((where, share.target), []).append(node.name)
    for (where, target), those in names.items():
        message = (
            f"the share at {quote(target)} is off for {compact(those)}: the system on its disk"
        )
        hint = "shadow: true has the share instead"
        warnings.add(where, f"{message} has that path itself", hint)
