"""How far a guest came that does not get ready: told by what it printed, and by what it was given.

Facts: the messages of OVMF (MdeModulePkg's BdsDxe), of GRUB 2, of Linux (init/main.c,
drivers/firmware/efi/libstub) and of systemd. A firmware or a loader that prints nothing on the
serial console, as the BIOS that QEMU has, cannot be told from one that hangs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, get_args

Stage = Literal["firmware", "loader", "kernel", "init", "agent"]
"""What is at work, or was when it went wrong, in the order in which a guest boots."""

STAGES: tuple[Stage, ...] = get_args(Stage)

_SIGNS: dict[Stage, re.Pattern[str]] = {
    "loader": re.compile(
        # Its own shell is what the firmware starts when it finds nothing else.
        r"BdsDxe: starting (?!.*Internal Shell)|Welcome to GRUB|GNU GRUB|grub(?: rescue)?> |"
        r"^ *Booting `|error: .*(?:not found|no such|unknown filesystem)|^>>Start PXE|iPXE "
    ),
    "kernel": re.compile(
        r"^\[ *\d+\.\d+\] |^EFI stub: |Linux version |Decompressing Linux|^Kernel panic "
    ),
    "init": re.compile(
        r"netlab: init|Run \S+ as init process|systemd\[1\]|^\[ +OK +\]|^Welcome to (?!GRUB)|"
        r"Attempted to kill init"
    ),
    "agent": re.compile(r"login: *$|^\S*[#$] *$|[@:~]\S*[#$] *$|Startup finished in "),
}


def find_stage(lines: Iterable[str], *, kernel: bool) -> Stage:
    """Return the last stage that a guest is known to have come to.

    Args:
        lines: What it printed since it was started or reset, without escape sequences.
        kernel: Whether it was given a kernel, so that no loader is needed.
    """
    furthest = STAGES.index("kernel" if kernel else "firmware")
    for line in lines:
        for stage, sign in _SIGNS.items():
            place = STAGES.index(stage)
            if place > furthest and sign.search(line):
                furthest = place
    return STAGES[furthest]
