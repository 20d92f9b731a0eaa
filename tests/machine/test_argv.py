"""QEMU's command line."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from netlab.errors import InputError
from netlab.machine.argv import (
    DISPLAYS,
    MAXIMUM_INTERFACES,
    argv,
    channels,
)
from netlab.machine.boot import (
    Boot,
    Disk,
    Firmware,
    FirmwareFiles,
    ImageFiles,
    OwnFile,
    Seed,
    choose_boot,
)
from netlab.machine.shares import choose_shares
from netlab.plan.catalogue import MAXIMUM_DISKS
from netlab.plan.model import CdromPlan, DiskPlan, InterfacePlan, NodePlan
from netlab.plan.parts import (
    CloudInitPlan,
    CredentialPlan,
    DevicesPlan,
    SharePlan,
    SmbiosPlan,
)
from netlab.process import run

BOOT = Boot(kernel="/images/kernel", initrd="/images/initrd", append="console=ttyS0 quiet")
MakeNode = Callable[..., NodePlan]
MakeInterface = Callable[..., InterfacePlan]


IMAGE = ImageFiles(
    kernel="/images/kernel",
    packed_kernel="/images/packed",
    initrd="/images/i",
    append="console=ttyS0 quiet",
)


ROOT = DiskPlan(
    source="image",
    file=None,
    format=None,
    size=None,
    bus="virtio",
    serial=None,
    discard=True,
    read_only=False,
)
DISK = Disk(file="/d", format="qcow2", layer=None)


def own(name: str) -> str:
    """Return where a file of the node's own is."""
    return f"/labs/r1/{name}"


def lines(words: tuple[str, ...]) -> str:
    """One option a line."""
    return "".join(f"\n{word}" if word.startswith("-") else f" {word}" for word in words) + "\n"


def test_a_router_with_two_links(
    make_node: MakeNode,
    make_interface: MakeInterface,
    check_golden: Callable[[str, str], None],
) -> None:
    node = make_node(
        cpus=2, interfaces=(make_interface(0, "eth1"), make_interface(1, "uplink", mtu=9000))
    )
    check_golden("router.argv", lines(argv(node, BOOT, accel="tcg", channels=channels(node))))


@pytest.mark.parametrize("arch", ["aarch64", "riscv64"])
def test_another_architecture_is_another_row_of_the_table(
    arch: str,
    make_node: MakeNode,
    make_interface: MakeInterface,
    check_golden: Callable[[str, str], None],
) -> None:
    node = make_node(arch=arch, machine="virt", interfaces=(make_interface(0, "eth1"),))
    firmware = Firmware(code="/code.fd", template="/vars.fd", store="/labs/r1/vars.fd")
    boot = replace(BOOT, firmware=firmware if arch == "aarch64" else None)
    words = argv(node, boot, accel="tcg", channels=channels(node))
    check_golden(f"{arch}.argv", lines(words))


def test_a_fast_node_under_kvm_with_disks(
    make_node: MakeNode,
    make_interface: MakeInterface,
    check_golden: Callable[[str, str], None],
) -> None:
    node = make_node(wire="fast", memory=1024, interfaces=(make_interface(0, "eth1"),))
    boot = Boot(
        kernel=None,
        disks=(replace(DISK, file="/labs/a,b.qcow2"), replace(DISK, file="/labs/data.qcow2")),
    )
    check_golden("disks.argv", lines(argv(node, boot, accel="kvm", channels=channels(node))))


def test_a_node_with_a_display_boots_the_kernel_that_finds_it(
    make_node: MakeNode, check_golden: Callable[[str, str], None]
) -> None:
    for display in ("std", "virtio"):
        node = make_node(display=display)
        boot = choose_boot(node, IMAGE, own=own)
        words = argv(node, boot, accel="tcg", channels=channels(node))
        check_golden(f"{display}.argv", lines(words))
    assert choose_boot(make_node(), IMAGE, own=own) == Boot(
        kernel="/images/kernel", initrd="/images/i", append="console=ttyS0 quiet"
    )


