"""What a console tells of how far its guest came: lines as guests print them."""

from __future__ import annotations

import pytest

from netlab.machine.stages import Stage, find_stage


@pytest.mark.parametrize(
    ("output", "stage"),
    [
        ("", "firmware"),
        ('BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0)', "firmware"),
        ('BdsDxe: starting Boot0001 "UEFI Misc Device" from PciRoot(0x0)', "loader"),
        ('BdsDxe: starting Boot0001 "EFI Internal Shell" from Fv(7CB8BDC9)\nShell> ', "firmware"),
        ("Welcome to GRUB!\n\nerror: no such device: root.\ngrub rescue> ", "loader"),
        ("error: file `/kernel' not found.\nerror: you need to load the kernel first.", "loader"),
        ("EFI stub: UEFI Secure Boot is enabled.", "kernel"),
        ("[    0.000000] Linux version 6.1.0-56-cloud-amd64", "kernel"),
        ("[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs", "kernel"),
        ("[    1.2] Run /bin/sh as init process", "init"),
        ("[    1.2] Kernel panic - not syncing: Attempted to kill init! exitcode=0x0", "init"),
        ("netlab: init", "init"),
        ("Welcome to Debian GNU/Linux 12 (bookworm)!", "init"),
        ("[  OK  ] Reached target network.target - Network.", "init"),
        ("netlab: init\nmicro:~# ", "agent"),
        ("Debian GNU/Linux 12 debian ttyS0\n\ndebian login:", "agent"),
        ("root@debian:~# ", "agent"),
    ],
)
def test_the_stage_is_the_last_that_has_shown_itself(output: str, stage: Stage) -> None:
    assert find_stage(output.splitlines(), kernel=False) == stage


def test_a_guest_that_was_given_a_kernel_has_no_loader() -> None:
    assert find_stage([], kernel=True) == "kernel"
    assert find_stage(["BdsDxe: starting Boot0001"], kernel=True) == "kernel"
    assert find_stage(["netlab: init"], kernel=True) == "init"
