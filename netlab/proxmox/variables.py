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


def name_variables(size: int) -> EfiVariables:
    """Return what Proxmox calls variables of a size, in bytes; of any other it takes none."""
    kinds: dict[int, EfiType] = {size: kind for kind, size in EFI_SIZES.items()}
    return EfiVariables(size=size, type=kinds.get(size, "4m"))


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
            return name_variables((folder / "nodes" / node.name / VARIABLES).stat().st_size)
    with suppress(OSError, InputError, MissingFeatureError):
        found = find_firmware(node.firmware, uefi=ARCHITECTURES[node.arch].uefi)
        if found is not None:
            return name_variables(Path(found.template).stat().st_size)
    return name_variables(EFI_SIZES["4m"])