def test_a_node_whose_image_has_a_disk_boots_the_kernel_over_a_layer_of_its_own(
    make_node: MakeNode, check_golden: Callable[[str, str], None]
) -> None:
    files = replace(IMAGE, append="root=UUID=1 ro", disk="/images/disk.qcow2")
    node = make_node(memory=512, disks=(ROOT,))
    boot = choose_boot(node, files, own=own)
    assert [disk.layer and disk.layer.base for disk in boot.disks] == ["/images/disk.qcow2"]
    check_golden("layer.argv", lines(argv(node, boot, accel="tcg", channels=channels(node))))


def test_a_node_with_uefi_boots_the_kernel_that_asks_it_and_has_variables_of_its_own(
    make_node: MakeNode, check_golden: Callable[[str, str], None]
) -> None:
    node = make_node(memory=200)
    firmware = FirmwareFiles(code="/ovmf/code,4M.fd", template="/ovmf/vars.fd")
    boot = choose_boot(node, IMAGE, own=own, firmware=firmware)
    words = argv(node, boot, accel="tcg", channels=channels(node))
    check_golden("uefi.argv", lines(words))
    assert "/ovmf/vars.fd" not in " ".join(words)


def test_a_node_that_boots_from_its_disk_is_given_no_kernel(
    make_node: MakeNode, check_golden: Callable[[str, str], None]
) -> None:
    node = make_node(memory=512, boot="disk", disks=(ROOT,))
    boot = choose_boot(node, replace(IMAGE, disk="/images/disk.qcow2"), own=own)
    check_golden("loader.argv", lines(argv(node, boot, accel="tcg", channels=channels(node))))


def test_a_cdrom_is_looked_at_behind_the_disks(make_node: MakeNode) -> None:
    node = make_node(
        image=None,
        boot="disk",
        disks=(replace(ROOT, source="empty", size=10),),
        cdroms=(CdromPlan(file="/a.iso", bus="sata"), CdromPlan(file="/b.iso", bus="sata")),
    )
    words = argv(node, choose_boot(node, None, own=own), accel="tcg", channels=channels(node))
    drives = [word for word in words if "bootindex=" in word]
    assert [word.partition(",")[0] for word in drives] == ["virtio-blk-pci", "ide-cd", "ide-cd"]
    assert [word.partition("bootindex=")[2] for word in drives] == ["0", "1", "2"]


def test_disks_of_every_kind_on_every_bus(
    make_node: MakeNode, check_golden: Callable[[str, str], None]
) -> None:
    file = replace(ROOT, source="file", file="/srv/a,b.raw", format="raw", serial="data,1")
    node = make_node(
        disks=(
            replace(ROOT, source="empty", size=2048, bus="scsi", discard=False),
            replace(file, bus="sata"),
            replace(file, read_only=True),
            replace(file, bus="scsi", format="qcow2", read_only=True),
            replace(file, bus="sata", size=10),
            replace(file, bus="nvme"),
            replace(ROOT, source="empty", size=1, bus="nvme"),
        ),
        cdroms=(
            CdromPlan(file="/srv/a,b.iso", bus="scsi"),
            CdromPlan(file="/srv/b.iso", bus="sata"),
        ),
    )
    boot = choose_boot(node, IMAGE, own=own)
    check_golden("buses.argv", lines(argv(node, boot, accel="tcg", channels=channels(node))))
    made = [disk.layer and (disk.layer.base, disk.layer.size) for disk in boot.disks]
    assert made == [
        (None, 2 << 30),
        ("/srv/a,b.raw", None),
        None,
        None,
        ("/srv/a,b.raw", 10 << 20),
        ("/srv/a,b.raw", None),
        (None, 1 << 20),
    ]


