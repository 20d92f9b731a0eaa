"""A machine's disks and flashes, as QEMU's options.

Facts: qemu-system-x86_64(1), and ``-device NAME,help`` of each device. The controllers are the ones
that Proxmox gives a machine for the same words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from netlab.machine.boot import Boot, Disk, Firmware, Seed
from netlab.plan.model import Bus

SATA_SLOT = 0x05
SCSI_SLOT = 0x06
NVME_SLOT = 0x07
FIRST_DISK_SLOT = 0x08
"""PCI: virtio disks have slots of their own, those on nvme are functions of one slot, the others
hang on one controller each."""

SEED_TARGET = 64
"""On scsi: behind all disks, which keep their letters."""

Options = Iterator[tuple[str, str]]


def firmware_options(firmware: Firmware) -> Options:
    """Yield the flashes with a machine's firmware; the machine names them as its own."""
    yield (
        "-blockdev",
        "driver=raw,node-name=firmware0,read-only=on,file.driver=file,"
        f"file.filename={escape(firmware.code)}",
    )
    yield (
        "-blockdev",
        "driver=raw,node-name=firmware1,cache.no-flush=on,file.driver=file,"
        f"file.filename={escape(firmware.store)}",
    )
    if firmware.secure:
        yield "-global", "driver=cfi.pflash01,property=secure,value=on"


def disk_options(boot: Boot, pci: str) -> Options:
    """Yield a machine's disks and CD-ROMs with the controllers that they need.

    Args:
        boot: What it boots from.
        pci: QEMU's name of its PCI bus.
    """
    yield from _controllers(boot, pci)
    # A kernel that QEMU is given takes the first place itself, and so does a card with firmware.
    ordered = boot.kernel is None and not boot.network
    counts: Counter[Bus] = Counter()
    for index, disk in enumerate(boot.disks):
        yield "-blockdev", _node(index, disk)
        parts = [_device(index, disk.bus, counts[disk.bus], pci)]
        counts[disk.bus] += 1
        # A controller of NVM Express always has one.
        serial = disk.serial or (f"disk{index}" if disk.bus == "nvme" else None)
        if serial is not None:
            parts.append(f"serial={escape(serial)}")
        if ordered:
            parts.append(f"bootindex={index}")
        yield "-device", ",".join(parts)
    yield from _cdroms(boot, counts, ordered=ordered)
    if boot.seed is not None:
        yield from _seed(boot.seed)


def _controllers(boot: Boot, pci: str) -> Options:
    buses = {drive.bus for drive in (*boot.disks, *boot.cdroms)}
    if "sata" in buses:
        yield "-device", f"ahci,id=sata0,bus={pci},addr={SATA_SLOT:#x}"
    if "scsi" in buses or boot.seed is not None:
        yield (
            "-device",
            f"virtio-scsi-pci,id=scsi0,bus={pci},addr={SCSI_SLOT:#x},disable-legacy=on",
        )


def _cdroms(boot: Boot, counts: Counter[Bus], *, ordered: bool) -> Options:
    """Yield the CD-ROMs, behind the disks that are counted."""
    for index, cdrom in enumerate(boot.cdroms):
        yield "-blockdev", f"driver=raw,node-name=cdrom{index},read-only=on,{_file(cdrom.file)}"
        place = _place(cdrom.bus, counts[cdrom.bus])
        counts[cdrom.bus] += 1
        kind = "scsi-cd" if cdrom.bus == "scsi" else "ide-cd"
        order = f",bootindex={len(boot.disks) + index}" if ordered else ""
        yield "-device", f"{kind},id=cd{index},drive=cdrom{index},{place}{order}"


def _seed(seed: Seed) -> Options:
    # On virtio it would have a letter among the guest's disks; every cloud image has this driver.
    yield "-blockdev", f"driver=raw,node-name=seed0,read-only=on,{_file(seed.path)}"
    yield "-device", f"scsi-hd,id=seed,drive=seed0,{_place('scsi', SEED_TARGET)}"


def _file(path: str) -> str:
    return f"file.driver=file,file.filename={escape(path)}"


def _node(index: int, disk: Disk) -> str:
    discard = "unmap" if disk.discard else "ignore"
    kept = disk.layer is not None and disk.layer.serial is not None
    return (
        f"driver={disk.format},node-name=disk{index},"
        + ("read-only=on," if disk.read_only else "")
        + f"discard={discard},"
        # What another disk keeps lives as long as the lab: a host that crashes takes both.
        + ("" if kept else "cache.no-flush=on,")
        + f"file.driver=file,file.discard={discard},file.filename={escape(disk.file)}"
    )


def _device(index: int, bus: Bus, nth: int, pci: str) -> str:
    name = f"id=blk{index},drive=disk{index}"
    if bus == "scsi":
        return f"scsi-hd,{name},{_place(bus, nth)}"
    if bus == "sata":
        return f"ide-hd,{name},{_place(bus, nth)}"
    if bus == "nvme":
        multifunction = "" if nth else ",multifunction=on"
        return f"nvme,{name},bus={pci},addr={NVME_SLOT:#x}.{nth}{multifunction}"
    return f"virtio-blk-pci,{name},bus={pci},addr={FIRST_DISK_SLOT + nth:#x},disable-legacy=on"


def _place(bus: Bus, nth: int) -> str:
    """Return where a drive is on the controller of its bus."""
    return f"bus=scsi0.0,channel=0,scsi-id={nth},lun=0" if bus == "scsi" else f"bus=sata0.{nth}"


def escape(value: str) -> str:
    """Double the commas, which QEMU's option parser takes for separators otherwise."""
    return value.replace(",", ",,")
