"""Frames on real bridges: everything crosses as on a cable, and nothing else is heard."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import netlab
from netlab.errors import UnknownNameError
from netlab.lab.frames import SocketFrames, open_frames
from netlab.sandbox.sandbox import Sandbox, open_sandbox
from tests.sandbox.conftest import (
    BROADCAST,
    ONE,
    SOON,
    TWO,
    frame,
    hear,
    is_silent,
    plug,
    segment,
)

RESERVED = {
    "STP": "0180c2000000",
    "LACP": "0180c2000002",
    "802.1X": "0180c2000003",
    "LLDP": "0180c200000e",
    "the last reserved": "0180c200000f",
}
# A header whose checksum is wrong: a host's packet filter would drop it.
BAD_IPV4 = bytes.fromhex("4500001c000000004011ffff0a0000010a000002") + bytes(26)
NOISE_TIME = 1.5
"""Seconds in which a host that speaks IPv6 has solicited and reported."""


async def list_links(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    """Return what `ip` says inside the sandbox, by interface."""
    reader, writer = os.pipe()
    process = await sandbox.launch(["ip", "-d", "-j", "link"], descriptors={1: writer})
    os.close(writer)
    text = b""
    async with trio.lowlevel.FdStream(reader) as stream:
        async for part in stream:
            text += part
    assert await process.wait() == 0
    return {link["ifname"]: link for link in json.loads(text)}


@pytest.mark.parametrize("name", RESERVED)
async def test_reserved_multicast_crosses_wires_and_switches(name: str) -> None:
    sent = frame(b"reserved", bytes.fromhex(RESERVED[name]))
    async with open_sandbox([segment("wire"), segment("lan", 3)]) as sandbox:
        for first, *others in (["wire.0", "wire.1"], ["lan.0", "lan.1", "lan.2"]):
            async with plug(sandbox, first) as ours:
                for other in others:
                    async with plug(sandbox, other) as theirs:
                        os.write(ours, sent)
                        assert await hear(theirs) == sent


FRAMES = {
    "broadcast": frame(),
    "unicast to nobody known": frame(to=TWO),
    "multicast": frame(to=bytes.fromhex("01005e000005")),
    "a 802.1Q tag": BROADCAST + ONE + b"\x81\x00\xa0\x07" + b"\x08\x00" + bytes(50),
    "a priority tag": BROADCAST + ONE + b"\x81\x00\xe0\x00" + b"\x08\x00" + bytes(50),
    "two tags": BROADCAST + ONE + b"\x88\xa8\x00\x64\x81\x00\x00\x07\x08\x00" + bytes(50),
    "a length instead of a type": BROADCAST + ONE + b"\x00\x30" + bytes(48),
    "IPv4 with a wrong checksum": BROADCAST + ONE + b"\x08\x00" + BAD_IPV4,
    "the longest of the MTU": (frame()[:14]).ljust(1514, b"x"),
    "the longest, tagged": (BROADCAST + ONE + b"\x81\x00\x00\x07\x08\x00").ljust(1518, b"x"),
}


@pytest.mark.parametrize("name", FRAMES)
async def test_frames_cross_untouched(name: str) -> None:
    sent = FRAMES[name]
    async with (
        open_sandbox([segment("wire")]) as sandbox,
        plug(sandbox, "wire.0") as ours,
        plug(sandbox, "wire.1") as theirs,
    ):
        os.write(ours, sent)
        assert await hear(theirs) == sent
        os.write(theirs, sent)
        assert await hear(ours) == sent


async def test_jumbo_frames_cross_where_the_mtu_allows() -> None:
    jumbo = frame(b"x" * 9000)
    async with open_sandbox([segment("big", mtu=9000), segment("small")]) as sandbox:
        async with plug(sandbox, "big.0") as ours, plug(sandbox, "big.1") as theirs:
            os.write(ours, jumbo)
            assert await hear(theirs) == jumbo
        async with plug(sandbox, "small.0") as ours, plug(sandbox, "small.1") as theirs:
            os.write(ours, jumbo)
            os.write(ours, frame())
            assert await hear(theirs) == frame()


async def test_segments_do_not_hear_each_other_and_nobody_hears_himself() -> None:
    async with (
        open_sandbox([segment("a", 3), segment("b", 2)]) as sandbox,
        plug(sandbox, "a.0") as ours,
        plug(sandbox, "a.1") as theirs,
        plug(sandbox, "b.0") as stranger,
    ):
        os.write(ours, frame())
        assert await hear(theirs) == frame()
        assert is_silent(stranger)
        assert is_silent(ours)


async def test_a_switch_learns_and_a_wire_does_not() -> None:
    answer = frame(b"answer", to=ONE, source=TWO)
    async with open_sandbox([segment("lan", 3), segment("wire")]) as sandbox:
        async with (
            plug(sandbox, "lan.0") as one,
            plug(sandbox, "lan.1") as two,
            plug(sandbox, "lan.2") as other,
        ):
            os.write(one, frame())
            assert await hear(other) == frame()
            assert await hear(two) == frame()
            os.write(two, answer)
            assert await hear(one) == answer
            assert is_silent(other)
        async with plug(sandbox, "wire.0") as one, plug(sandbox, "wire.1") as two:
            # The same address at both ends, one after the other: a switch would drop the answer.
            os.write(one, frame(source=ONE))
            assert await hear(two) == frame(source=ONE)
            os.write(two, frame(to=TWO, source=ONE))
            assert await hear(one) == frame(to=TWO, source=ONE)


async def test_an_idle_lab_is_silent() -> None:
    heard: list[socket.socket] = []
    async with open_sandbox([segment("wire"), segment("lan", 3)]) as sandbox:
        await sandbox.set_port("lan.0", up=False)
        await sandbox.set_port("lan.0", up=True)
        with ExitStack() as stack:
            for name in ("br-wire", "br-lan", "wire.0", "lan.0", "lan.2"):
                capture = socket.socket(fileno=await sandbox.open_capture(name))
                heard.append(stack.enter_context(capture))
            with trio.move_on_after(NOISE_TIME):
                await trio.sleep_forever()
            assert all(is_silent(capture.fileno()) for capture in heard)


LOUD_AND_SILENT = """
import select, sys
sys.path += sys.argv[1:]
from netlab.sandbox import links, netlink, taps
from netlab.sandbox.messages import Port, Segment
port = Port("tap0", "long-tap0", 1001, False)
lab = links.Links()
lab.build([Segment("s", "br0", "long-br0", 1000, 1500, (port,))], silenced=False)
loud = taps.open_tap("loud0", 2000, fast=False)
netlink.Netlink().apply([netlink.set_up("loud0", 2000, up=True)])
assert select.select([loud], [], [], 10)[0], "nobody speaks here anyway"
print(open("/proc/net/if_inet6").read())
print("heard", len(taps.read_frames(lab.taps["tap0"])))
"""


def test_the_host_is_silent_too_where_sysctls_cannot_be_written() -> None:
    roots = {str(Path(netlab.__file__).parents[1]), *(path for path in sys.path if path)}
    command = ["unshare", "--net", sys.executable, "-IS", "-c", LOUD_AND_SILENT, *roots]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "loud0" in done.stdout
    assert "tap0\n" not in done.stdout
    assert "br0\n" not in done.stdout
    assert done.stdout.endswith("heard 0\n")


async def test_settings_are_what_the_plan_says() -> None:
    plan = [segment("wire", mtu=1600), segment("lan", 3)]
    async with open_sandbox(plan) as sandbox:
        links = await list_links(sandbox)
    assert set(links) == {"lo", "br-wire", "wire.0", "wire.1", "br-lan", "lan.0", "lan.1", "lan.2"}
    for each in plan:
        bridge = links[each.bridge]
        assert bridge["altnames"] == [each.altname]
        assert bridge["mtu"] == each.mtu
        data = bridge["linkinfo"]["info_data"]
        wanted = {"stp_state": 0, "forward_delay": 0, "mcast_snooping": 0, "vlan_filtering": 0}
        assert {key: data.get(key, 0) for key in wanted} == wanted
        assert data["ageing_time"] == (0 if each.name == "wire" else 30000)
        for port in each.ports:
            tap = links[port.tap]
            assert tap["altnames"] == [port.altname]
            assert (tap["mtu"], tap["master"]) == (each.mtu, each.bridge)
            slave = tap["linkinfo"]["info_slave_data"]
            assert slave["group_fwd_mask"] == "0xfffd"
            assert slave["state"] == "forwarding"
            assert not tap["linkinfo"]["info_data"]["persist"]
            assert not tap["linkinfo"]["info_data"]["vnet_hdr"]


async def test_a_fast_wire_carries_offload_headers() -> None:
    header = bytes(10)
    async with open_sandbox([segment("fast", wire="fast")]) as sandbox:
        await sandbox.verify_wiring()
        async with plug(sandbox, "fast.0") as ours, plug(sandbox, "fast.1") as theirs:
            os.write(ours, header + frame())
            assert await hear(theirs) == header + frame()


async def test_a_port_that_is_down_passes_nothing_until_it_is_up_again() -> None:
    async with (
        open_sandbox([segment("lan", 3)]) as sandbox,
        plug(sandbox, "lan.0") as one,
        plug(sandbox, "lan.1") as two,
        plug(sandbox, "lan.2") as three,
    ):
        await sandbox.set_port("lan.1", up=False)
        os.write(one, frame())
        assert await hear(three) == frame()
        with pytest.raises(OSError, match=r"Input/output|File descriptor in bad state"):
            os.write(two, frame())
        await sandbox.set_port("lan.1", up=True)
        os.write(one, frame(b"again"))
        assert await hear(two) == frame(b"again")


async def test_counters_count_what_the_port_saw() -> None:
    async with (
        open_sandbox([segment("wire")]) as sandbox,
        plug(sandbox, "wire.0") as ours,
        plug(sandbox, "wire.1") as theirs,
    ):
        for _ in range(3):
            os.write(ours, frame())
            await hear(theirs)
        counters = await sandbox.counters()
    assert set(counters) == {"wire.0", "wire.1"}
    assert (counters["wire.0"].rx_packets, counters["wire.0"].rx_bytes) == (3, 180)
    assert (counters["wire.1"].tx_packets, counters["wire.1"].tx_bytes) == (3, 180)
    assert (counters["wire.0"].tx_packets, counters["wire.1"].rx_packets) == (0, 0)
    assert counters["wire.0"].rx_errors == counters["wire.0"].rx_dropped == 0


@pytest.mark.parametrize("interface", ["lan.0", "lan.1", "br-lan"])
async def test_a_capture_hears_unicast_between_others(interface: str) -> None:
    async with (
        open_sandbox([segment("lan", 3)]) as sandbox,
        plug(sandbox, "lan.0") as one,
        plug(sandbox, "lan.1") as two,
    ):
        os.write(two, frame(source=TWO))
        await hear(one)
        with socket.socket(fileno=await sandbox.open_capture(interface)) as capture:
            os.write(one, frame(b"secret", to=TWO))
            assert await hear(capture.fileno()) == frame(b"secret", to=TWO)


async def test_unknown_names_are_refused() -> None:
    async with open_sandbox([segment("wire")]) as sandbox:
        with pytest.raises(UnknownNameError, match="no tap 'br-wire'"):
            await sandbox.set_port("br-wire", up=False)
        with pytest.raises(UnknownNameError, match="no tap or bridge 'eth0'"):
            await sandbox.open_capture("eth0")
        with pytest.raises(UnknownNameError, match="no tap 'lo'"):
            await sandbox.launch(["true"], descriptors={}, taps={3: "lo"})


async def test_two_sandboxes_of_the_same_plan_do_not_meet() -> None:
    plan = [segment("wire")]
    async with open_sandbox(plan) as first, open_sandbox(plan) as second:
        await first.verify_wiring()
        await second.verify_wiring()
        async with plug(first, "wire.0") as ours, plug(second, "wire.1") as theirs:
            os.write(ours, frame())
            assert (await first.counters())["wire.1"].tx_packets > 0
            assert is_silent(theirs)


async def test_a_lab_without_links_is_a_lab() -> None:
    async with open_sandbox([]) as sandbox:
        await sandbox.verify_wiring()
        assert await sandbox.counters() == {}
        process = await sandbox.launch(["true"], descriptors={})
        assert await process.wait() == 0


async def test_segments_of_no_port_and_of_one_are_made() -> None:
    async with open_sandbox([segment("none", 0), segment("one", 1)]) as sandbox:
        await sandbox.verify_wiring()
        assert {"br-none", "br-one", "one.0"} < set(await list_links(sandbox))


async def test_a_thousand_taps_are_made_proven_and_gone() -> None:
    plan = [segment(f"s{number}", 20) for number in range(50)]
    async with open_sandbox(plan) as sandbox:
        await sandbox.verify_wiring()
        counters = await sandbox.counters()
    assert len(counters) == 1000
    # Each port of a switch of 20 hears the first, and is heard.
    assert all(each.rx_packets == 1 for each in counters.values())


async def test_a_capture_on_a_port_goes_on_when_that_was_down() -> None:
    heard: list[bytes] = []

    async def listen(frames: SocketFrames) -> None:
        heard.append((await frames.receive()).data)

    async with (
        open_sandbox([segment("wire")]) as sandbox,
        plug(sandbox, "wire.0") as machine,
        open_frames(sandbox, "wire.0") as before,
    ):
        await sandbox.set_port("wire.0", up=False)
        assert await before.drain() == []
        await sandbox.set_port("wire.0", up=True)
        await sandbox.set_port("wire.0", up=False)
        async with open_frames(sandbox, "wire.0") as meanwhile:
            with trio.fail_after(SOON):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(listen, before)
                    nursery.start_soon(listen, meanwhile)
                    await trio.testing.wait_all_tasks_blocked()
                    await sandbox.set_port("wire.0", up=True)
                    os.write(machine, frame())
    assert heard == [frame(), frame()]
