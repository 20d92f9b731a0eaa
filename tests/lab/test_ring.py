"""The ring: six routers, OSPF, and what happens when a cable is pulled."""

from pathlib import Path

import pytest
import trio

from netlab import Lab, load, open_lab, resolve
from netlab.errors import CapacityError, MissingFeatureError, NotReadyError, UnknownNameError
from netlab.image.store import open_store
from netlab.machine.accel import AccelChoice
from netlab.machine.agent import Result
from netlab.plan.segments import find_segment
from netlab.topology.load import loads
from tests.lab.conftest import TOPOLOGIES

pytestmark = pytest.mark.machines


async def wait_until_succeeds(lab: Lab, node: str, *argv: str) -> Result:
    while True:
        result = await lab[node].execute(argv)
        if result.status == 0:
            return result


async def test_the_ring_converges_and_heals_when_a_cable_is_pulled() -> None:
    plan = resolve(load(TOPOLOGIES / "ring.yaml"))
    async with open_lab(plan) as lab:
        with trio.fail_after(120):
            await lab.wait_ready()
            await wait_until_succeeds(lab, "r1", "ping", "-c1", "-W1", "r4")
            segment = find_segment(lab.plan, "r1", "r2")
            await lab.set_link(segment, up=False)
            carrier = await lab["r1"].execute(["cat", "/sys/class/net/eth1/carrier"])
            assert carrier.stdout == b"0\n"
            await wait_until_succeeds(lab, "r1", "ping", "-c1", "-W1", "r2")
            path = await lab["r1"].execute(["traceroute", "-n", "-q1", "-w1", "r2"])
            hops = [line for line in path.stdout.decode().splitlines()[1:] if line.strip()]
            assert len(hops) == 5
            await lab.set_link(segment, up=True)
            carrier = await lab["r1"].execute(["cat", "/sys/class/net/eth1/carrier"])
            assert carrier.stdout == b"1\n"


async def test_names_that_are_not_there_are_refused_with_those_that_are(pair: Path) -> None:
    async with open_lab(resolve(load(pair))) as lab:
        with pytest.raises(UnknownNameError, match="its nodes: a, b"):
            lab["c"]
        with pytest.raises(UnknownNameError, match="share none"):
            find_segment(lab.plan, "a:eth9", "b")
        with pytest.raises(NotReadyError, match="a is"):
            await lab["a"].execute(["true"])


async def test_each_node_has_the_accelerator_that_it_asks_for() -> None:
    plan = resolve(loads("name: mixed\nnodes: {a: {id: 1}, b: {id: 2, accel: tcg}}\n"))
    async with open_lab(plan) as lab:
        assert lab.accels["b"] == AccelChoice(accel="tcg", reason="asked for")
        assert lab.accels["a"].reason != "asked for"


async def test_leaving_the_block_while_nodes_boot_leaves_nothing(pair: Path) -> None:
    async with open_lab(resolve(load(pair))) as lab:
        while lab["a"].pid is None:
            await trio.lowlevel.checkpoint()
        pid = lab["a"].pid
    assert not await trio.Path(f"/proc/{pid}").exists()


async def test_an_error_in_the_block_leaves_as_itself(pair: Path) -> None:
    async def fail_inside() -> None:
        async with open_lab(resolve(load(pair))):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail_inside()


async def test_kvm_that_is_insisted_on_and_not_there_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("netlab.lab.lab.find_obstacle", lambda: "there is no /dev/kvm")
    plan = resolve(loads("name: a\nnodes: {a: {id: 1, accel: kvm}}\n"))
    with pytest.raises(MissingFeatureError, match="a asks for KVM, and there is no /dev/kvm"):
        async with open_lab(plan):
            pytest.fail("it started")


async def test_kvm_for_another_architecture_than_the_hosts_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("netlab.lab.lab.host_arch", lambda: "x86_64")
    plan = resolve(loads("name: a\nnodes: {a: {id: 1}, b: {arch: aarch64, accel: kvm}}\n"))
    with pytest.raises(MissingFeatureError, match="b asks for KVM, and is a machine for aarch64"):
        async with open_lab(plan):
            pytest.fail("it started")


async def test_a_host_that_cannot_have_the_links_is_refused_before_an_image_is_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pair: Path
) -> None:
    def few(_limit: int) -> tuple[int, int]:
        return 64, 64

    monkeypatch.setattr("resource.getrlimit", few)
    with pytest.raises(CapacityError, match="each needs a descriptor, and the limit is 64"):
        async with open_lab(resolve(load(pair)), store=open_store(tmp_path / "images")):
            pytest.fail("it started")
    assert not await trio.Path(tmp_path / "images").exists()
