"""What the NixOS driver has and netlab has not, with what to do in its place.

One table: the errors, the documentation and the tests are made of it.
"""

from __future__ import annotations

_GRAPHICS = "look at the screen with screenshot() and wait_for_text(), or ask the guest's programs"
_EFI = "the firmware's variables are a matter of the topology, not of a running machine"
_INTERACTIVE = "a script runs unattended; `netlab console` and `netlab exec` are for people"
_INTERNAL = "the lab owns its machines and clears them away"
_FOLDERS = (
    "copy_from_host() and copy_from_machine() bring files in and out; out_dir is the script's"
)

MACHINE = {
    "wait_for_x": _GRAPHICS,
    "wait_for_window": _GRAPHICS,
    "get_window_names": _GRAPHICS,
    "switch_root": "the agent begins in the final root; wait_for_console_text() sees the initrd",
    "shell_interact": _INTERACTIVE,
    "console_interact": _INTERACTIVE,
    "ssh_backdoor_command": _INTERACTIVE,
    "read_efi_vars": _EFI,
    "write_efi_vars": _EFI,
    "create_efi_vars": _EFI,
    "dump_efi_vars": _EFI,
    "release": _INTERNAL,
    "cleanup_statedir": _INTERNAL,
    "run_callbacks": "conditions are looked at while a verb runs, by themselves",
    "shared_dir": _FOLDERS,
    "state_dir": _FOLDERS,
    "tmp_dir": _FOLDERS,
    "booted": "is_up() says whether it is ready, pid whether QEMU runs",
    "connected": "is_up() says whether it is ready",
    "process": "pid is QEMU's process",
    "log_serial": "log() tells something; serial_stdout_on() shows the console",
}
"""Verbs and attributes of a machine."""

SYMBOLS = {
    "create_machine": "declare the node in the topology; start() boots it when the script wants it",
    "run_tests": "the script is running already",
    "test_script": "the script is running already",
    "debug": "log what is of interest; a script runs without a terminal",
}
"""Names that a script finds."""
