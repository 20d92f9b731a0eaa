"""Running nodes on their way out: held at one moment, and lasting without netlab."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import trio

from netlab.errors import NetlabError, NotReadyError
from netlab.lab.access import LabAccess, NodeAccess
from netlab.machine.cut import CLEAN_UP_LIMIT, MachineCut
from netlab.machine.identity import read_content
from netlab.plan.model import FilePlan, Plan
from netlab.proxmox.drives import Work
from netlab.proxmox.persistence import START_FILES, system_files


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
        lab: The lab.
        names: The nodes.
        work: Holds the disks for as long as it goes on.

    Returns:
        The disks by node, and for how many seconds the nodes stood still.

    Raises:
        MachineError: A node's disks are held already, or it failed.
    """
    if not names:
        return {}, 0
    async with AsyncExitStack() as lasting:
        for name in names:
            node = lab.nodes[name]
            if node.plan.configure and any(disk.source == "image" for disk in node.plan.disks):
                await lasting.enter_async_context(_lasting(node, lab.plan))
        cut = await work.stack.enter_async_context(lab.open_cut(names))
    return {one.node: one for one in cut.machines}, cut.pause


@asynccontextmanager
async def _lasting(node: NodeAccess, plan: Plan) -> AsyncGenerator[None]:
    """Let a system know who it is without netlab; here, it does not run its commands twice."""
    try:
        # Its own files are there, and may have been changed by whom they are for.
        files = system_files(node.plan, plan.hosts)
        await _put(node, files[: len(files) - len(node.plan.files)])
        yield
    finally:
        with trio.move_on_after(CLEAN_UP_LIMIT, shield=True), suppress(NetlabError):
            await node.execute(("rm", "-f", *START_FILES))


async def _put(node: NodeAccess, files: Sequence[FilePlan]) -> None:
    folders = sorted({str(Path(file.path).parent) for file in files})
    await node.execute(("mkdir", "-p", *folders))
    for file in files:
        async with node.open_file(file.path, "w") as opened:
            await opened.write(read_content(file))
        await node.execute(("chmod", f"{file.mode:o}", file.path))
