"""The variables of a machine's UEFI firmware: how large they are, and of which build."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from netlab.errors import InputError, MissingFeatureError
from netlab.machine.boot import VARIABLES
from netlab.machine.firmware import find_firmware
from netlab.plan.architectures import ARCHITECTURES
from netlab.plan.model import NodePlan
from netlab.proxmox.export import EFI_SIZES, EfiType, EfiVariables


def name_variables(node: NodePlan, size: int) -> EfiVariables:
    """Return what Proxmox calls a node's variables of a size; of another size it takes none.

    Args:
        node: The node.
        size: In bytes.
    """
    kinds: dict[int, EfiType] = {size: kind for kind, size in EFI_SIZES.items()}
    return EfiVariables(size=size, type=kinds.get(size, "4m"), enrolled=node.firmware.secure_boot)


def foresee_variables(node: NodePlan, folder: Path | None) -> EfiVariables | None:
    """Return what a node's variables are going to be, with nothing read but their file's size.

    Args:
        node: The node; the paths that it names are absolute, or relative to where we are.
        folder: The lab's, if it is up: its machines have variables of their own there.

    Returns:
        None for a node that boots by BIOS. Where there is no such file here, they are taken for
        those of Debian's firmware: that the file is missing is said when it is needed.
    """
    if node.firmware.kind != "uefi":
        return None
    with suppress(OSError):
        if folder is not None:
            return name_variables(node, (folder / "nodes" / node.name / VARIABLES).stat().st_size)
    with suppress(OSError, InputError, MissingFeatureError):
        found = find_firmware(node.firmware, uefi=ARCHITECTURES[node.arch].uefi)
        if found is not None:
            return name_variables(node, Path(found.template).stat().st_size)
    return name_variables(node, EFI_SIZES["4m"])
