"""What the network as a whole does, as a test asks it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from netlab import load, open_lab, resolve
from netlab.errors import CheckError, CommandError, ConditionError, UnknownNameError, WaitError
from netlab.testing import LabDriver, polling_condition
from tests.lab.conftest import TOPOLOGIES
from tests.testing.conftest import LIMIT, open_driver

pytestmark = pytest.mark.machines


async def is_short(lab: LabDriver) -> bool:
    return len(await lab.path("r1", "r3")) == 2


async def test_a_ring_heals() -> None:
    """The example of the documentation, on the ring of the first page."""
    async with open_lab(resolve(load(TOPOLOGIES / "ring.yaml"))) as live:
        lab = LabDriver(live, timeout=LIMIT)
        await lab.wait_ready()
        r1 = lab["r1"]
        await r1.wait_until_succeeds("ping -c1 -W1 r4")
        await lab.wait_until_converged()
        # Everybody is reached as soon as there is one way; the short one may come later.
        await lab.wait_until_converged(partial(is_short, lab))
        async with lab.link("r1", "r2").down():
            await r1.wait_until_succeeds("ping -c1 -W1 r2")
            assert await lab.path("r1", "r2") == ["r6", "r5", "r4", "r3", "r2"]
        await lab.wait_until_converged()


async def check_what_cannot_be_tried(lab: LabDriver) -> None:
    # What cannot be tried is no network that does not let it through.
    for check in (lab.assert_unreachable, lab.assert_reachable):
        with pytest.raises(CommandError, match=r"a cannot ping nobody\.invalid: .*ping: "):
            await check("a", "nobody.invalid")
    ping = (await lab["a"].succeed("which ping")).strip()
    await lab["a"].succeed(("mv", ping, "/root/ping"))
    with pytest.raises(CommandError, match=r"a cannot ping b: .*ping.*not found"):
        await lab.assert_unreachable("a", "b")
    await lab["a"].succeed(("mv", "/root/ping", ping))
    await lab.assert_reachable("a", "b")
    with pytest.raises(CommandError, match=r"`traceroute .*nobody\.invalid` exited with status"):
        await lab.path("a", "nobody.invalid")


async def check_copies(lab: LabDriver, written: Path) -> None:
    await lab.copy_to(written, "/root/everywhere/pair.pcap")
    for node in lab:
        await node.succeed("test -s /root/everywhere/pair.pcap")
    await lab["b"].succeed("touch /root/file")
    with pytest.raises(CommandError, match="b: mkdir failed"):
        await lab.copy_to(written, "/root/file/below")


async def check_capture(lab: LabDriver, folder: Path) -> Path:
    async with lab.capture("a", "b") as capture:
        await lab["a"].succeed("ping -c1 -s 77 b")
    echoes = [frame for frame in capture.frames if len(frame.data) == 14 + 20 + 8 + 77]
    assert len(echoes) == 2
    assert [packet.sprintf("%ICMP.type%") for packet in capture.scapy() if "ICMP" in packet] == [
        "echo-request",
        "echo-reply",
    ]
    return capture.write(folder / "pair.pcap")


async def check_pair(lab: LabDriver, folder: Path) -> None:
    assert await lab.ping_matrix() == {"a": {"b": True}, "b": {"a": True}}
    await lab.assert_reachable("a", "b")
    with pytest.raises(CheckError, match="a reaches b"):
        await lab.assert_unreachable("a", "b")
    await check_what_cannot_be_tried(lab)
    assert await lab.path("a", "b") == ["b"]
    assert await lab.throughput("a", "b", seconds=1) > 1_000_000
    written = await check_capture(lab, folder)
    await lab["b"].copy_to(written, "/tmp/pair.pcap")
    read = await lab["b"].succeed("tcpdump -nr /tmp/pair.pcap icmp 2>/dev/null")
    assert read.count("length 85") == 2
    async with lab.link("a", "b").down():
        await lab.assert_unreachable("a", "b")
        with pytest.raises(CheckError, match="b does not reach a"):
            await lab.assert_reachable("b", "a")
        with pytest.raises(WaitError, match=r"had not converged within .* does not reach"):
            await lab.wait_until_converged(timeout=3)
    await lab.wait_until_converged()
    with pytest.raises(UnknownNameError):
        lab.link("a", "c")
    with pytest.raises(UnknownNameError, match="there is no vlan 3"):
        lab.vlan(3)
    await check_copies(lab, written)
    async with lab["b"].paused():
        with pytest.raises(WaitError, match="had not pinged each other within 1 s"):
            await lab.ping_matrix(timeout=1)


async def test_a_pair_is_measured_captured_and_cut(tmp_path: Path) -> None:
    async with open_driver() as lab:
        await check_pair(lab, tmp_path)


async def test_a_condition_of_the_network_that_breaks_ends_its_block() -> None:
    async with open_driver() as lab:

        async def breaks() -> None:
            async with polling_condition(
                lambda: lab.assert_reachable("a", "b"), interval=0.2, description="a reaches b"
            ):
                await lab["b"].block()
                await trio.sleep(LIMIT)

        with trio.fail_after(20), pytest.raises(ConditionError, match=r"^a reaches b: it does not"):
            await breaks()
