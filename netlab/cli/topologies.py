"""From what the command line says about a topology to its plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netlab.errors import UsageError

if TYPE_CHECKING:
    from netlab.plan.checklist import PlannedCheck
    from netlab.plan.model import Plan

PATTERNS = (("*.netlab.yaml", "*.netlab.yml"), ("topology.yaml", "topology.yml"))
"""Files looked for in a folder; the second kind only where there is none of the first."""


def find_topology(argument: str | None, option: str | None = None) -> Path:
    """Return the topology file that the command line means.

    Args:
        argument: The positional argument: a file, or a folder to look in.
        option: The value of ``--topo``, likewise.

    Raises:
        UsageError: Both are given, or none is and the folder has no or several topologies.
    """
    if argument is not None and option is not None and argument != option:
        raise UsageError(f"two topologies are given: {argument} and --topo {option}")
    given = argument if argument is not None else option
    if given is None:
        return discover(Path())
    path = Path(given)
    return discover(path) if _is_folder(path) else path


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        # Whoever reads it says why it cannot be looked at.
        return False


def discover(folder: Path) -> Path:
    """Return the one topology file in a folder.

    Raises:
        UsageError: There is none, or there are several.
    """
    for patterns in PATTERNS:
        found = sorted(path for pattern in patterns for path in folder.glob(pattern))
        if len(found) > 1:
            raise UsageError(
                "several topologies are here: " + ", ".join(map(str, found)),
                hint="say which one",
            )
        if found:
            return found[0]
    found = "*.netlab.yaml and topology.yaml are found by themselves"
    if folder.name:
        raise UsageError(f"{folder} is a folder without a topology", hint=found)
    raise UsageError("no topology is given, and this folder has none", hint=f"name a file; {found}")


def load_plan(
    path: Path,
    *,
    variables: dict[str, str] | None = None,
    lab: str | None = None,
    nodes: Sequence[str] | None = None,
) -> Plan:
    """Return the plan of a topology file.

    Args:
        path: The file.
        variables: Values for its ``${names}``.
        lab: The lab's name, if not the file's.
        nodes: Patterns of the nodes to keep (see :mod:`netlab.cli.selection`), or None for all.

    Raises:
        TopologyError: The file has mistakes.
        UnknownNameError: A pattern matches no node.
    """
    from netlab.plan.resolve import resolve
    from netlab.topology.load import examine

    plan = resolve(examine(path, variables=variables or {}), lab=lab)
    if not nodes:
        return plan
    from netlab.cli.selection import select_names
    from netlab.plan.select import select

    return select(plan, select_names(nodes, [node.name for node in plan.nodes]))


def load_checks(
    path: Path, *, variables: dict[str, str] | None = None, lab: str | None = None
) -> tuple[Plan, Sequence[PlannedCheck]]:
    """Return the plan of a topology file to be brought to life, and its checks.

    Args:
        path: The file.
        variables: Values for its ``${names}``.
        lab: The lab's name, if not the file's.

    Raises:
        TopologyError: The file has mistakes.
    """
    from netlab.plan.checklist import resolve_checks
    from netlab.plan.files import anchor
    from netlab.plan.resolve import resolve
    from netlab.topology.load import examine

    topology = examine(path, variables=variables or {})
    plan = anchor(resolve(topology, lab=lab), str(path.absolute().parent))
    return plan, resolve_checks(topology, [node.name for node in plan.nodes])
