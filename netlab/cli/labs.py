"""Which running lab, and which of its nodes, the command line means."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, cast

from netlab.cli.selection import select_names
from netlab.errors import UsageError

if TYPE_CHECKING:
    from netlab.lab.client import Client
    from netlab.lab.folders import LabFolders


def split_node(text: str, name: str | None) -> tuple[str | None, str]:
    """Split ``LAB/NODE``; return the lab, if one is said, and the node.

    Args:
        text: ``NODE`` or ``LAB/NODE``.
        name: The value of ``--name``.

    Raises:
        UsageError: Two different labs are said.
    """
    lab, slash, node = text.rpartition("/")
    if not slash:
        return name, node
    if name is not None and name != lab:
        raise UsageError(f"two labs are given: {lab} and --name {name}")
    return lab, node


def find_client(name: str | None, topology: str | None = None) -> Client:
    """Return a client of the lab that is meant: by name, by its file, or the only one that is up.

    Raises:
        UnknownNameError: It is not up, or several are and none is named.
    """
    from netlab.lab.client import find_lab

    return find_lab(choose_name(name, topology))


def choose_name(name: str | None, topology: str | None) -> str | None:
    """Return the name of the lab that is meant, or None when nothing says so.

    Where there is no such file, the name of a lab is taken for what it is.
    """
    if name is not None or topology is None:
        return None if name is None else check_name(name)
    from netlab.cli.topologies import find_topology
    from netlab.topology.load import read_name

    path = find_topology(topology)
    if _is_lab(topology) and not os.path.lexists(path):
        return topology
    return read_name(path)


def _is_lab(word: str) -> bool:
    """Say whether a word, where a file is expected, is the name of a lab that left anything."""
    from netlab.lab.folders import list_labs

    return any(folders.lab == word for folders in list_labs())


def check_name(name: str) -> str:
    """Return a lab's name if it can be one: it becomes a folder's name.

    Raises:
        UsageError: It cannot.
    """
    if not name or "/" in name or "\0" in name or name.startswith("."):
        raise UsageError(f"{name!r} cannot be the name of a lab")
    return name


def read_nodes(folders: LabFolders) -> tuple[str, ...]:
    """Return the names of a running lab's nodes, from the plan in its folder: no need to ask it.

    Raises:
        ControlError: The lab has no plan, or not any more.
    """
    try:
        plan = json.loads(folders.plan.read_text(encoding="utf-8"))
        nodes = cast("list[dict[str, object]]", plan["nodes"])
        return tuple(str(node["name"]) for node in nodes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        # Imported here: this is the road of failure.
        from netlab.lab.plans import explain_loss

        raise explain_loss(folders, error) from error


def choose_nodes(client: Client, patterns: list[str]) -> tuple[str, ...]:
    """Return the nodes of a running lab that patterns mean.

    Raises:
        UnknownNameError: A pattern means none.
    """
    return select_names(patterns, read_nodes(client.folders))
