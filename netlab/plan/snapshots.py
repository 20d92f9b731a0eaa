"""What keeps a node's running state from being saved."""

from __future__ import annotations

from netlab.errors import InputError
from netlab.plan.model import NodePlan

SAVING = frozenset(("migrate", "snapshot-save"))
"""Commands of QEMU's monitor that save a machine with its memory."""


def snapshot_obstacles(node: NodePlan) -> tuple[str, ...]:
    """Return what has state outside of QEMU that no snapshot of its memory would have, a line each.

    A guest that has a share holds files of the host open, which QEMU can neither save nor open
    again: its vhost-user-fs is not migratable, and virtio-9p forbids it while a guest has mounted
    it (hw/virtio/vhost-user-fs.c, hw/9pfs/9p.c).
    """
    return tuple(f"the share at {share.target}" for share in node.shares if share.on)


def check_snapshot(node: NodePlan) -> None:
    """Refuse to save a node with its memory where that cannot be whole.

    Raises:
        InputError: Something of it would be lost; the message names it.
    """
    if obstacles := snapshot_obstacles(node):
        raise InputError(
            f"{node.name} cannot be saved with its memory: {', '.join(obstacles)}",
            hint="what a guest has open in a folder of the host is in no snapshot; leave it out",
        )
