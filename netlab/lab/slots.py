"""Boot slots: so many machines boot at once, for each takes a whole processor until it is up."""

from __future__ import annotations

import trio

SLOT_LIMIT = 120.0
"""Seconds that a node holds a slot at most: others are not to wait for ever for one that hangs."""


async def hold_slot(
    slots: trio.CapacityLimiter,
    *,
    task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Wait for a slot and hold it until the scope that is handed out is cancelled, or too long."""
    async with slots:
        with trio.move_on_after(SLOT_LIMIT) as scope:
            task_status.started(scope)
            await trio.sleep_forever()
