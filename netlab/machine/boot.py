"""What a machine boots from, as a pure function of the plan and of where the host has its files.

Paths are strings, so that a plan can be shown with placeholders for what is the host's matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from netlab.plan.model import NodePlan

DISK = "disk0.qcow2"
"""Name of a machine's disk in its folder."""

VARIABLES = "vars.fd"
"""Name of a machine's UEFI variable store in its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareFiles:
    """A build of UEFI firmware.

    Attributes:
        code: Its program, which is only ever read.
        template: The variable store that came with it; each machine has a copy of its own.
    """

    code: str
    template: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """The UEFI firmware of one machine.

    Attributes:
        code: Its program, which is only ever read.
        template: What the variable store is made from, once.
        store: The machine's own variable store, which it writes to.
    """

    code: str
    template: str
    store: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What a machine boots from.

    Attributes:
        kernel: A kernel image, or None to boot from the first disk.
        initrd: Its initial RAM disk, or None.
        append: Its command line.
        disks: qcow2 files that the machine writes to.
        base: The image behind the first of them, which is only ever read; or None.
        firmware: Its UEFI firmware, or None for the BIOS that QEMU has.
    """

    kernel: str | None
    initrd: str | None = None
    append: str = ""
    disks: tuple[str, ...] = ()
    base: str | None = None
    firmware: Firmware | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFiles:
    """What an image has to boot from.

    Attributes:
        kernel: The kernel that boots fastest, and never hears of a screen or of UEFI.
        packed_kernel: The one that asks the firmware for them.
        initrd: The initial RAM disk.
        append: The kernel's command line.
        disk: A disk with the root file system, qcow2, which is only ever read; or None.
    """

    kernel: str
    packed_kernel: str
    initrd: str
    append: str
    disk: str | None = None


def choose_boot(
    node: NodePlan,
    files: ImageFiles,
    *,
    own: Callable[[str], str],
    firmware: FirmwareFiles | None = None,
) -> Boot:
    """Return what a node boots from, of what its image and the host have.

    Args:
        node: The node.
        files: Its image's.
        own: Returns the path of a file of the node's own, by its name.
        firmware: The build of UEFI firmware that it has, if that is its firmware.
    """
    disks = () if files.disk is None else (own(DISK),)
    kernel, append = files.kernel, files.append
    if node.display != "none" or firmware is not None:
        # Looking for a place by chance takes time, and in little memory it complains on the screen
        # that there is none.
        kernel, append = files.packed_kernel, f"{append} nokaslr"
    if node.display != "none":
        # The kernel prints on all consoles, and /dev/console is the last one.
        append = f"console=tty0 {append}"
    return Boot(
        kernel=kernel,
        initrd=files.initrd,
        append=append,
        disks=disks,
        base=files.disk,
        firmware=None if firmware is None else _firmware(firmware, own),
    )


def _firmware(files: FirmwareFiles, own: Callable[[str], str]) -> Firmware:
    return Firmware(code=files.code, template=files.template, store=own(VARIABLES))
