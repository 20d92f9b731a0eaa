"""What of a node an export leaves out, and why: pure."""

from __future__ import annotations

from collections.abc import Iterator

from netlab.plan.model import NodePlan


def left_out(node: NodePlan) -> Iterator[str]:
    """Yield what the machine on Proxmox does not have of the node, a line each."""
    devices = node.devices
    if node.cdroms:
        yield f"{node.name}: cdroms are left out: upload the images there, and give it a drive"
    if devices.qemu_args:
        yield f"{node.name}: qemu_args are left out: on Proxmox root alone may set args"
    if devices.smbios.oem_strings:
        yield f"{node.name}: smbios.oem_strings are left out: Proxmox has no word for them"
    if devices.credentials:
        yield f"{node.name}: credentials are left out: no secret goes into a backup by itself"
