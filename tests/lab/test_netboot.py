"""Nodes that boot from the network, served by another node of the lab."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from netlab import open_lab, resolve
from netlab.errors import NotReadyError
from netlab.lab.boots import find_servers
from netlab.topology.load import loads
from tests.lab.conftest import TOPOLOGIES

LIMIT = 300

TEXT = """\
name: a
nodes:
  client: {id: 1, vlans: [1, 2], boot: network}
  server: {id: 2, vlans: 1}
  other-client: {id: 3, vlans: 1, boot: network}
  elsewhere: {id: 4, vlans: 2}
"""


def test_a_node_waits_for_those_that_may_serve_it_and_for_no_others() -> None:
    plan = resolve(loads(TEXT))
    found = {node.name: find_servers(plan, node) for node in plan.nodes}
    servers = ("server",)
    assert found == {"client": servers, "server": (), "other-client": servers, "elsewhere": ()}


LOOK = "cat /proc/cmdline; hostname; [ -d /sys/firmware/efi ] && echo uefi; ping -c1 server"

# The client of the example, and one of which nothing is known, with the other firmware.
MORE = "  client: {id: 2, memory: 149, vlans: 1, boot: network}\n" + (
    "  uefi: {id: 3, image: none, arch: x86_64, firmware: uefi, vlans: 1, boot: network}\n"
)


@pytest.mark.machines
async def test_nodes_boot_from_another_node_by_either_firmware(tmp_path: Path) -> None:
    example = (TOPOLOGIES / "pxe.yaml").read_text()
    lines = [line for line in example.splitlines() if not line.startswith("  client:")]
    served = tmp_path / "netboot-micro.tar"
    plan = resolve(loads("\n".join(lines) + f"\n{MORE}"))
    async with open_lab(plan, folder=tmp_path) as lab:
        with pytest.raises(NotReadyError, match="or for the other nodes of its network"):
            _ = lab["client"].machine
        with trio.fail_after(LIMIT):
            await lab.wait_ready()
            for name in ("client", "uefi"):
                result = await lab[name].execute(["sh", "-c", LOOK])
                text = result.stdout.decode()
                # That is iPXE's command line: QEMU's own way of giving a kernel has another order.
                assert "initrd=initrd console=ttyS0" in text
                assert f"\n{name}\n" in text
                assert ("\nuefi\nPING" in text) == (name == "uefi")
                assert "1 received" in text
        assert served.exists()
    assert not served.exists()
