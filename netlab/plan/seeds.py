"""What cloud-init finds in a node's seed, beside what follows from the node itself."""

from __future__ import annotations

from netlab.plan.contents import find_content
from netlab.plan.parts import NO_SEED, CloudInitPlan, UserPlan
from netlab.topology.cloudinit import CloudInit, User
from netlab.topology.contents import Content
from netlab.topology.model import Topology
from netlab.topology.source import Mistakes, Path


def plan_cloud_init(
    said: CloudInit | None, place: Path, topology: Topology, mistakes: Mistakes
) -> CloudInitPlan:
    """Return what is in a node's seed.

    Args:
        said: What the topology says, or None.
        place: Where.
        topology: The whole, with the files that it names.
        mistakes: Told of files that are no text.
    """
    if said is None or not said.enabled:
        return NO_SEED

    def read(key: str, content: Content | None) -> str | None:
        if content is None:
            return None
        data = find_content(content, (*place, key), topology, mistakes)
        try:
            return data.decode()
        except UnicodeDecodeError:
            mistakes.add((*place, key, "from"), "the file is not text in UTF-8")
            return ""

    return CloudInitPlan(
        enabled=True,
        users=tuple(_user(name, user) for name, user in said.users.items()),
        ssh_authorized_keys=said.ssh_authorized_keys,
        user_data=read("user_data", said.user_data),
        network_config=read("network_config", said.network_config),
    )


def _user(name: str, user: User) -> UserPlan:
    return UserPlan(
        name=name,
        ssh_authorized_keys=user.ssh_authorized_keys,
        groups=user.groups,
        sudo=user.sudo,
        shell=user.shell,
        hashed_passwd=user.hashed_passwd,
    )
