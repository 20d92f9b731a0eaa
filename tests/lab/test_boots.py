"""What starts a node, and from what: each combination that is accepted comes up for real."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import trio

from netlab import open_lab, resolve
from netlab.lab.lab import Lab
from netlab.machine.firmware import FOLDER, VARIABLES
from netlab.topology.load import loads

pytestmark = pytest.mark.machines

LIMIT = 240

MICRO = """\
name: boots
nodes:
  bios: {id: 1}
  one: {id: 2, firmware: uefi}
  other: {id: 3, firmware: uefi, vlans: [7]}
"""


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def say(lab: Lab, node: str, command: str) -> str:
    result = await lab[node].execute(["sh", "-c", command])
    return (result.stdout + result.stderr).decode().strip()


async def firmware(lab: Lab, node: str) -> str:
    return await say(lab, node, "[ -d /sys/firmware/efi ] && echo uefi || echo bios")


async def test_micro_starts_from_either_firmware_with_variables_of_its_own(tmp_path: Path) -> None:
    template = digest(FOLDER / VARIABLES)
    async with open_lab(resolve(loads(MICRO)), folder=tmp_path) as lab:
        with trio.fail_after(LIMIT):
            await lab.wait_ready()
            found = [await firmware(lab, node) for node in ("bios", "one", "other")]
            assert found == ["bios", "uefi", "uefi"]
            stores = [tmp_path / "nodes" / node / "vars.fd" for node in ("bios", "one", "other")]
            assert [store.exists() for store in stores] == [False, True, True]
            assert [store.stat().st_mode & 0o777 for store in stores[1:]] == [0o600, 0o600]
            assert digest(stores[1]) != template
            before = stores[1].stat().st_ino
            await lab["one"].shutdown()
            await lab["one"].start()
            await lab["one"].wait_ready()
            assert stores[1].stat().st_ino == before
    assert not any(store.exists() for store in stores)
    assert digest(FOLDER / VARIABLES) == template
