"""cloud-init in a guest: waited for, and its failure told."""

from __future__ import annotations

from netlab.errors import GuestError
from netlab.machine.agent import Agent

_MISSING = 127

# It says how it ended on standard output; its exit status says less, and another thing in each
# version. What its commands printed is in a file.
_WAIT = f"""\
PATH=$PATH:/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/bin
command -v cloud-init >/dev/null || exit {_MISSING}
cloud-init status --wait --long
echo
tail -n 20 /var/log/cloud-init-output.log
"""


async def wait_cloud_init(agent: Agent, node: str) -> None:
    """Wait until cloud-init has done what is in the seed; the deadline is the caller's.

    Args:
        agent: The guest's agent, ready.
        node: The node's name.

    Raises:
        GuestError: It failed, did not find the seed, or is not there.
        AgentError: The agent failed.
        MachineDiedError: QEMU ended meanwhile.
    """
    result = await agent.execute(("/bin/sh", "-c", _WAIT))
    said = result.stdout.decode(errors="replace")
    if result.status == _MISSING and not said:
        raise GuestError(
            f"{node}: its guest has no cloud-init", hint="leave out cloud_init, or install it there"
        )
    # Without --long's other lines, newer ones write "extended_status: …" beside it.
    status = next((line for line in said.splitlines() if line.startswith("status:")), "no status")
    if status != "status: done":
        raise GuestError(
            f"{node}: cloud-init did not do what its seed says ({status})", evidence=said.strip()
        )
