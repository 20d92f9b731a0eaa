"""Node patterns -> nodes with names, ids and settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from netlab.plan.settings import NodeSettings, merge
from netlab.topology import ranges
from netlab.topology.model import Node, Topology
from netlab.topology.names import check_node_name
from netlab.topology.ranges import MAXIMUM_NODES
from netlab.topology.source import Mistakes, Path, WrongError, quote

MAXIMUM_INTERFACES = 65_536
"""Most interfaces of all nodes together, beside those of links."""

MAXIMUM_VALUES = 262_144
"""Most addresses, routes, files, disks and commands of all nodes together: 64 for each of 4,096."""

MAXIMUM_TEXT = 64 * 1024 * 1024
"""Most characters in the files and commands of all nodes: each node's are written out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedNode:
    """A node before it is wired.

    Attributes:
        name: Its name.
        id: Its id.
        id_given: Whether the file says the id.
        path: Where its pattern stands.
        node: What the file says of it.
        settings: The same after merging.
    """

    name: str
    id: int
    id_given: bool
    path: Path
    node: Node
    settings: NodeSettings


def make_inventory(topology: Topology, mistakes: Mistakes) -> dict[str, PlannedNode]:
    """Return the nodes by name, in file order.

    Raises:
        TopologyError: There are none, or so many that nothing more can be said of them.
    """
    _check_size(topology, mistakes)
    nodes: dict[str, PlannedNode] = {}
    meter = _Meter(mistakes)
    for node in _expand(topology, mistakes):
        first = nodes.get(node.name)
        if first is None:
            nodes[node.name] = node
            meter.add(node)
            continue
        where = mistakes.source.place(first.path, key=True)
        hint = f"the first is at {where}; split the range, share by a group"
        mistakes.add(node.path, f"the node {quote(node.name)} is declared twice", hint, key=True)
    nodes = _with_ids(nodes, mistakes)
    _check_uuids(nodes, mistakes)
    return nodes


def _check_size(topology: Topology, mistakes: Mistakes) -> None:
    if not topology.nodes:
        mistakes.add(("nodes",), "there are no nodes", "a lab has at least one")
    total = 0
    for pattern in topology.nodes:
        total += ranges.count(pattern)
        if total > MAXIMUM_NODES:
            message = f"{total:,} nodes up to here; at most {MAXIMUM_NODES:,} are possible"
            mistakes.add(("nodes", pattern), message, key=True)
            raise mistakes.error()


def _expand(topology: Topology, mistakes: Mistakes) -> Iterator[PlannedNode]:
    """Yield the nodes; an id that is not given is 0 for now."""
    for pattern, node in topology.nodes.items():
        path = ("nodes", pattern)
        settings = merge(topology, pattern, mistakes)
        for index, name in enumerate(ranges.expand(pattern)):
            try:
                check_node_name(name)
            except WrongError as wrong:
                mistakes.add(path, wrong.message, wrong.hint, key=True)
            number = 0 if node.id is None else node.id + index
            yield PlannedNode(
                name=name,
                id=number,
                id_given=node.id is not None,
                path=path,
                node=node,
                settings=settings,
            )


def _with_ids(nodes: dict[str, PlannedNode], mistakes: Mistakes) -> dict[str, PlannedNode]:
    result = {
        node.name: node if node.id_given else replace(node, id=position)
        for position, node in enumerate(nodes.values(), start=1)
    }
    taken: dict[int, PlannedNode] = {}
    # Those given first: whoever only has a position is the one who has to give way.
    for node in sorted(result.values(), key=lambda node: not node.id_given):
        path = (*node.path, "id") if node.id_given else node.path
        first = taken.setdefault(node.id, node)
        if first is not node:
            where = mistakes.source.place((*first.path, "id"))
            whose = f"the id {node.id} of {quote(node.name)}"
            hint = f"{quote(first.name)} has it, at {where}"
            if node.id_given:
                mistakes.add(path, f"{whose} is taken", hint)
            else:
                message = f"{whose}, its position in the file, is taken"
                mistakes.add(path, message, f"{hint}; give it an id", key=True)
        if node.id > MAXIMUM_NODES:
            mistakes.add(path, f"the id {node.id} of {quote(node.name)} is above {MAXIMUM_NODES}")
    return result


def _check_uuids(nodes: dict[str, PlannedNode], mistakes: Mistakes) -> None:
    taken: dict[str, PlannedNode] = {}
    for node in nodes.values():
        uuid = node.node.uuid
        first = node if uuid is None else taken.setdefault(uuid, node)
        if first is not node:
            message = f"the UUID of {quote(node.name)} is taken"
            hint = f"{quote(first.name)} has it; a range's nodes need one each"
            mistakes.add((*node.path, "uuid"), message, hint)


class _Meter:
    """Finds what a file multiplies beyond use: a short one must not make an endless plan.

    It is asked at each node, as the settings of those behind would have to be made first.
    """

    def __init__(self, mistakes: Mistakes) -> None:
        self._mistakes = mistakes
        self._extents: dict[Path, _Extent] = {}
        self._interfaces = self._values = self._text = 0

    def add(self, node: PlannedNode) -> None:
        """Count a node.

        Raises:
            TopologyError: It is one too many.
        """
        extent = self._extents.get(node.path)
        if extent is None:
            extent = self._extents[node.path] = _extent(node)
        self._interfaces += extent.interfaces
        self._values += extent.values
        self._text += extent.text
        if self._interfaces > MAXIMUM_INTERFACES:
            message = f"the nodes up to here have more than {MAXIMUM_INTERFACES:,} interfaces"
            self._mistakes.add(node.path, message, key=True)
        elif self._values > MAXIMUM_VALUES:
            what = "addresses, routes, files and commands"
            message = f"the nodes up to here have more than {MAXIMUM_VALUES:,} {what}"
            self._mistakes.add(node.path, message, key=True)
        elif self._text > MAXIMUM_TEXT:
            message = f"the files of all nodes together are more than {MAXIMUM_TEXT >> 20} MiB"
            self._mistakes.add(node.path, message, "put what is large into an image", key=True)
        else:
            return
        raise self._mistakes.error()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Extent:
    """How much a node adds to the plan: interfaces, values that are listed, characters of text."""

    interfaces: int
    values: int
    text: int


def _extent(node: PlannedNode) -> _Extent:
    settings, own = node.settings, node.node.interfaces.values()
    loopback = settings.loopback
    lists = (
        *(settings.routes, settings.files, settings.run),
        *(settings.disks, settings.cdroms, settings.shares, settings.devices.credentials),
    )
    return _Extent(
        interfaces=len(settings.vlans) + len(own),
        values=sum(map(len, lists))
        + (2 if isinstance(loopback, bool) else len(loopback))
        + sum(len(interface.addresses) for interface in own),
        text=sum(len(file.content) for file in settings.files)
        + sum(map(len, (*settings.run, *settings.devices.qemu_args)))
        + sum(len(one.content) for one in settings.devices.credentials)
        + len(settings.cloud_init.user_data or "")
        + len(settings.cloud_init.network_config or ""),
    )