DEVICES = DevicesPlan(
    cpu="Haswell,-avx2",
    rng=False,
    vmgenid="78fa612e-42a1-5e99-b558-4d22482faab7",
    smbios=SmbiosPlan(manufacturer="Acme, Inc.", serial="s", oem_strings=("a=b,c",)),
    credentials=(CredentialPlan(name="secret", content="aHVudGVyMg=="),),
    tpm=True,
    qemu_args=("-global", "virtio-net-pci.speed=1000"),
)


def test_a_node_with_a_model_an_identity_and_secrets_which_are_in_files(
    make_node: MakeNode, check_golden: Callable[[str, str], None]
) -> None:
    node = make_node(devices=DEVICES)
    boot = choose_boot(node, IMAGE, own=lambda name: f"/labs/a,b/{name}")
    check_golden("devices.argv", lines(argv(node, boot, accel="kvm", channels=channels(node))))
    content = b"io.systemd.credential.binary:secret=aHVudGVyMg=="
    assert boot.credentials == (OwnFile(path="/labs/a,b/credential0", content=content),)


def test_a_node_with_shares_has_a_device_for_each_that_is_on(
    make_node: MakeNode, check_golden: Callable[[str, str], None]
) -> None:
    """Over virtiofs its memory can be seen by who serves it; over 9p alone there is no need."""
    share = SharePlan(
        tag="share0", source="/a,b", target="/mnt", writable=False, drivers=("virtiofs", "9p")
    )
    kinds: tuple[dict[str, Any], ...] = (
        {},
        {"provided_by": "image"},
        {"writable": True},
        {"writable": True, "drivers": ("9p",)},
    )
    shares = tuple(replace(share, tag=f"share{n}", **kind) for n, kind in enumerate(kinds))
    for name, program in (("shares", "/usr/libexec/virtiofsd"), ("shares-9p", None)):
        node = make_node(shares=shares, devices=replace(DEVICES, tpm=name == "shares"))
        boot = replace(BOOT, shares=choose_shares(node, program))
        words = argv(node, boot, accel="tcg", channels=channels(node))
        check_golden(f"{name}.argv", lines(words))


def test_a_seed_is_where_it_changes_no_disk_s_letter(make_node: MakeNode) -> None:
    scsi = (replace(ROOT, source="empty", size=10, bus="scsi"),) * MAXIMUM_DISKS["scsi"]
    node = make_node(cloud_init=CloudInitPlan(enabled=True), disks=scsi)
    boot = choose_boot(node, IMAGE, own=own, seed={"user-data": b"x"})
    assert boot.seed == Seed(path="/labs/r1/seed.img", files=(("user-data", b"x"),))
    words = argv(node, boot, accel="tcg", channels=channels(node))
    drives = [word for word in words if word.startswith("scsi-hd")]
    assert drives[-1] == "scsi-hd,id=seed,drive=seed0,bus=scsi0.0,channel=0,scsi-id=64,lun=0"
    assert choose_boot(make_node(), IMAGE, own=own, seed={"user-data": b"x"}).seed is None


def test_the_cpu_of_the_host_is_refused_where_it_is_emulated(make_node: MakeNode) -> None:
    node = make_node(devices=replace(DEVICES, cpu="host,-aes"))
    assert "host,-aes" in argv(node, BOOT, accel="kvm", channels=channels(node))
    with pytest.raises(InputError, match=r"r1: the CPU 'host,-aes' is KVM's"):
        argv(node, BOOT, accel="tcg", channels=channels(node))


def test_descriptors_are_numbered_from_ten_in_the_order_of_the_plan(
    make_node: MakeNode, make_interface: MakeInterface
) -> None:
    numbers = channels(make_node(interfaces=(make_interface(0, "a"), make_interface(1, "b"))))
    assert (numbers.qmp, numbers.agent, numbers.console) == (10, 11, 12)
    assert numbers.interfaces == (13, 14)


