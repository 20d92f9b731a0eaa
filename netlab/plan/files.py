"""The files of the host that a plan names: as the topology says them, until a lab is to have them.

A plan says the same wherever its topology lies, so its paths are those of the text.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from netlab.plan.model import CdromPlan, DiskPlan, FirmwarePlan, ImagePlan, NodePlan, Plan

_HasFile = TypeVar("_HasFile", DiskPlan, CdromPlan)


def anchor(plan: Plan, folder: str) -> Plan:
    """Return the plan whose files are found from anywhere: relative to its topology's folder.

    Args:
        plan: As :func:`~netlab.plan.resolve.resolve` returns it.
        folder: The folder of its topology, absolute.
    """
    nodes = tuple(_anchored(node, folder) for node in plan.nodes)
    return replace(
        plan, nodes=nodes, images=tuple(anchor_image(image, folder) for image in plan.images)
    )


def anchor_image(image: ImagePlan, folder: str) -> ImagePlan:
    """Return the image whose files are found from anywhere.

    Args:
        image: As :func:`~netlab.plan.images.plan_image` returns it.
        folder: What its paths are relative to, absolute.
    """
    files = tuple(replace(file, source=_join(folder, file.source)) for file in image.files)
    return replace(image, file=posixpath.join(folder, image.file), files=files)


def _anchored(node: NodePlan, folder: str) -> NodePlan:
    disks = tuple(replace(disk, file=_join(folder, disk.file)) for disk in node.disks)
    cdroms = tuple(replace(cdrom, file=_join(folder, cdrom.file) or "") for cdrom in node.cdroms)
    firmware = _firmware(node.firmware, folder)
    shares = tuple(
        replace(share, source=posixpath.join(folder, share.source)) for share in node.shares
    )
    return replace(node, firmware=firmware, disks=disks, cdroms=cdroms, shares=shares)


def _firmware(firmware: FirmwarePlan, folder: str) -> FirmwarePlan:
    code, variables = (_join(folder, path) for path in (firmware.code, firmware.vars))
    return replace(firmware, code=code, vars=variables)


def _join(folder: str, path: str | None) -> str | None:
    return path if path is None or is_address(path) else posixpath.join(folder, path)


def is_address(file: str) -> bool:
    """Whether a file is one of the net."""
    return "://" in file


@dataclass(frozen=True, slots=True, order=True)
class KnownFile:
    """A file whose content is known.

    Attributes:
        file: Its path, or its address in the net.
        digest: What has to be in it: ``sha256:`` or ``sha512:`` and hexadecimal digits.
    """

    file: str
    digest: str


def known_files(nodes: Iterable[NodePlan]) -> tuple[KnownFile, ...]:
    """Return the files of nodes whose content is known, each once, in the order of the nodes."""
    given = (each for node in nodes for each in (*node.disks, *node.cdroms))
    found = (KnownFile(each.file or "", each.digest) for each in given if each.digest is not None)
    return tuple(dict.fromkeys(found))


def place_files(plan: Plan, places: Mapping[KnownFile, str]) -> Plan:
    """Return the plan whose files are where they are on this host.

    Args:
        plan: A plan.
        places: Paths of files of :func:`known_files`; others stay what they are.
    """

    def placed(each: _HasFile) -> _HasFile:
        if each.digest is None:
            return each
        known = KnownFile(each.file or "", each.digest)
        return replace(each, file=places.get(known, known.file))

    nodes = (
        replace(
            node,
            disks=tuple(map(placed, node.disks)),
            cdroms=tuple(map(placed, node.cdroms)),
        )
        for node in plan.nodes
    )
    return replace(plan, nodes=tuple(nodes))
