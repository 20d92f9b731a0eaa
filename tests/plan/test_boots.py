"""Firmware, boot, disk, loader and architecture: accepted, or refused with the reason."""

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
    "disk of its own": "image: none, disk: {file: a.raw, format: raw}",
    "nothing": "image: none",
    "nothing by word": "image: none, disk: none",
    "disk left out": "image: debian, disk: ",
}
# Machine types, with the architecture that each is for.
MACHINES = {"q35": "x86_64", "pc": "x86_64", "virt": "aarch64", "virt riscv64": "riscv64"}
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
    ("network", "no disk by word"): "nodes.a.disk: what comes over the network has its own root",
    ("kernel", "nothing by word"): NO_KERNEL,
    ("disk", "nothing by word"): NO_DISK,
    ("kernel", "disk left out"): ON_DISK,
    ("disk", "disk left out"): ON_DISK,
    ("network", "disk left out"): ON_DISK,
    ("network", "disk with loader"): (
        'nodes.a.boot: the image "debian" does not boot from the network'
    ),
}
FIRMWARES = {"bios": "bios", "uefi": "uefi", "secure": "{secure_boot: true}"}
ROWS = list(itertools.product(FIRMWARES, ("kernel", "disk", "network"), MACHINES, SYSTEMS))
SECURE = "nodes.a.firmware.secure_boot: "
SECURE_KERNEL = f"{SECURE}the firmware checks no kernel that netlab hands to it"

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
    ("uefi", "no disk"): ["{micro:packed_kernel}", "{micro:initrd}", "{micro:append} nokaslr"],
    ("bios", "disk with loader"): ["{debian:kernel}", "{debian:initrd}", "{debian:append}"],
    ("uefi", "disk with loader"): [
        "{debian:packed_kernel}",
        "{debian:initrd}",
        "{debian:append} nokaslr",
    ],
}


def write(firmware: str, boot: str, machine: str, system: str) -> str:
    kind, arch = machine.split()[0], MACHINES[machine]
    own = f"firmware: {FIRMWARES[firmware]}, boot: {boot}, machine: {kind}, arch: {arch}"
    own += f", {SYSTEMS[system]}"
    own += ", interfaces: {one: {vlan: 7}, other: {vlan: 7}}"
    return f"name: a\nnodes: {{a: {{id: 1, {own}}}}}\n"


def reason(firmware: str, boot: str, machine: str, system: str) -> str:
    """Return why a combination is refused, or nothing."""
    arch = MACHINES[machine]
    built = {
        "no disk": ("micro", ("x86_64", "aarch64")),
        "no disk by word": ("micro", ("x86_64", "aarch64")),
        "disk with loader": ("debian", ("x86_64",)),
        "disk left out": ("debian", ("x86_64",)),
    }
    image, architectures = built.get(system, ("", (arch,)))
    if arch not in architectures:
        known = " and ".join(architectures)
        return f'nodes.a.arch: the image "{image}" is for {known}, not "{arch}"'
    if boot == "network" and arch != "x86_64":
        return f"nodes.a.boot: a machine for {arch} does not boot from the network"
    if firmware == "bios" and arch != "x86_64":
        return f"nodes.a.firmware: there is no BIOS for {arch}"
    if firmware != "bios" and arch == "riscv64":
        return "nodes.a.firmware: there is no UEFI firmware for riscv64"
    if firmware == "secure" and boot == "kernel":
        return SECURE_KERNEL
    if firmware == "secure" and machine != "q35":
        return f"{SECURE}{machine} has no memory that only firmware can write to"
    return REFUSED.get((boot, system), "")


def values(words: tuple[str, ...], option: str) -> list[str]:
    """Return what is given for an option, in order."""
    return [value for word, value in itertools.pairwise(words) if word == option]


@pytest.mark.parametrize("row", [row for row in ROWS if reason(*row)], ids=" ".join)
def test_what_cannot_boot_is_refused_with_the_reason(row: tuple[str, str, str, str]) -> None:
    with pytest.raises(TopologyError) as caught:
        resolve(loads(write(*row)))
    reasons = [f"{one.path}: {one.message}" for one in caught.value.mistakes]
    assert reason(*row) in reasons
    assert all(one.line == 2 and one.hint for one in caught.value.mistakes)


