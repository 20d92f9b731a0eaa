"""Files of the host that nodes name."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from netlab.errors import InputError, MissingProgramError
from netlab.machine.hostfiles import find_emulators, find_files
from netlab.plan.model import CdromPlan, DiskFormat, DiskPlan, FirmwarePlan, NodePlan
from netlab.plan.parts import CloudInitPlan, DevicesPlan


def disk(file: Path | None, kind: DiskFormat = "qcow2", size: int | None = None) -> DiskPlan:
    return DiskPlan(
        source="file" if file else "empty",
        file=str(file) if file else None,
        format=kind if file else None,
        size=size,
        bus="virtio",
        serial=None,
        discard=True,
        read_only=False,
    )


def make_qcow2(path: Path, *options: str) -> Path:
    command = ["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path)]
    subprocess.run([*command, *(() if "-b" in options else ("2M",))], check=True)
    return path


def test_every_file_that_does_not_fit_is_named_at_once(
    make_node: Callable[..., NodePlan], tmp_path: Path
) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(bytes(2 << 20))
    plain = make_qcow2(tmp_path / "plain.qcow2")
    above = make_qcow2(tmp_path / "above.qcow2", "-b", str(plain), "-F", "qcow2")
    other = make_qcow2(tmp_path / "other.qcow2", "-o", f"data_file={tmp_path / 'data.raw'}")
    gone = FirmwarePlan(kind="uefi", code=None, vars=str(tmp_path / "gone.fd"))
    nodes = [
        make_node(name="a", disks=(disk(plain), disk(raw), disk(above), disk(other))),
        make_node(name="b", disks=(disk(raw, "raw", 1), disk(plain, "qcow2", 1)), firmware=gone),
        make_node(name="c", disks=(disk(tmp_path, "raw"), disk(None, size=1))),
    ]
    cdroms = (CdromPlan(file=str(raw), bus="sata"), CdromPlan(file=str(tmp_path), bus="scsi"))
    nodes.append(make_node(name="d", cdroms=cdroms))
    with pytest.raises(InputError) as caught:
        find_files(nodes)
    assert caught.value.message.replace(f"{tmp_path}/", "").splitlines() == [
        "a: disk.raw: this is not qcow2; is its format raw?",
        "a: above.qcow2: it stands on another file; `qemu-img convert -O qcow2` makes one of both",
        "a: other.qcow2: it stands on another file; `qemu-img convert -O qcow2` makes one of both",
        "b: disk.raw: it has 2097152 bytes, more than the 1 MiB that it is to grow to",
        "b: plain.qcow2: it has 2097152 bytes, more than the 1 MiB that it is to grow to",
        "b: gone.fd: there is no such firmware file",
        f"c: {tmp_path}: there is no such file to make a disk from",
        "d: disk.raw: this is no image of a CD-ROM: it has neither ISO 9660 nor UDF",
        f"d: {tmp_path}: there is no such image of a CD-ROM",
    ]
    assert find_files([make_node(disks=(disk(plain, size=2), disk(raw, "raw")))]) == {"r1": None}


def test_an_architecture_whose_qemu_is_missing_is_refused_with_the_package(
    make_node: Callable[..., NodePlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu = tmp_path / "qemu-system-x86_64"
    qemu.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    find_emulators([make_node()])
    for arch, package in (("aarch64", "qemu-system-arm"), ("riscv64", "qemu-system-misc")):
        with pytest.raises(MissingProgramError) as caught:
            find_emulators([make_node(), make_node(arch=arch, machine="virt")])
        assert package in str(caught.value.hint)


def test_a_program_that_a_node_needs_and_the_host_lacks_is_named_before_anything_starts(
    make_node: Callable[..., NodePlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgramError, match=r"swtpm is not installed .*swtpm\)"):
        find_files([make_node(devices=DevicesPlan(tpm=True))])
    with pytest.raises(MissingProgramError, match=r"mformat is not installed .*mtools\)"):
        find_files([make_node(cloud_init=CloudInitPlan(enabled=True))])
