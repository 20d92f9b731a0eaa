"""The files of the host that nodes name: looked at before anything starts, all of them."""

from __future__ import annotations

from collections.abc import Iterable

from netlab.errors import InputError
from netlab.machine.boot import FirmwareFiles
from netlab.machine.disk import find_cdrom_mistakes, find_disk_mistakes
from netlab.machine.firmware import find_firmware
from netlab.machine.shares import choose_shares, find_share_mistakes, find_virtiofsd
from netlab.plan.architectures import ARCHITECTURES
from netlab.plan.model import NodePlan
from netlab.process import find_program


def find_files(nodes: Iterable[NodePlan]) -> dict[str, FirmwareFiles | None]:
    """Return the firmware of each node by its name; None for the BIOS that QEMU has.

    Args:
        nodes: The nodes; the paths that they name are absolute, or relative to where we are.

    Raises:
        InputError: Files are not there, or not what they should be: a line for each.
        MissingFeatureError: UEFI firmware is needed and not installed.
        MissingProgramError: mtools for a seed, swtpm for a TPM, or virtiofsd for a share, are not
            installed.
    """
    found: dict[str, FirmwareFiles | None] = {}
    wrong: list[str] = []
    virtiofsd = find_virtiofsd()
    for node in nodes:
        if node.cloud_init.enabled:
            find_program("mformat")
        if node.devices.tpm:
            find_program("swtpm")
        choose_shares(node, virtiofsd)
        mistakes = [*find_disk_mistakes(node.disks), *find_cdrom_mistakes(node.cdroms)]
        mistakes += find_share_mistakes(node.shares)
        try:
            found[node.name] = find_firmware(node.firmware, uefi=ARCHITECTURES[node.arch].uefi)
        except InputError as error:
            mistakes.append(error.message)
        wrong += [f"{node.name}: {mistake}" for mistake in mistakes]
    if wrong:
        raise InputError("\n".join(wrong))
    return found


def find_emulators(nodes: Iterable[NodePlan]) -> None:
    """Look for the QEMU of each node's architecture.

    Raises:
        MissingProgramError: One is not installed.
    """
    for arch in dict.fromkeys(node.arch for node in nodes):
        find_program(ARCHITECTURES[arch].program)
