"""What Proxmox takes, by netlab's table and by others."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings

from netlab.proxmox.configuration import Configuration, DriveMap, make_configuration, parse, write
from netlab.proxmox.rules import check
from netlab.proxmox.schema import CPUS, DRIVES, NET_MODELS, RULES, find_rule, is_drive
from tests.proxmox.facts import RESTORED_DRIVE, RESTORED_MAP, broken_rules, complain
from tests.proxmox.strategies import configurations, likely_configurations


def complaints(text: str) -> list[str]:
    return [str(mistake).partition(":")[2].strip() for mistake in check(parse(text))]


@given(configurations() | likely_configurations())
@settings(max_examples=600, deadline=None)
def test_what_passes_breaks_no_rule_of_an_independent_table_or_of_the_api(
    configuration: Configuration,
) -> None:
    if check(configuration):
        return
    assert broken_rules(configuration) == []
    for line in write(configuration).splitlines():
        key = line.partition(":")[0]
        assert RESTORED_DRIVE.match(line) or not is_drive(key)
        assert RESTORED_MAP.match(line) or not line.startswith("#qmdump#")


def test_the_configurations_made_by_chance_are_good_ones_and_bad_ones_of_every_setting() -> None:
    good: set[str] = set()
    bad: set[str] = set()

    @given(likely_configurations())
    @settings(max_examples=1500, deadline=None, database=None, derandomize=True)
    def collect(configuration: Configuration) -> None:
        wrong = {mistake.path.partition(".")[0] for mistake in check(configuration)}
        for entry in configuration.entries:
            name = entry.key if entry.key in RULES else re.sub("[0-9]+$", "", entry.key)
            if entry.key in wrong:
                bad.add(name)
            elif not wrong:
                good.add(name)

    collect()
    # Any text is an argument of QEMU's, but for a second line.
    assert good == set(RULES)
    assert bad >= set(RULES) - {"args"}


GOOD = {
    "agent": ["1", "0", "enabled=1,fstrim_cloned_disks=1", "1,type=isa"],
    "boot": ["order=scsi0;net0", "order=net0", "legacy=cdn"],
    "cpu": [*CPUS, "cputype=host,hidden=1", "x86-64-v2-AES,flags=+aes;-pcid"],
    "efidisk0": ["local-lvm:vm-1-disk-1,efitype=4m,pre-enrolled-keys=1,size=528K"],
    "ide2": ["none,media=cdrom", "local:iso/x.iso,media=cdrom"],
    "machine": ["pc", "q35", "pc-i440fx-9.2+pve1", "pc-q35-9.2", "virt", "q35,viommu=intel"],
    "memory": ["16", "current=2048"],
    "net31": [f"{model}=02:00:00:00:00:01,bridge=vmbr0" for model in NET_MODELS],
    "net1": ["virtio=02:00:00:00:00:01,bridge=v_l.a-n,firewall=0,link_down=1,mtu=1,queues=64,"
             "rate=0.5,tag=4094,trunks=1;5-9"],
    "scsi30": ["a1:v,aio=native,backup=0,cache=unsafe,discard=on,serial=a%20b,size=1.5T"],
    "smbios1": ["uuid=607767c3-55d3-85de-a139-001c328e2cca,base64=1,product=YQ=="],
    "tags": ["netlab;lab-x", "a,b c"],
    "tpmstate0": ["local:1/vm-1-disk-0.qcow2,size=4M,version=v2.0"],
    "vga": ["std", "virtio,memory=64", "none"],
    "vmgenid": ["1", "607767c3-55d3-85de-a139-001c328e2cca"],
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(key, one) for key in GOOD for one in GOOD[key]])
def test_what_proxmox_documents_passes_both_tables(key: str, value: str) -> None:
    around = {"bios": "ovmf", "scsihw": "virtio-scsi-single", "scsi0": "a1:v", "net0": "virtio"}
    configuration = make_configuration({**around, key: value}.items())
    assert check(configuration) == ()
    assert broken_rules(configuration) == []


@pytest.mark.parametrize("key", sorted(RULES))
def test_every_setting_of_the_table_is_one_of_the_api_and_there_as_often(key: str) -> None:
    count = RULES[key].count
    if key == "meta":
        return
    names = [key] if count is None else [f"{key}0", f"{key}{count - 1}"]
    for name in names:
        assert find_rule(name) is RULES[key]
        assert "is not defined" not in complain("POST", "/nodes/a/qemu", {name: "1"}).get(name, "")
    if count is not None:
        beyond = f"{key}{count}"
        assert find_rule(beyond) is None
        assert find_rule(f"{key}00") is None
        assert "is not defined" in complain("POST", "/nodes/a/qemu", {beyond: "1"})[beyond]


def test_every_rule_names_its_source() -> None:
    assert all(re.fullmatch(r"PVE(/\w+)+\.pm", rule.source) for rule in RULES.values())


WRONG = {
    "name: a_b": "1:1: name: 'a_b' is not possible (allowed is a host name",
    "cores: 0": "1:1: cores: '0' is not possible (allowed is a whole number of at least 1)",
    "memory: 15": "1:1: memory.current: '15' is not possible",
    "core: 2": "1:1: core: is no setting that can be written (did you mean cores?)",
    "net32: virtio": "1:1: net32: is no setting that can be written (there is net0 to net31)",
    "efidisk1: a1:v": "1:1: efidisk1: is no setting that can be written (use efidisk0)",
    "net0: bridge=vmbr0": "1:1: net0: model, virtio, e1000",
    "net0: virtio=03:00:00:00:00:01": "1:1: net0.virtio: '03:00:00:00:00:01' is not possible",
    "net0: virtio=02:00:00:00:00:01,tag=4095": "1:1: net0.tag: '4095' is not possible",
    "net0: virtio,vlan=3": "1:1: net0: there is no property 'vlan'",
    "net0: virtio,tag=1,tag=2": "1:1: net0.tag: is there twice",
    "net0: e1000,mtu=1400": "1:1: net0.mtu: only a virtio card has one",
    "net0: igb=02:00:00:00:00:01": "1:1: net0: there is no property 'igb'",
    "scsi0: a1:v, size=8G": "1:1: scsi0: there is no property ' size'",
    "scsi0: a1:a b": "1:1: scsi0.file: 'a1:a b' is not possible",
    "scsi0: a1:v,iothread=1": "1:1: scsi0.iothread: needs scsihw: virtio-scsi-single",
    "scsi0: none": "1:1: scsi0: it has no volume",
    "boot: order=scsi0,net0": "1:1: boot: order or legacy is there more",
    "boot: order=scsi0": "boot.order: there is no scsi0",
    "boot: order=efidisk0": "1:1: boot.order: 'efidisk0' is not possible",
    "cpu: Pentium9": "1:1: cpu.cputype: 'Pentium9' is not possible",
    "bios: uefi": "1:1: bios: 'uefi' is not possible (allowed is seabios or ovmf)",
    "efidisk0: a1:v,efitype=4m": "efidisk0: needs bios: ovmf",
    "vga: serial0": "vga: there is no serial0 (add serial0: socket)",
    "machine: microvm": "1:1: machine.type: 'microvm' is not possible",
    "serial0: pty": "1:1: serial0: 'pty' is not possible",
    "tags: a;;b": "1:1: tags: 'a;;b' is not possible",
    "smbios1: product=my box": "1:1: smbios1.product: 'my box' is not possible",
    f"smbios1: product={'A' * 505}": "1:1: smbios1: 513 characters (at most 512 are possible",
    "#qmdump#map:scsi0:drive-scsi0:a1:raw:": "1:1: scsi0: is mapped and is no drive",
    "scsi0: a1:v\n#qmdump#map:scsi0:drive-scsi0:-:raw:": "2:1: scsi0: '-' cannot be a storage",
    "scsi0: a1:v\nscsi1: a1:w\n#qmdump#map:scsi0:d:a1:raw:": "2:1: scsi1: the archive has no",
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WRONG.items())
def test_what_proxmox_would_drop_is_told_with_its_line(text: str, expected: str) -> None:
    assert any(one.startswith(expected) for one in complaints(text)), complaints(text)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_lines() -> None:
    found = complaints("name: a_b\ncores: x\nbios: efi\nnet0: virtio=1")
    assert [one.split(":")[0] for one in found] == ["1", "2", "3", "4"]


def test_smbios_is_as_long_as_the_schema_of_the_api_says() -> None:
    assert complaints(f"smbios1: product={'A' * 504}") == []
    for count, wrong in ((504, []), (505, ["smbios1"])):
        values = {"vmid": "100", "smbios1": f"product={'A' * count}"}
        assert list(complain("POST", "/nodes/pve1/qemu", values)) == wrong


def test_a_line_cannot_be_smuggled_in() -> None:
    configuration = make_configuration([("args", "-S\nonboot: 1"), ("name", "a\n")])
    assert {mistake.path for mistake in check(configuration)} == {"args", "name"}


def test_text_that_a_restore_would_lose_or_an_archive_cannot_hold_is_told() -> None:
    def about(**changes: object) -> list[str]:
        configuration = make_configuration([("cores", "1")], **changes)  # pyright: ignore[reportArgumentType]
        return [mistake.message for mistake in check(configuration)]

    assert about(description="x" * 8192) == []
    assert about(description="x" * 8193) == ["8193 characters"]
    assert about(description="a\nqmdump#map:b") == ["a line begins with vzdump# or qmdump#"]
    assert about(description="\ud800") == ["it is not text"]
    large = make_configuration([("args", "x" * 65_520)])
    assert [mistake.message for mistake in check(large)] == []
    assert check(make_configuration([("args", "x" * 65_530)]))[0].message.startswith("it has 65537")


def test_a_map_that_would_be_read_otherwise_is_told() -> None:
    for broken in (DriveMap("scsi0", "a b", "a1", "raw"), DriveMap("scsi0", "a", "a1", "r:w")):
        found = check(make_configuration([("scsi0", "a1:v")], maps=[broken]))
        assert [mistake.path for mistake in found] == ["scsi0"]


def test_every_bus_of_the_table_is_a_drive_as_far_as_it_goes() -> None:
    assert all(is_drive(f"{bus}{count - 1}") for bus, count in DRIVES.items())
    assert not any(is_drive(f"{bus}{count}") for bus, count in DRIVES.items())