def test_every_interface_has_an_address_of_its_own(
    make_node: MakeNode, make_interface: MakeInterface
) -> None:
    interfaces = tuple(make_interface(index, f"eth{index}") for index in range(MAXIMUM_INTERFACES))
    node = make_node(interfaces=interfaces)
    words = argv(node, BOOT, accel="tcg", channels=channels(node))
    devices = [word for word in words if word.startswith("virtio-net-pci")]
    places = {option for word in devices for option in word.split(",") if "addr=" in option}
    assert len(places) == MAXIMUM_INTERFACES


def test_interfaces_that_no_interrupt_is_left_for_share_one(
    make_node: MakeNode, make_interface: MakeInterface
) -> None:
    interfaces = tuple(make_interface(index, f"eth{index}") for index in range(MAXIMUM_INTERFACES))
    node = make_node(interfaces=interfaces)
    words = argv(node, BOOT, accel="tcg", channels=channels(node))
    devices = [word for word in words if word.startswith("virtio-net-pci")]
    sharing = ["vectors=0" in word.split(",") for word in devices]
    assert sharing == [False] * 48 + [True] * (MAXIMUM_INTERFACES - 48)
    assert MAXIMUM_INTERFACES >= 64


def test_more_than_fits_is_refused_with_the_limit(
    make_node: MakeNode, make_interface: MakeInterface
) -> None:
    interfaces = tuple(make_interface(0, f"eth{index}") for index in range(MAXIMUM_INTERFACES + 1))
    node = make_node(interfaces=interfaces)
    with pytest.raises(InputError, match=r"r1 has 121 interfaces, and a machine takes 120"):
        argv(node, BOOT, accel="tcg", channels=channels(node))
    for bus, limit in MAXIMUM_DISKS.items():
        many = replace(BOOT, disks=(replace(DISK, bus=bus),) * (limit + 1))
        with pytest.raises(InputError, match=f"disks on {bus}, a machine takes {limit}"):
            argv(make_node(), many, accel="tcg", channels=channels(make_node()))


def test_an_unknown_architecture_is_refused_with_the_known_ones(make_node: MakeNode) -> None:
    node = make_node(arch="vax")
    with pytest.raises(InputError, match=r"no machine for 'vax' \(use aarch64, riscv64, x86_64\)"):
        argv(node, BOOT, accel="tcg", channels=channels(node))


def test_a_name_cannot_smuggle_in_options(make_node: MakeNode) -> None:
    node = make_node(name="a,process=x")
    words = argv(node, BOOT, accel="tcg", channels=channels(node))
    assert "guest=a,,process=x" in words


def test_no_device_is_where_another_is(make_node: MakeNode, make_interface: MakeInterface) -> None:
    node = make_node(display="std", interfaces=(make_interface(0, "eth1"),))
    disks = [replace(DISK, bus=bus) for bus, limit in MAXIMUM_DISKS.items() for _ in range(limit)]
    boot = replace(BOOT, disks=tuple(disks))
    words = argv(node, boot, accel="tcg", channels=channels(node))
    places = [option for word in words for option in word.split(",") if option.startswith("addr=")]
    assert len(places) == MAXIMUM_DISKS["virtio"] + MAXIMUM_DISKS["nvme"] + 6
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("device", DISPLAYS.values())
async def test_qemu_has_every_display(device: str) -> None:
    known = (await run(["qemu-system-x86_64", "-device", f"{device},help"])).stdout.decode()
    assert "  addr=" in known


async def test_qemu_knows_every_property_that_is_set(
    make_node: MakeNode, make_interface: MakeInterface
) -> None:
    node = make_node(interfaces=(make_interface(0, "eth1", mtu=9000),))
    words = argv(node, BOOT, accel="tcg", channels=channels(node))
    device = next(word for word in words if word.startswith("virtio-net-pci"))
    known = (await run([words[0], "-device", "virtio-net-pci,help"])).stdout.decode()
    for option in device.split(",")[2:]:
        name = option.partition("=")[0]
        assert f"  {name}=" in known or name == "bus"
