"""Firmware, boot, disk and loader: each combination is accepted, or refused with the reason."""

from __future__ import annotations

import itertools

import pytest

from netlab.cli.plan import command_line
from netlab.errors import TopologyError
from netlab.plan.resolve import resolve
from netlab.topology.load import loads

# What a node is, by whether there is a disk and whether that has a loader.
SYSTEMS = {
    "no disk": "image: micro",
    "no disk by word": "image: micro, disk: none",
    "disk with loader": "image: debian",
    "disk of its own": "image: none, arch: x86_64, disk: {file: a.raw, format: raw}",
    "nothing": "image: none, arch: x86_64",
    "nothing by word": "image: none, arch: x86_64, disk: none",
    "disk left out": "image: debian, disk: ",
}
NO_KERNEL = "nodes.a.boot: there is no image to take a kernel from"
NO_ROOT = "nodes.a.image: without an image a node boots from its disk's file"
NO_DISK = "nodes.a.disk: without an image a node boots from its disk's file"
ON_DISK = "nodes.a.disk: the image has its root file system on its disk, and not in memory"
REFUSED = {
    ("disk", "no disk"): 'nodes.a.boot: the image "micro" has no disk to boot from',
    ("kernel", "disk of its own"): NO_KERNEL,
    ("kernel", "nothing"): NO_KERNEL,
    ("disk", "nothing"): NO_ROOT,
    ("disk", "no disk by word"): 'nodes.a.boot: the image "micro" has no disk to boot from',
    ("kernel", "nothing by word"): NO_KERNEL,
    ("disk", "nothing by word"): NO_DISK,
    ("kernel", "disk left out"): ON_DISK,
    ("disk", "disk left out"): ON_DISK,
}
FIRMWARES = {"bios": "bios", "uefi": "uefi", "secure": "{secure_boot: true}"}
ROWS = list(itertools.product(FIRMWARES, ("kernel", "disk"), ("q35", "pc"), SYSTEMS))
SECURE_KERNEL = (
    "nodes.a.firmware.secure_boot: the firmware checks no kernel that netlab hands to it"
)
SECURE_PC = "nodes.a.firmware.secure_boot: pc has no memory that only firmware can write to"

FLASHES = [
    "driver=raw,node-name=firmware0,read-only=on,file.driver=file,file.filename={uefi:code}",
    "driver=raw,node-name=firmware1,cache.no-flush=on,file.driver=file,file.filename={a:vars.fd}",
]
DISK = (
    "driver=qcow2,node-name=disk0,discard=unmap,cache.no-flush=on,file.driver=file,"
    "file.discard=unmap,file.filename={a:disk0.qcow2}"
)
KERNELS = {
    ("bios", "no disk"): ["{micro:kernel}", "{micro:initrd}", "{micro:append}"],
    ("uefi", "no disk"): ["{micro:packed_kernel}", "{micro:initrd}", "{micro:append} nokaslr"],
    ("bios", "no disk by word"): [
        "{micro:kernel}",
        "{micro:initrd}",
        "{micro:append} netlab_root=tmpfs",
    ],
    ("uefi", "no disk by word"): [
        "{micro:packed_kernel}",
        "{micro:initrd}",
        "{micro:append} netlab_root=tmpfs nokaslr",
    ],
    ("bios", "disk with loader"): ["{debian:kernel}", "{debian:initrd}", "{debian:append}"],
    ("uefi", "disk with loader"): [
        "{debian:packed_kernel}",
        "{debian:initrd}",
        "{debian:append} nokaslr",
    ],
}


def write(firmware: str, boot: str, machine: str, system: str) -> str:
    own = f"firmware: {FIRMWARES[firmware]}, boot: {boot}, machine: {machine}, {SYSTEMS[system]}"
    return f"name: a\nnodes: {{a: {{id: 1, {own}}}}}\n"


def reasons(row: tuple[str, str, str, str]) -> list[str]:
    """Return why a row is refused; empty when it is not."""
    firmware, boot, machine, system = row
    found = [REFUSED[boot, system]] if (boot, system) in REFUSED else []
    if firmware == "secure":
        found += [SECURE_KERNEL] * (boot == "kernel") + [SECURE_PC] * (machine == "pc")
    return found


def values(words: tuple[str, ...], option: str) -> list[str]:
    """Return what is given for an option, in order."""
    return [value for word, value in itertools.pairwise(words) if word == option]


@pytest.mark.parametrize("row", [row for row in ROWS if reasons(row)], ids=" ".join)
def test_what_cannot_boot_is_refused_with_the_reason(row: tuple[str, str, str, str]) -> None:
    with pytest.raises(TopologyError) as caught:
        resolve(loads(write(*row)))
    told = [f"{one.path}: {one.message}" for one in caught.value.mistakes]
    assert set(reasons(row)) <= set(told)
    assert all(one.line == 2 and one.hint for one in caught.value.mistakes)


@pytest.mark.parametrize("row", [row for row in ROWS if not reasons(row)], ids=" ".join)
def test_what_can_boot_does_so_by_these_very_options(row: tuple[str, str, str, str]) -> None:
    firmware, boot, machine, system = row
    words = command_line(resolve(loads(write(*row))).node("a"))
    uefi = firmware != "bios"
    secure = firmware == "secure"
    flashes = ",pflash0=firmware0,pflash1=firmware1" if uefi else ""
    assert values(words, "-machine") == [machine + ",smm=on" * secure + flashes]
    assert values(words, "-global") == ["driver=cfi.pflash01,property=secure,value=on"] * secure
    disks = [] if system.startswith("no disk") else [DISK]
    assert values(words, "-blockdev") == FLASHES * uefi + disks
    kernel = [value for each in ("-kernel", "-initrd", "-append") for value in values(words, each)]
    assert kernel == (KERNELS[firmware, system] if boot == "kernel" else [])
    pci = {"q35": "pcie.0", "pc": "pci.0"}[machine]
    first = ",bootindex=0" if boot == "disk" else ""
    device = f"virtio-blk-pci,id=blk0,drive=disk0,bus={pci},addr=0x8,disable-legacy=on{first}"
    devices = [value for value in values(words, "-device") if "blk0" in value]
    assert devices == [device] * bool(disks)
