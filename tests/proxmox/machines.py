"""A restored backup as Proxmox would start it: its command line from its configuration."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import trio

from netlab.proxmox.configuration import NAME, Configuration, parse, parse_properties
from netlab.proxmox.export import EFI_SIZES
from netlab.vma import open_archive
from tests.image.guest import Guest, open_qemu

FIRMWARE = Path("/usr/share/OVMF")


def restore(archive: Path, folder: Path) -> Configuration:
    """Extract an archive as a restore does; return its configuration."""

    async def extract() -> bytes:
        async with open_archive(str(archive)) as opened:
            await opened.extract(folder)
            return opened.configs[NAME]

    return parse(trio.run(extract).decode())


def start(
    configuration: Configuration, folder: Path, *, bios: str, wires: Sequence[str]
) -> AbstractContextManager[Guest]:
    """Start the machine with SeaBIOS or OVMF, each card on a wire: a ``-netdev`` without its id.

    Source: PVE/QemuServer.pm, config_to_command.
    """
    memory, cores = configuration.get("memory"), configuration.get("cores")
    uuid = dict(parse_properties(configuration.get("smbios1") or ""))["uuid"]
    options = ["-machine", configuration.get("machine") or "pc"]
    options += ["-m", memory or "512", "-smp", cores or "1", "-smbios", f"type=1,uuid={uuid}"]
    options += ["-device", "virtio-scsi-pci,id=virtioscsi0", "-object"]
    options += ["rng-random,filename=/dev/urandom,id=rng0", "-device", "virtio-rng-pci,rng=rng0"]
    for drive in configuration.maps:
        path = folder / f"disk-{drive.device}.raw"
        name = drive.device
        bus = drive.drive.rstrip("0123456789")
        if bus == "efidisk":
            continue
        options += ["-drive", f"file={path},if=none,id={name},format=raw,snapshot=on"]
        device = "scsi-hd,bus=virtioscsi0.0" if bus == "scsi" else "virtio-blk-pci"
        options += ["-device", f"{device},drive={name},bootindex=100"]
    for entry, number in configuration.numbered("net"):
        mac = dict(parse_properties(entry.value))["virtio"]
        options += ["-netdev", f"{wires[number]},id=net{number}"]
        card = f"virtio-net-pci,mac={mac},netdev=net{number},addr={0x12 + number:#x}"
        options += ["-device", card]
    if bios == "ovmf":
        code = f"if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE}/OVMF_CODE_4M.fd"
        variables = take_variables(configuration, folder)
        options += ["-drive", code, "-drive", f"if=pflash,unit=1,format=raw,file={variables}"]
    return open_qemu(options)


def take_variables(configuration: Configuration, folder: Path) -> Path:
    """Return the variables of a machine: its own, or new ones where it has none.

    Source: print_ovmf_drive_commandlines in PVE/QemuServer/OVMF.pm, which reads as many bytes of
    efidisk0 as its type has.
    """
    variables = folder / "variables.fd"
    kept = [drive.device for drive in configuration.maps if drive.drive == "efidisk0"]
    if not kept:
        shutil.copy(FIRMWARE / "OVMF_VARS_4M.fd", variables)
        return variables
    assert "efitype=4m" in (configuration.get("efidisk0") or "")
    data = (folder / f"disk-{kept[0]}.raw").read_bytes()[: EFI_SIZES["4m"]]
    assert len(data) == (FIRMWARE / "OVMF_VARS_4M.fd").stat().st_size
    variables.write_bytes(data)
    return variables
