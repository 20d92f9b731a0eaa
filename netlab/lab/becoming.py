"""From a machine whose guest boots to the node that the plan describes."""

from __future__ import annotations

from collections.abc import Callable

from netlab.errors import AgentError
from netlab.machine.cloudinit import wait_cloud_init
from netlab.machine.identity import apply_identity
from netlab.machine.machine import Machine
from netlab.machine.mounts import mount_shares
from netlab.plan.model import HostPlan, NodePlan


async def become(
    machine: Machine, node: NodePlan, hosts: tuple[HostPlan, ...], tell: Callable[[str], None]
) -> None:
    """Wait for a guest and configure it; when it boots again meanwhile, that is for the next time.

    Args:
        machine: Runs the guest.
        node: What it is to become.
        hosts: The names that it knows.
        tell: Told why it is being configured.

    Raises:
        AgentError: The agent refused.
        GuestError: The guest did not take its identity.
        MachineError: The machine ended.
    """
    life = machine.resets
    try:
        await machine.wait_ready()
        if node.cloud_init.enabled and node.agent:
            tell("cloud-init is at work")
            await wait_cloud_init(machine.agent, node.name)
        if node.configure:
            tell("the agent answers")
            await mount_shares(machine.agent, node.name, machine.shares)
            await apply_identity(machine.agent, node, hosts)
    except AgentError:
        # A guest that reboots while it is configured is not broken: it is configured again.
        if machine.resets == life:
            raise
