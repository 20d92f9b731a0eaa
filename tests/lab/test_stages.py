"""A boot that fails says at which stage, and shows the console's last lines."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
import trio

from netlab import open_lab, resolve
from netlab.errors import MachineError, NotReadyError
from netlab.image.bootdisk import write_disk
from netlab.image.store import open_store
from netlab.lab.lab import Lab, wait_ready_within
from netlab.lab.options import Options
from netlab.plan.files import anchor
from netlab.topology.load import loads

pytestmark = pytest.mark.machines

LIMIT = 240

LAB = """\
name: stages
defaults: {image: none, arch: x86_64, memory: 160, configure: false}
nodes:
  nothing: {disk: {file: empty.raw, format: raw}, memory: 32}
  firmware: {firmware: uefi, disk: {file: empty.raw, format: raw}, memory: 64}
  loader: {disk: {file: loader.raw, format: raw}, memory: 64}
  kernel: {disk: {file: kernel.raw, format: raw}}
  init: {disk: {file: init.raw, format: raw}}
  agent: {disk: {file: agent.raw, format: raw}}
"""

# How GRUB starts each, and what it is that tells that the boot has come to its end.
LINUX = "linux /kernel console=ttyS0 nokaslr"
COMMANDS = {
    "loader": "linux /missing",
    "kernel": f"{LINUX} root=/dev/nothing",
    "init": f"{LINUX} rdinit=/bin/sh\ninitrd /initrd",
    "agent": f"{LINUX} quiet module_blacklist=virtio_console\ninitrd /initrd",
}
LAST = {
    "firmware": r"Shell> ",
    "loader": r"grub> ",
    "init": r"Run /bin/sh as init process",
    "agent": r"micro:~# ",
}


async def write_disks(folder: Path) -> None:
    store = open_store()
    image, loader = await store.ensure("micro"), await store.ensure_loader()
    with (folder / "empty.raw").open("wb") as file:
        file.truncate(1 << 20)
    for number, (name, commands) in enumerate(COMMANDS.items()):
        terminal = "serial --unit=0\nterminal_output serial console\n"
        await write_disk(
            folder / f"{name}.raw",
            loader,
            identity=uuid.UUID(int=number + 1),
            configuration=f"{terminal}{commands}\nboot\n",
            files={"kernel": image.packed_kernel, "initrd": image.initrd},
        )


async def test_a_boot_that_fails_says_how_far_it_came(tmp_path: Path) -> None:
    await write_disks(tmp_path)
    plan = anchor(resolve(loads(LAB)), str(tmp_path))
    async with open_lab(plan, options=Options(max_workers=6), folder=tmp_path) as lab:
        with trio.fail_after(LIMIT):
            with pytest.raises(MachineError) as panicked:
                await lab["kernel"].wait_ready()
            assert "kernel: the guest's kernel panicked: VFS: Unable to mount root" in str(
                panicked.value
            )
            assert panicked.value.hint == "boot stage: kernel"
            assert "not syncing" in (panicked.value.evidence or "")
            for name, last in LAST.items():
                await lab[name].wait_console_text(last, since=0)
                assert f"boot stage {name}, last console line: " in lab[name].reason()
            assert "boot stage firmware, nothing on the console yet" in lab["nothing"].reason()
            await check_late(lab)


async def check_late(lab: Lab) -> None:
    """Who waits no longer is told the stage of each node, and what it printed last."""
    await lab["kernel"].crash()
    await lab["kernel"].start()
    with pytest.raises(NotReadyError, match="6 of 6 nodes are not ready after") as late:
        await wait_ready_within(lab, 0.1)
    evidence = late.value.evidence or ""
    assert "loader: booting: agent silent for" in evidence
    assert "boot stage loader" in evidence
    assert "\n    grub>" in evidence
