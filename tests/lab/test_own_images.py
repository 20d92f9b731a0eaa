"""A lab of the example with an image of its own: built, booted, held, and taken to Proxmox."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from netlab.errors import InputError
from netlab.image.store import open_store
from netlab.lab.lab import Lab, open_lab
from netlab.plan.files import anchor
from netlab.plan.model import Plan
from netlab.plan.resolve import resolve
from netlab.proxmox.exporting import Request, export_plan
from netlab.topology.load import load
from netlab.vma.compression import Compression
from tests.lab.conftest import TOPOLOGIES

pytestmark = pytest.mark.machines

LIMIT = 300.0


@pytest.fixture(scope="module")
def plan() -> Plan:
    return anchor(resolve(load(TOPOLOGIES / "web.yaml")), str(TOPOLOGIES))


async def say(lab: Lab, node: str, script: str) -> str:
    return (await lab[node].execute(("/bin/sh", "-c", script))).stdout.decode()


async def test_a_node_boots_its_own_image_with_its_package_and_files(
    plan: Plan, tmp_path: Path
) -> None:
    name = plan.images[0].name
    async with open_lab(plan, folder=tmp_path) as lab:
        with trio.fail_after(LIMIT):
            await lab.wait_ready()
            assert "web server" in await say(lab, "web", "cat /etc/motd")
            page = (TOPOLOGIES / "images/www/index.html").read_text()
            assert await say(lab, "client", "wget -q -O - http://web/") == page
            # Whatever becomes of its name: the lab may still start the node again.
            image = open_store().get(name)
            open_store().prune(stale=[name])
            assert open_store().get(name) == image
    request = Request(folder=tmp_path / "dump", compression=Compression("zstd", 1), vmid=200)
    export = await export_plan(plan, ["web"], request, store=open_store())
    assert export.backups[0].archive.stat().st_size > image.initrd.stat().st_size


async def test_a_node_that_its_image_does_not_fit_into_is_refused_with_what_it_needs(
    plan: Plan,
) -> None:
    small = replace(plan.nodes[0], memory=117)
    with pytest.raises(
        InputError, match=r"web: 117 MiB of memory, and the image web needs 1[1-4]\d"
    ):
        async with open_lab(replace(plan, nodes=(small, *plan.nodes[1:]))):
            raise AssertionError("it has been started")
