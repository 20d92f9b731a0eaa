"""What of a node an export leaves out, and why: pure."""

from __future__ import annotations

from collections.abc import Iterator

from netlab.plan.model import NodePlan


def left_out(node: NodePlan) -> Iterator[str]:
    """Yield what the machine on Proxmox does not have of the node, a line each."""
    devices = node.devices
    yield from _shares(node)
    if node.firmware.code is not None:
        yield f"{node.name}: firmware.code is left out: a machine there starts with Proxmox's own"
    if node.cdroms:
        yield f"{node.name}: cdroms are left out: upload the images there, and give it a drive"
    if node.cloud_init.enabled:
        yield f"{node.name}: the seed of cloud_init is left out: Proxmox makes seeds of its own"
    if devices.tpm:
        yield f"{node.name}: what its TPM keeps is left out: give it a new one there (tpmstate0)"
    if devices.qemu_args:
        yield f"{node.name}: qemu_args are left out: on Proxmox root alone may set args"
    if devices.smbios.oem_strings:
        yield f"{node.name}: smbios.oem_strings are left out: Proxmox has no word for them"
    if devices.credentials:
        yield f"{node.name}: credentials are left out: no secret goes into a backup by itself"


def _shares(node: NodePlan) -> Iterator[str]:
    for share in node.shares:
        if share.on:
            yield f"{node.name}: the share at {share.target} is left out: its folder is this host's"
