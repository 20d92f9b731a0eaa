"""UEFI firmware: which build of it a node gets, and the variable store of each machine.

Facts: the file lists of Debian's package ovmf; OvmfPkg's *.fdf of EDK II, in which code and
variables together fill a flash of a power of two.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from netlab.errors import InputError, MachineError, MissingFeatureError
from netlab.machine.boot import Firmware, FirmwareFiles
from netlab.plan.model import FirmwarePlan

FOLDER = Path("/usr/share/OVMF")
"""Where Debian has its builds."""

CODE = "OVMF_CODE_4M.fd"
VARIABLES = "OVMF_VARS_4M.fd"
"""The build without Secure Boot whose flash has 4 MiB: what new machines on Proxmox have too."""

BUILDS = {540_672: CODE, 131_072: "OVMF_CODE.fd"}
"""Which of Debian's builds a variable store belongs to, by the store's bytes."""

SECURE_VARIABLES = "OVMF_VARS_4M.ms.fd"
"""A variable store with Microsoft's keys, by which Debian's first loader (shim) is signed."""

SECURE_BUILDS = {540_672: "OVMF_CODE_4M.secboot.fd", 131_072: "OVMF_CODE.secboot.fd"}
"""The same builds with Secure Boot, which keep the variables in system management mode."""


def find_firmware(wanted: FirmwarePlan, *, folder: Path = FOLDER) -> FirmwareFiles | None:
    """Return the firmware that is wanted; None for the BIOS that QEMU has.

    Args:
        wanted: Its paths are absolute, or relative to where we are.
        folder: Where the host has OVMF.

    Raises:
        InputError: A file is not there, or the two are not of one build.
        MissingFeatureError: OVMF is needed and not installed.
    """
    if wanted.kind == "bios":
        return None
    usual, builds = VARIABLES, BUILDS
    if wanted.secure_boot:
        usual, builds = SECURE_VARIABLES, SECURE_BUILDS
    template = Path(wanted.vars) if wanted.vars else _packaged(folder / usual)
    variables = _size(template)
    if wanted.code:
        code = Path(wanted.code)
    elif variables in builds:
        code = _packaged(folder / builds[variables])
    else:
        sizes = " or ".join(map(str, builds))
        raise InputError(
            f"{template}: {variables} bytes are no variable store of OVMF's, which has {sizes}"
        )
    whole = variables + _size(code)
    if whole & (whole - 1):
        raise InputError(
            f"{code} and {template} are not of one build: their {whole} bytes together are no"
            " power of two"
        )
    return FirmwareFiles(code=str(code.absolute()), template=str(template.absolute()))


@contextmanager
def open_store(firmware: Firmware) -> Generator[None]:
    """Give a machine a variable store of its own, a copy of the template, for the block's length.

    Raises:
        MachineError: There is such a store already, or the template cannot be read.
    """
    store = Path(firmware.store)
    try:
        content = Path(firmware.template).read_bytes()
        store.touch(mode=0o600, exist_ok=False)
    except OSError as error:
        raise MachineError(
            f"{error.filename}: no variable store can be made: {error.strerror}"
        ) from None
    try:
        store.write_bytes(content)
        yield
    finally:
        store.unlink(missing_ok=True)


def _packaged(path: Path) -> Path:
    if not path.is_file():
        raise MissingFeatureError(
            f"{path}: UEFI firmware is not installed",
            hint="apt-get install --no-install-recommends ovmf",
        )
    return path


def _size(path: Path) -> int:
    if not path.is_file():
        raise InputError(f"{path}: there is no such firmware file")
    return path.stat().st_size
