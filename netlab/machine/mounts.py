"""Shares in the guest: mounted over the agent each time that it boots.

Facts: the kernel's Documentation/filesystems/virtiofs.rst and 9p.rst; mount(8).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from netlab.errors import GuestError
from netlab.machine.agent import Agent
from netlab.machine.boot import Share

_MESSAGE_SIZE = 125 * 4096
"""Bytes of a message over 9p: the most that Linux has over virtio (net/9p/trans_virtio.c)."""

# The tag stands first in a line of the table, and no letter of it needs an escape there.
_PREAMBLE = """\
PATH=$PATH:/usr/sbin:/sbin:/usr/bin:/bin
failed=0
is_mounted() { while read -r tag _; do [ "$tag" != "$1" ] || return 0; done </proc/self/mounts
    return 1; }
share() { is_mounted "$1" && return
    mkdir -p "$2" && mount -t "$3" -o "$4" "$1" "$2" ||
        { failed=1; printf 'not mounted: %s\\n' "$2" >&2; }; }
"""


def mount_script(shares: Sequence[Share]) -> str:
    """Return the shell script that mounts shares which are not; given again, it changes nothing."""
    lines = (
        f"share {shlex.join((share.tag, share.target, share.driver, _options(share)))}\n"
        for share in shares
    )
    return "".join((_PREAMBLE, *lines, 'exit "$failed"\n'))


def _options(share: Share) -> str:
    options = ["rw" if share.writable else "ro"]
    if share.driver == "9p":
        options += ["trans=virtio", "version=9p2000.L", f"msize={_MESSAGE_SIZE}"]
    return ",".join(options)


async def mount_shares(agent: Agent, name: str, shares: Sequence[Share]) -> None:
    """Mount a machine's shares in its guest.

    Args:
        agent: The guest's agent, ready.
        name: The node's name.
        shares: Its shares; for none the guest is not asked.

    Raises:
        GuestError: One could not be mounted; the evidence is what the guest says.
        AgentError: The agent failed.
        MachineDiedError: QEMU ended meanwhile.
    """
    if not shares:
        return
    result = await agent.execute(("/bin/sh", "-s"), stdin=mount_script(shares).encode())
    if result.status != 0:
        complaints = result.stderr.decode(errors="replace").strip()
        raise GuestError(
            f"{name}: a share could not be mounted: {complaints.rpartition(chr(10))[2]}",
            hint="its kernel needs the driver: virtiofs, or 9p with 9pnet_virtio",
            evidence=complaints or None,
        )
