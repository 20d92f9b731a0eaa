"""What else a machine has, as QEMU's options.

Facts: qemu-system-x86_64(1); QEMU's hw/smbios/smbios.c, in which the options of table 11 add up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from netlab.machine.boot import Boot, Share
from netlab.machine.drives import escape
from netlab.plan.parts import DevicesPlan, SmbiosPlan

RNG_SLOT = 0x02


def device_options(devices: DevicesPlan, boot: Boot, pci: str) -> Iterator[tuple[str, str]]:
    """Yield what a machine's devices are to QEMU.

    Args:
        devices: What it has.
        boot: What it boots from: credentials are in files, as everybody sees a command line.
        pci: QEMU's name of its PCI bus.
    """
    if devices.rng:
        yield "-object", "rng-random,id=random0,filename=/dev/urandom"
        yield (
            "-device",
            f"virtio-rng-pci,id=rng0,rng=random0,bus={pci},addr={RNG_SLOT:#x},disable-legacy=on",
        )
    if devices.vmgenid is not None:
        yield "-device", f"vmgenid,id=vmgenid0,guid={devices.vmgenid}"
    yield from _smbios(devices.smbios)
    for credential in boot.credentials:
        yield "-smbios", f"type=11,path={escape(credential.path)}"


def tpm_options(descriptor: int | None) -> Iterator[tuple[str, str]]:
    """Yield a TPM behind a socket, in the form that every system and firmware has a driver for."""
    if descriptor is not None:
        yield "-chardev", f"socket,id=tpm,fd={descriptor}"
        yield "-tpmdev", "emulator,id=tpm0,chardev=tpm"
        yield "-device", "tpm-tis,tpmdev=tpm0"


def share_options(
    shares: Sequence[Share], descriptors: Sequence[int], pci: str, slot: int
) -> Iterator[tuple[str, str]]:
    """Yield a device for each share: functions of a slot, behind the first.

    Args:
        shares: The machine's.
        descriptors: A stream socket for each, which only virtiofs has a use for.
        pci: QEMU's name of its PCI bus.
        slot: A slot whose first function is another device's.
    """
    for index, share in enumerate(shares):
        place = f"bus={pci},addr={slot:#x}.{index + 1}"
        if share.driver == "virtiofs":
            yield "-chardev", f"socket,id=share{index},fd={descriptors[index]}"
            yield (
                "-device",
                f"vhost-user-fs-pci,id=fs{index},chardev=share{index},tag={share.tag},{place}",
            )
            continue
        # With none, what the guest makes is its user's who runs QEMU, and looks like it.
        access = "off" if share.writable else "on"
        yield (
            "-fsdev",
            f"local,id=share{index},path={escape(share.source)},security_model=none,"
            f"readonly={access},multidevs=remap",
        )
        yield (
            "-device",
            f"virtio-9p-pci,id=fs{index},fsdev=share{index},mount_tag={share.tag},{place},"
            "disable-legacy=on",
        )


def _smbios(smbios: SmbiosPlan) -> Iterator[tuple[str, str]]:
    said = {key: value for key, value in asdict(smbios).items() if isinstance(value, str)}
    if said:
        fields = ",".join(f"{key}={escape(value)}" for key, value in said.items())
        yield "-smbios", f"type=1,{fields}"
    for text in smbios.oem_strings:
        yield "-smbios", f"type=11,value={escape(text)}"
