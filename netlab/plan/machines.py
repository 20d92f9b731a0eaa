"""What a machine can have: memory for its image and interfaces, and how many interfaces."""

from __future__ import annotations

from collections.abc import Mapping

from netlab.plan.catalogue import MAXIMUM_INTERFACES, ImageFacts
from netlab.plan.images import name_of
from netlab.plan.inventory import PlannedNode
from netlab.plan.model import NodePlan
from netlab.plan.settings import NodeSettings
from netlab.topology.source import Mistakes, quote

_KIB = 1024


def plan_memory(node: PlannedNode, interfaces: int, mistakes: Mistakes) -> int:
    """Return a node's memory in MiB: what its file says, or what its image needs at ease.

    Args:
        node: Whose.
        interfaces: How many it has: each takes memory for the frames that it can hold.
        mistakes: Told when that is more than a machine can have, or too much for its memory.
    """
    if interfaces > MAXIMUM_INTERFACES:
        message = f"{node.name} has {interfaces} interfaces, and a machine takes"
        hint = "use VLANs on fewer interfaces, or more nodes"
        mistakes.add(node.path, f"{message} {MAXIMUM_INTERFACES}", hint)
    network = node.settings.boot == "network"
    if network and interfaces == 0:
        message = f"{node.name} has no interface to boot from"
        mistakes.add(node.settings.places["boot"], message, "give it a link or a vlan")
    facts = node.settings.facts
    extras = _extras(facts, node.settings)
    minimum = _least(facts, interfaces, extras)
    memory = node.settings.memory
    if memory is None:
        return max(facts.memory, minimum)
    if memory < minimum:
        count = f"{interfaces} interface{'s' if interfaces != 1 else ''}"
        what = " and ".join([count] * bool(interfaces) + list(extras))
        with_them = f" with {what}" if what else ""
        image = node.settings.image
        whose = "a machine" if image is None else f"the image {quote(name_of(image))}"
        message = f"{memory} MiB of memory, and {whose} needs"
        mistakes.add(node.settings.places["memory"], f"{message} {minimum}{with_them}")
    return memory


def least_memory(facts: ImageFacts, node: NodePlan) -> int:
    """Return the MiB below which a node does not start.

    Args:
        facts: What is known of its image.
        node: The node.
    """
    return _least(facts, len(node.interfaces), _extras(facts, node))


def _least(facts: ImageFacts, interfaces: int, extras: Mapping[str, int]) -> int:
    # Rounded up: a MiB is the unit that QEMU is given.
    minimum = facts.minimum_memory - -(interfaces * facts.interface_memory) // _KIB
    return minimum + sum(extras.values())


def _extras(facts: ImageFacts, settings: NodeSettings | NodePlan) -> dict[str, int]:
    """Return what takes memory beside interfaces, in MiB, by what it is called."""
    extras: dict[str, int] = {}
    if settings.display != "none":
        extras["a display"] = facts.display_memory
    if settings.firmware.kind == "uefi":
        extras["UEFI"] = facts.uefi_memory
    if settings.boot == "network":
        extras["boot: network"] = facts.network_memory
    if settings.tmpfs_root:
        extras["a root on tmpfs"] = facts.tmpfs_memory
    return extras
