"""Nodes that boot from the network, served by another node of the lab."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from netlab import open_lab, resolve
from netlab.errors import InputError, NotReadyError
from netlab.lab.boots import find_servers
from netlab.plan.files import anchor
from netlab.topology.load import load, loads
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


LOOK = """\
cat /proc/cmdline; hostname; cat /etc/motd; [ -d /sys/firmware/efi ] && echo uefi; ping -c1 server
"""

# The client of the example, here with an image of its own and the least memory for that; and one of
# which nothing is known, with the other firmware.
MORE = """
  client: {id: 2, image: RECIPE, memory: 151, vlans: 1, boot: network}
  uefi: {id: 3, groups: unknown, machine: pc, firmware: uefi, vlans: 1, boot: network}
groups: {unknown: {image: none, arch: x86_64}}
"""


@pytest.mark.machines
async def test_nodes_boot_from_another_node_by_either_firmware(tmp_path: Path) -> None:
    example = (TOPOLOGIES / "pxe.yaml").read_text()
    lines = [line for line in example.splitlines() if not line.startswith("  client:")]
    recipe = TOPOLOGIES / "images/web.image.yaml"
    text = "\n".join(lines).replace("netboot: micro", f"netboot: {recipe}") + MORE
    (tmp_path / "pxe.yaml").write_text(text.replace("RECIPE", str(recipe)))
    plan = anchor(resolve(load(tmp_path / "pxe.yaml")), str(tmp_path))
    served = tmp_path / f"netboot-{plan.images[0].name}.tar"
    small = tuple(replace(node, memory=min(node.memory, 150)) for node in plan.nodes)
    with pytest.raises(InputError, match="client: 150 MiB of memory, and the image web needs 151"):
        async with open_lab(replace(plan, nodes=small)):
            raise AssertionError("it has been started")
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
                assert f"\n{name}\nA web server" in text
                assert ("\nuefi\nPING" in text) == (name == "uefi")
                assert "1 received" in text
        assert served.exists()
    assert not served.exists()
