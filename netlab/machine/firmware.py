"""UEFI firmware: which build of it a node gets, and the variable store of each machine.

Facts: OvmfPkg's *.fdf of EDK II, in which code and variables together fill a flash of a power of
two; so do those of ArmVirtPkg.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from netlab.errors import InputError, MachineError, MissingFeatureError
from netlab.machine.boot import Firmware, FirmwareFiles
from netlab.plan.architectures import OVMF, SECURE_OVMF, Uefi
from netlab.plan.model import FirmwarePlan

FOLDER, VARIABLES, BUILDS = Path(OVMF.folder), OVMF.variables, OVMF.builds
"""Those of x86_64."""


def find_firmware(
    wanted: FirmwarePlan, *, uefi: Uefi | None = OVMF, folder: Path | None = None
) -> FirmwareFiles | None:
    """Return the firmware that is wanted; None for the BIOS that QEMU has.

    Args:
        wanted: Its paths are absolute, or relative to where we are.
        uefi: Its architecture's firmware as Debian has it.
        folder: Where that is on this host; where Debian has it when None.

    Raises:
        InputError: A file is not there, or the two are not of one build.
        MissingFeatureError: It is needed and not installed.
    """
    if wanted.kind == "bios" or uefi is None:
        return None
    if wanted.secure_boot:
        uefi = SECURE_OVMF
    folder = folder or Path(uefi.folder)
    template = Path(wanted.vars) if wanted.vars else _packaged(folder / uefi.variables, uefi)
    variables = _size(template)
    if wanted.code:
        code = Path(wanted.code)
    elif variables in uefi.builds:
        code = _packaged(folder / uefi.builds[variables], uefi)
    else:
        sizes = " or ".join(map(str, uefi.builds))
        raise InputError(
            f"{template}: {variables} bytes are no variable store of {uefi.package}'s, which has"
            f" {sizes}"
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


def _packaged(path: Path, uefi: Uefi) -> Path:
    if not path.is_file():
        raise MissingFeatureError(
            f"{path}: UEFI firmware is not installed",
            hint=f"apt-get install --no-install-recommends {uefi.package}",
        )
    return path


def _size(path: Path) -> int:
    if not path.is_file():
        raise InputError(f"{path}: there is no such firmware file")
    return path.stat().st_size
