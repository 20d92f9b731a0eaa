"""Which build of UEFI firmware a node gets, and its variable store."""

from dataclasses import replace
from pathlib import Path

import pytest

from netlab.errors import InputError, MachineError, MissingFeatureError
from netlab.machine.boot import Firmware, FirmwareFiles
from netlab.machine.firmware import BUILDS, find_firmware, open_store
from netlab.plan.architectures import AAVMF
from netlab.plan.model import BIOS, FirmwarePlan


def make_file(path: Path, size: int) -> str:
    with path.open("wb") as file:
        file.truncate(size)
    return str(path)


@pytest.fixture
def ovmf(tmp_path: Path) -> Path:
    """A folder like the one of Debian's package."""
    folder = tmp_path / "OVMF"
    folder.mkdir()
    for stem, code, variables in (("", 1_966_080, 131_072), ("_4M", 3_653_632, 540_672)):
        make_file(folder / f"OVMF_CODE{stem}.fd", code)
        make_file(folder / f"OVMF_VARS{stem}.fd", variables)
    return folder


def uefi(code: str | None = None, variables: str | None = None) -> FirmwarePlan:
    return FirmwarePlan(kind="uefi", code=code, vars=variables)


def test_uefi_is_the_build_of_four_mebibytes_and_bios_is_none(ovmf: Path) -> None:
    assert find_firmware(BIOS, folder=ovmf) is None
    assert find_firmware(uefi(), folder=ovmf) == FirmwareFiles(
        code=str(ovmf / "OVMF_CODE_4M.fd"), template=str(ovmf / "OVMF_VARS_4M.fd")
    )


@pytest.mark.parametrize("size", BUILDS)
def test_variables_of_a_machine_from_elsewhere_get_the_build_of_their_size(
    ovmf: Path, tmp_path: Path, size: int
) -> None:
    variables = make_file(tmp_path / "efidisk.raw", size)
    found = find_firmware(uefi(None, variables), folder=ovmf)
    assert found == FirmwareFiles(code=str(ovmf / BUILDS[size]), template=variables)


def test_secure_boot_has_the_builds_that_know_it_and_keys(ovmf: Path, tmp_path: Path) -> None:
    code = make_file(ovmf / "OVMF_CODE_4M.secboot.fd", 3_653_632)
    keys = make_file(ovmf / "OVMF_VARS_4M.ms.fd", 540_672)
    wanted = replace(uefi(), secure_boot=True)
    assert find_firmware(wanted, folder=ovmf) == FirmwareFiles(code=code, template=keys)
    own = make_file(tmp_path / "own.fd", 540_672)
    found = find_firmware(replace(wanted, vars=own), folder=ovmf)
    assert found == FirmwareFiles(code=code, template=own)


def test_without_the_package_uefi_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(MissingFeatureError, match=r"apt-get install .* ovmf"):
        find_firmware(uefi(), folder=tmp_path)
    assert find_firmware(BIOS, folder=tmp_path) is None


def test_each_architecture_has_firmware_of_its_own_and_a_package_that_is_named(
    tmp_path: Path,
) -> None:
    with pytest.raises(MissingFeatureError, match=r"apt-get install .* qemu-efi-aarch64"):
        find_firmware(uefi(), uefi=AAVMF, folder=tmp_path)
    for name in ("AAVMF_CODE.fd", "AAVMF_VARS.fd"):
        make_file(tmp_path / name, 67_108_864)
    assert find_firmware(uefi(), uefi=AAVMF, folder=tmp_path) == FirmwareFiles(
        code=str(tmp_path / "AAVMF_CODE.fd"), template=str(tmp_path / "AAVMF_VARS.fd")
    )


def test_files_that_do_not_fit_are_refused(ovmf: Path, tmp_path: Path) -> None:
    small = make_file(tmp_path / "small.fd", 131_072)
    odd = make_file(tmp_path / "odd.fd", 100_000)
    for code, variables, wrong in (
        (str(ovmf / "OVMF_CODE_4M.fd"), small, "are not of one build"),
        (None, odd, "100000 bytes are no variable store"),
        (None, str(tmp_path / "gone.fd"), "gone.fd: there is no such firmware file"),
        (str(tmp_path / "gone.fd"), small, "gone.fd: there is no such firmware file"),
    ):
        with pytest.raises(InputError, match=wrong):
            find_firmware(uefi(code, variables), folder=ovmf)
    assert find_firmware(uefi(str(ovmf / "OVMF_CODE.fd"), small), folder=ovmf)


def test_a_variable_store_is_a_copy_that_goes_in_the_end(tmp_path: Path) -> None:
    template, store = tmp_path / "template.fd", tmp_path / "vars.fd"
    template.write_bytes(b"template")
    template.chmod(0o444)
    with open_store(Firmware(code="", template=str(template), store=str(store))):
        assert store.read_bytes() == b"template"
        store.write_bytes(b"written")
        with (
            pytest.raises(MachineError, match=r"vars\.fd: no variable store .*exists"),
            open_store(Firmware(code="", template=str(template), store=str(store))),
        ):
            pass
        assert store.read_bytes() == b"written"
    assert not store.exists()
    assert template.read_bytes() == b"template"


def test_a_template_that_is_gone_is_named(tmp_path: Path) -> None:
    gone = Firmware(code="", template=str(tmp_path / "gone.fd"), store=str(tmp_path / "vars.fd"))
    with pytest.raises(MachineError, match=r"gone\.fd: no variable store"), open_store(gone):
        pass
    assert list(tmp_path.iterdir()) == []
