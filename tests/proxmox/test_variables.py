"""Variables of a machine's firmware, before anybody reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from netlab.machine.boot import VARIABLES
from netlab.plan.model import NodePlan
from netlab.plan.resolve import resolve
from netlab.proxmox.export import EfiVariables
from netlab.proxmox.machine_request import MachineRequest, foresee
from netlab.proxmox.variables import foresee_variables
from netlab.topology.load import loads

PLAN = resolve(loads("name: x\nnodes: {a: {firmware: uefi}, b: {}}\n"))
SMALL = 131_072


def own(folder: Path, node: NodePlan, size: int) -> None:
    path = folder / "nodes" / node.name / VARIABLES
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(size))


def test_those_of_a_machine_in_a_lab_come_before_those_that_it_began_with(tmp_path: Path) -> None:
    node, other = PLAN.nodes
    began = replace(node.firmware, vars=str(tmp_path / "nowhere"))
    own(tmp_path, node, SMALL)
    small = EfiVariables(size=SMALL, type="2m")
    assert foresee_variables(replace(node, firmware=began), tmp_path) == small
    assert foresee_variables(other, tmp_path) is None
    configuration = foresee(PLAN, [node], MachineRequest(), tmp_path)["a"][1]
    assert "efitype=2m" in str(configuration.get("efidisk0"))


def test_those_that_are_not_here_are_taken_for_debians(tmp_path: Path) -> None:
    node = PLAN.nodes[0]
    began = replace(node.firmware, vars=str(tmp_path / "nowhere"))
    large = EfiVariables(size=540_672, type="4m")
    assert foresee_variables(replace(node, firmware=began), tmp_path) == large
