"""The files of the host that a plan names: as the topology says them, until a lab is to have them.

A plan says the same wherever its topology lies, so its paths are those of the text.
"""

from __future__ import annotations

import posixpath
from dataclasses import replace

from netlab.plan.model import FirmwarePlan, NodePlan, Plan


def anchor(plan: Plan, folder: str) -> Plan:
    """Return the plan whose files are found from anywhere: relative to its topology's folder.

    Args:
        plan: As :func:`~netlab.plan.resolve.resolve` returns it.
        folder: The folder of its topology, absolute.
    """
    return replace(plan, nodes=tuple(_anchored(node, folder) for node in plan.nodes))


def _anchored(node: NodePlan, folder: str) -> NodePlan:
    disks = tuple(replace(disk, file=_join(folder, disk.file)) for disk in node.disks)
    cdroms = tuple(replace(cdrom, file=posixpath.join(folder, cdrom.file)) for cdrom in node.cdroms)
    firmware = _firmware(node.firmware, folder)
    return replace(node, firmware=firmware, disks=disks, cdroms=cdroms)


def _firmware(firmware: FirmwarePlan, folder: str) -> FirmwarePlan:
    code, variables = (_join(folder, path) for path in (firmware.code, firmware.vars))
    return replace(firmware, code=code, vars=variables)


def _join(folder: str, path: str | None) -> str | None:
    return None if path is None else posixpath.join(folder, path)
