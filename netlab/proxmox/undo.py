"""The calls that take back what a push has made."""

from __future__ import annotations

from netlab.proxmox.calls import Call
from netlab.proxmox.recipe import ZONE

MACHINES = Call(
    about="look at the machines",
    method="GET",
    path="/cluster/resources",
    parameters=(("type", "vm"),),
)
"""Lists the machines of the cluster, with their tags."""

ROLLBACK = Call(
    about="roll the networks back", method="POST", path="/cluster/sdn/rollback", locked=True
)
"""Forgets changes of virtual networks that were not put to work, and gives up the lock."""


def stop_machine(vmid: int, node: str) -> Call:
    """Return the call that stops the machine at once."""
    return Call(
        about=f"stop the machine {vmid}",
        method="POST",
        path=f"/nodes/{node}/qemu/{vmid}/status/stop",
        task=True,
    )


def remove_machine(vmid: int, node: str) -> Call:
    """Return the call that removes the machine with its disks."""
    return Call(
        about=f"remove the machine {vmid}",
        method="DELETE",
        path=f"/nodes/{node}/qemu/{vmid}",
        parameters=(("purge", "1"),),
        task=True,
    )


def remove_network(name: str) -> Call:
    """Return the call that removes a virtual network."""
    path = f"/cluster/sdn/vnets/{name}"
    return Call(about=f"remove the network {name}", method="DELETE", path=path, locked=True)


def remove_zone() -> Call:
    """Return the call that removes the zone of netlab's virtual networks."""
    path = f"/cluster/sdn/zones/{ZONE}"
    return Call(about=f"remove the zone {ZONE}", method="DELETE", path=path, locked=True)


def stop_task(node: str, task: str) -> Call:
    """Return the call that stops a task.

    Args:
        node: Where it runs.
        task: Its name, ready for a URL.
    """
    return Call(about="stop the task", method="DELETE", path=f"/nodes/{node}/tasks/{task}")
