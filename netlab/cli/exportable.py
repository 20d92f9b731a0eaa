"""What can be exported: nodes of a lab that is up, or of a plan that nobody starts."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from netlab.cli.export import Selection
from netlab.cli.labs import check_name, choose_name
from netlab.errors import UsageError
from netlab.lab.client import find_lab
from netlab.lab.folders import LabFolders
from netlab.lab.remote import RemoteLab, open_remote
from netlab.plan.catalogue import IMAGES
from netlab.plan.files import anchor
from netlab.plan.model import Plan
from netlab.plan.resolve import resolve
from netlab.topology.load import load, loads
from netlab.topology.names import check_node_name
from netlab.topology.recipe import Recipe, is_recipe
from netlab.topology.recipe_file import load_recipe
from netlab.topology.source import WrongError

_DISKS = {".qcow2", ".raw", ".img"}
_TOPOLOGIES = {".yaml", ".yml"}

_QCOW2 = b"QFI\xfb"
"""What a qcow2 file begins with (docs/interop/qcow2.txt of QEMU)."""

_NO_NAME = re.compile("[^a-z0-9]+")
_LONGEST = 58
"""Letters of a name that has room for more before it: a DNS label has 63."""


@dataclass(frozen=True, slots=True)
class RunningNodes:
    """Nodes of a lab that is up; all of them when none is named."""

    folders: LabFolders
    names: tuple[str, ...]

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[tuple[RemoteLab, tuple[str, ...]]]:
        """Open the lab; yield it with the names of the nodes.

        Raises:
            ControlError: It does not answer.
        """
        async with open_remote(self.folders) as lab:
            yield lab, self.names or tuple(lab.nodes)


@dataclass(frozen=True, slots=True)
class PlannedNodes:
    """Nodes of a plan."""

    plan: Plan
    names: tuple[str, ...]


def find_nodes(selection: Selection) -> RunningNodes | PlannedNodes:
    """Return what the command line means.

    Raises:
        UnknownNameError: No such lab is up.
        UsageError: What is given is nothing that can be exported.
        TopologyError: All that is wrong with the topology.
    """
    if selection.image is not None:
        return _find_planned(selection.image, whole=selection.whole)
    lab = selection.lab or ""
    named = choose_name(None, lab) if Path(lab).suffix in _TOPOLOGIES else check_name(lab)
    return RunningNodes(find_lab(named).folders, selection.nodes)


def _find_planned(what: str, *, whole: bool) -> PlannedNodes:
    file, _, names = what.partition("#")
    recipe = is_recipe(what)
    if Path(file).suffix in _TOPOLOGIES and not recipe:
        return _find_in_topology(file, names, whole=whole)
    if whole:
        raise UsageError("--lab is all nodes of a lab", hint="--image TOPOLOGY --lab")
    if recipe:
        return _find_own(what)
    if what in IMAGES:
        return PlannedNodes(_lone_plan(what, {"image": what}), (what,))
    if Path(what).suffix in _DISKS:
        return _find_disk(Path(what).absolute())
    raise UsageError(
        f"--image {what!r} is neither an image ({', '.join(IMAGES)}, or a recipe), nor a disk"
        f" ({', '.join(sorted(_DISKS))}), nor TOPOLOGY#NODE"
    )


def _find_in_topology(file: str, names: str, *, whole: bool) -> PlannedNodes:
    path = Path(file)
    plan = anchor(resolve(load(path)), str(path.absolute().parent))
    chosen = tuple(filter(None, names.split(",")))
    if chosen and whole:
        raise UsageError("--lab is all nodes", hint="name some, or give --lab")
    if not chosen and not whole:
        hint = f"--image {file}#NODE[,NODE...], or --lab for all"
        raise UsageError("which nodes?", hint=hint)
    return PlannedNodes(plan, chosen or tuple(node.name for node in plan.nodes))


def _find_disk(path: Path) -> PlannedNodes:
    name = _name_disk(path.stem)
    if not str(path).isprintable():
        raise UsageError(f"{path}: its name is not text", hint="a link of another name will do")
    kind = "qcow2" if path.suffix == ".qcow2" else "raw"
    if kind == "raw" and _is_qcow2(path):
        # By its name it would be taken for raw, and what came of it would not start.
        hint = "give it a name, or a link of a name, that ends with .qcow2"
        raise UsageError(f"{path}: this is qcow2, whatever its name says", hint=hint)
    # It is a path and no more: nothing in it is a variable of a topology's.
    disk = {"file": str(path).replace("${", "$${"), "format": kind, "bus": "scsi"}
    machine: dict[str, object] = {"image": "none", "arch": "x86_64", "configure": False}
    return PlannedNodes(_lone_plan(name, {**machine, "disk": disk}), (name,))


def _name_disk(stem: str) -> str:
    """Return what of a file's name can be a node's: images are called as nobody calls a host."""
    name = _NO_NAME.sub("-", stem.lower())[:_LONGEST].strip("-")
    try:
        return check_node_name(name)
    except WrongError:
        return f"disk-{name}".strip("-")


def _is_qcow2(path: Path) -> bool:
    """Look at a file's first bytes; one that cannot be read is another's matter."""
    with suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                return file.read(len(_QCOW2)) == _QCOW2
    return False


def _find_own(file: str) -> PlannedNodes:
    """Return a node of an own image, named after that."""
    recipe = load_recipe(file)
    plan = _lone_plan(recipe.name, {"image": file}, {file: recipe})
    return PlannedNodes(anchor(plan, str(Path.cwd())), (recipe.name,))


def _lone_plan(
    name: str, settings: dict[str, object], recipes: Mapping[str, Recipe] | None = None
) -> Plan:
    """Return the plan of one node on no network."""
    topology = {"name": "export", "nodes": {name: {"id": 1, **settings}}}
    return resolve(loads(json.dumps(topology), name="--image").with_recipes(recipes or {}))