@pytest.mark.parametrize("row", [row for row in ROWS if not reason(*row)], ids=" ".join)
def test_what_can_boot_does_so_by_these_very_options(row: tuple[str, str, str, str]) -> None:
    firmware, boot, machine, system = row
    words = command_line(resolve(loads(write(*row))).node("a"))
    uefi, secure = firmware != "bios", firmware == "secure"
    arm, network = machine == "virt", boot == "network"
    assert words[0] == f"qemu-system-{MACHINES[machine]}"
    options = ",graphics=off" * (network and not uefi)
    options += ",gic-version=max" * arm + ",smm=on" * secure
    options += ",pflash0=firmware0,pflash1=firmware1" * uefi
    assert values(words, "-machine") == [machine + options]
    assert values(words, "-global") == ["driver=cfi.pflash01,property=secure,value=on"] * secure
    disks = [DISK] * (system in {"disk with loader", "disk of its own"})
    assert values(words, "-blockdev") == FLASHES * uefi + disks
    kernel = [value for each in ("-kernel", "-initrd", "-append") for value in values(words, each)]
    expected = KERNELS[firmware, system] if boot == "kernel" else []
    assert kernel == [
        word.replace("micro", "micro-aarch64" if arm else "micro") for word in expected
    ]
    pci = "pci.0" if machine == "pc" else "pcie.0"
    cards = [value for value in values(words, "-device") if "id=nic" in value]
    assert ["bootindex=0" in card for card in cards] == [network, False]
    assert ["romfile=" in card.split(",") for card in cards] == [not network, True]
    first = ",bootindex=0" if boot == "disk" else ""
    device = f"virtio-blk-pci,id=blk0,drive=disk0,bus={pci},addr=0x8,disable-legacy=on{first}"
    devices = [value for value in values(words, "-device") if "blk0" in value]
    assert devices == [device] * bool(disks)


@pytest.mark.parametrize(
    ("where", "arch"),
    [
        ("nodes: {a: {}}", "x86_64"),
        ("nodes: {a: {arch: aarch64}}", "aarch64"),
        ("defaults: {arch: aarch64}\nnodes: {a: {}}", "aarch64"),
        ("groups: {arm: {arch: aarch64}}\nnodes: {a: {groups: arm}}", "aarch64"),
        ("defaults: {arch: aarch64}\nnodes: {a: {arch: x86_64}}", "x86_64"),
        ("defaults: {arch: aarch64}\nnodes: {a: {arch: null}}", "x86_64"),
        ("defaults: {arch: aarch64}\nnodes: {a: {arch: }}", "x86_64"),
        ("defaults: {arch: null}\nnodes: {a: {arch: aarch64}}", "aarch64"),
    ],
)
def test_the_architecture_is_the_nearest_that_is_said_or_the_images(where: str, arch: str) -> None:
    assert resolve(loads(f"name: a\n{where}\n")).node("a").arch == arch


def test_an_architecture_that_nobody_says_is_asked_for_with_the_places_to_say_it() -> None:
    with pytest.raises(TopologyError) as caught:
        resolve(loads("name: a\nnodes: {a: {image: none, disk: {file: a.raw, format: raw}}}\n"))
    (mistake,) = caught.value.mistakes
    assert mistake.message == "there is no image that says the architecture"
    assert mistake.hint == "write arch: x86_64 here, in a group or in defaults"


def test_where_qemu_has_no_firmware_a_kernel_needs_none_and_a_disk_gets_uefi() -> None:
    text = """\
name: a
defaults: {arch: aarch64}
nodes: {kernel: {id: 1}, disk: {id: 2, image: none, disk: {file: a.raw, format: raw}}}
"""
    plan = resolve(loads(text))
    assert [(node.boot, node.firmware.kind) for node in plan.nodes] == [
        ("kernel", "bios"),
        ("disk", "uefi"),
    ]
