"""Running nodes on their way out: held at one moment, and lasting without netlab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import trio

from netlab.errors import AgentError, NotReadyError
from netlab.lab.access import LabAccess, NodeAccess
from netlab.machine.cut import MachineCut
from netlab.plan.model import FilePlan, NodePlan
from netlab.proxmox.drives import Work, lives_in_memory
from netlab.proxmox.persistence import lasting_files
from netlab.proxmox.placing import open_placed
from netlab.scopes import open_background, open_tasks

ANSWER_LIMIT = 10.0
"""Seconds that an agent gets to say that it is there, before anything begins."""


def is_running(node: NodeAccess) -> bool:
    """Say whether a node runs.

    Raises:
        NotReadyError: It is about to.
    """
    if node.state in {"stopped", "failed"}:
        return False
    if node.state != "ready":
        raise NotReadyError(
            f"{node.plan.name} is {node.state}: {node.reason()}", hint="wait until it is ready"
        )
    return True


async def hold(
    lab: LabAccess, names: Sequence[str], work: Work
) -> tuple[Mapping[str, MachineCut], float]:
    """Hold the disks of running nodes, with what makes them so without netlab on them.

    Args:
        lab: Has the nodes.
        names: Which.
        work: Holds the disks for as long as it goes on.

    Returns:
        The disks by node, and for how many seconds the nodes stood still.

    Raises:
        AgentError: The agent of a node that cannot do without does not answer.
        GuestError: A node does not take its files, or they cannot be taken away from it again.
        MachineError: A node's disks are held already, or it failed.
    """
    if not names:
        return {}, 0
    nodes = [lab.nodes[name] for name in names]
    lasting = {node.plan.name: _lasting(node.plan) for node in nodes}
    async with open_tasks() as tasks:
        for node in nodes:
            if lasting[node.plan.name] or lives_in_memory(node.plan):
                tasks.start_soon(_wait_answer, node)
    # Around the cut, and ended before it: a task for each.
    placing = await work.stack.enter_async_context(open_background())
    placed = [
        await placing.start(_place, node, files)
        for node in nodes
        if (files := lasting[node.plan.name])
    ]
    cut = await work.stack.enter_async_context(lab.open_cut(names))
    for one in placed:
        one.over.set()
    for one in placed:
        await one.gone.wait()
    return {one.node: one for one in cut.machines}, cut.pause


@dataclass(frozen=True, slots=True)
class _Placed:
    """Files that are in a guest until the moment is over, and are gone then."""

    over: trio.Event = field(default_factory=trio.Event)
    gone: trio.Event = field(default_factory=trio.Event)


async def _place(
    node: NodeAccess, files: Sequence[FilePlan], *, task_status: trio.TaskStatus[_Placed]
) -> None:
    placed = _Placed()
    async with open_placed(node, files):
        task_status.started(placed)
        await placed.over.wait()
    placed.gone.set()


def _lasting(node: NodePlan) -> Sequence[FilePlan]:
    is_ours = node.configure and any(disk.source == "image" for disk in node.disks)
    return lasting_files(node) if is_ours else ()


async def _wait_answer(node: NodeAccess) -> None:
    """Find out in time what would be waited for without an end: a guest that stands still."""
    with trio.move_on_after(ANSWER_LIMIT) as limit:
        await node.execute(("true",))
    if limit.cancelled_caught:
        what = "its root, in its memory," if lives_in_memory(node.plan) else "what it is"
        raise AgentError(
            f"{node.plan.name}: its agent has not answered for {ANSWER_LIMIT:g} s, and {what} "
            "cannot be exported without it",
            hint="if it is paused, let it go on; if it is stuck, `netlab logs` has its console",
        )
