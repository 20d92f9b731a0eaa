"""The vocabulary on a whole system: units of systemd, a disk that keeps what is written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from netlab.errors import CheckError, CommandError
from netlab.image.store import open_store
from netlab.testing import LabDriver, NodeDriver
from tests.testing.conftest import live, open_driver

pytestmark = pytest.mark.machines

TEXT = """\
name: systems
nodes:
  server:
    image: debian
    id: 1
    memory: 257
    files:
      /etc/motd: hello
      /etc/systemd/system/slow.service: |
        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/bin/sleep 1
      /etc/systemd/system/broken.service: |
        [Service]
        Type=oneshot
        ExecStart=/bin/false
    run: [systemctl daemon-reload]
  probe: {id: 2}
links: [server -- probe]
"""


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def test_a_debian_system_is_a_node_like_others() -> None:
    image = await open_store().ensure("debian")
    assert image.disk is not None
    before = _digest(image.disk)
    async with open_driver(TEXT) as lab:
        server = lab["server"]
        await check_units(server)
        await check_failing_units(server)
        await check_services(lab, server)
        await check_start(server)
        folder = live(server).machine.folder
        assert any(folder.glob("*.qcow2"))
    assert not any(folder.glob("*.qcow2"))
    assert _digest(image.disk) == before


async def check_units(node: NodeDriver) -> None:
    await node.wait_for_unit("multi-user.target")
    await node.require_unit_state("ssh.service")
    await node.require_unit_state("apt-daily.timer", "inactive")
    await node.succeed("systemctl start --no-block slow")
    await node.wait_for_unit("slow")
    assert "active (exited)" in (await node.systemctl("status slow")).stdout
    with pytest.raises(CheckError, match=r"active"):
        await node.require_unit_state("slow.service", "inactive")


async def check_failing_units(node: NodeDriver) -> None:
    await node.fail("systemctl start broken")
    # A unit that has failed will not become active by itself: there is no use in waiting.
    with pytest.raises(CheckError, match="failed"):
        await node.wait_for_unit("broken", timeout=60)
    with pytest.raises(CheckError, match="inactive"):
        await node.wait_for_unit("nothing-there", timeout=60)
    await node.succeed("systemctl reset-failed")


async def check_services(lab: LabDriver, node: NodeDriver) -> None:
    await node.wait_for_open_port(22)
    await lab["probe"].succeed("echo | nc -w 5 server 22 | grep SSH-2.0")
    await node.succeed("vtysh -c 'show interface brief' | grep eth1")
    with pytest.raises(CommandError):
        await node.succeed("systemctl is-active apt-daily.timer")


async def check_start(node: NodeDriver) -> None:
    """Its own kernel starts it, without its loader, in the least memory that it may have."""
    assert "BOOT_IMAGE" not in await node.succeed("cat /proc/cmdline")
    await node.fail("test -d /sys/firmware/efi")
    # Whom the host that built the image asks for names is nobody's business here.
    await node.fail("test -e /etc/resolv.conf")
    assert await node.succeed("hostname; cat /etc/motd") == "server\nhello"
