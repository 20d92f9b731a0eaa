"""What a machine is and has, as its guest sees it: several odd ones in one lab."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from netlab.testing import LabDriver, NodeDriver
from tests.testing.compactdisc import make_disc
from tests.testing.conftest import live, open_driver

pytestmark = pytest.mark.machines

SECRET = "s" * 20_000

TEXT = f"""\
name: devices
nodes:
  odd:
    id: 1
    cpu: Haswell,-avx2
    accel: tcg
    vmgenid: 78fa612e-42a1-5e99-b558-4d22482faab7
    smbios: {{manufacturer: "Acme, Inc.", product: Box, serial: A-17, oem_strings: ["role=edge,1"]}}
    credentials: {{large: {SECRET}, hint: "a\\nb"}}
    qemu_args: [-fw_cfg, "name=opt/netlab,string=odd"]
  plain: {{id: 2, rng: false}}
  installer:
    id: 3
    image: none
    arch: x86_64
    memory: 64
    agent: false
    disk: {{size: 1 GiB}}
    cdroms: ISO
  live:
    id: 4
    image: none
    arch: x86_64
    machine: pc
    memory: 64
    agent: false
    cdroms: [{{file: ISO, bus: scsi}}, ISO]
"""


async def test_a_guest_finds_the_devices_that_its_node_has(tmp_path: Path) -> None:
    iso = tmp_path / "a,b.iso"
    iso.write_bytes(make_disc("started from a CD"))
    async with open_driver(TEXT.replace("ISO", f'"{iso}"')) as lab:
        # An empty disk starts nothing, and so the CD behind it does.
        await lab["installer"].wait_for_console_text("started from a CD")
        await lab["live"].wait_for_console_text("started from a CD")
        odd, plain = lab["odd"], lab["plain"]
        await check_identity(odd)
        await check_secrets(odd)
        await check_what_is_not_there(plain)
        await check_a_restart(lab)


async def check_identity(node: NodeDriver) -> None:
    names = "sys_vendor product_name product_serial"
    said = await node.succeed(f"cd /sys/class/dmi/id && cat {names}")
    assert said.splitlines() == ["Acme, Inc.", "Box", "A-17"]
    processor = await node.succeed("cat /proc/cpuinfo")
    assert "(Haswell)" in processor
    assert " avx2 " not in processor
    assert await node.succeed("cat /sys/bus/acpi/devices/QEMUVGID:00/hid") == "QEMUVGID\n"
    assert await node.succeed("cat /sys/class/misc/hw_random/rng_current") == "virtio_rng.0\n"
    known = await live(node).qmp("query-vm-generation-id")
    assert known == {"guid": "78fa612e-42a1-5e99-b558-4d22482faab7"}
    assert any("name=opt/netlab,string=odd" in word for word in live(node).machine.argv)


async def check_secrets(node: NodeDriver) -> None:
    """They are whole in the guest, for root alone there, and on no command line here."""
    entry = "/sys/firmware/dmi/entries/11-0/raw"
    strings = (await node.succeed(f"tr '\\0' '\\n' <{entry}")).split("\n")
    assert strings[1].endswith("role=edge,1")
    found = dict(one.rpartition(":")[2].split("=", 1) for one in strings if "credential" in one)
    assert base64.b64decode(found["hint"]) == b"a\nb"
    assert len(found["large"]) == 26_668
    assert (await node.succeed(f"stat -c %a {entry}")).strip() == "400"
    machine = live(node).machine
    assert not any(SECRET[:8] in word or found["hint"] in word for word in machine.argv)
    kept = [path.stat().st_mode & 0o777 for path in machine.folder.glob("credential*")]
    assert kept == [0o600, 0o600]


async def check_what_is_not_there(node: NodeDriver) -> None:
    assert await node.succeed("cat /sys/class/misc/hw_random/rng_current") == "none\n"
    await node.fail("ls /sys/bus/acpi/devices/QEMUVGID:00")
    await node.fail("ls /sys/firmware/dmi/entries/11-0")


async def check_a_restart(lab: LabDriver) -> None:
    node = lab["odd"]
    folder = live(node).machine.folder
    await node.shutdown()
    await node.start()
    assert await node.succeed("cat /sys/class/dmi/id/product_serial") == "A-17\n"
    assert len(list(folder.glob("credential*"))) == 2
