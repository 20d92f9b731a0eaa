"""Time a sandbox of many links, beside what cannot be less: the bare system calls.

Bare: a process in a network namespace that stands already, with every netlink message encoded
before the clock starts; the clock sees the ioctls of /dev/net/tun, the datagrams and the answers.
The sandbox: all of `open_sandbox`, from nothing to a lab whose links are made. Both in turns.

Usage: scripts/bench-links [--links 500] [--runs 3]
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import struct
import subprocess
import sys
import time

import trio

from netlab.plan.model import PortPlan, SegmentPlan
from netlab.sandbox.sandbox import open_sandbox
from netlab.sandbox.taps import open_tap

BATCH = 100
QUIET = 0.1
"""Seconds that a first bridge of a namespace takes at most while the kernel is not cleaning up."""


def attribute(kind: int, value: bytes) -> bytes:
    padding = bytes(-len(value) % 4)
    return struct.pack("HH", 4 + len(value), kind) + value + padding


def number(kind: int, value: int, form: str = "I") -> bytes:
    return attribute(kind, struct.pack(form, value))


def message(kind: int, flags: int, index: int, attributes: bytes, *, up: bool = False) -> bytes:
    """Return a link message: linux/rtnetlink.h and linux/if_link.h have the numbers."""
    body = struct.pack("BxHiII", 0, 0, index, int(up), int(up)) + attributes
    return struct.pack("IHHII", 16 + len(body), kind, 1 | flags, 0, 0) + body


def bridge_messages(index: int, name: str) -> list[bytes]:
    settings = number(1, 0) + number(5, 0) + number(23, 0, "B") + number(4, 0)
    info = attribute(1, b"bridge\0") + attribute(2, settings)
    names = attribute(3, name.encode() + b"\0") + number(4, 1500)
    return [
        message(16, 0x600, index, names + attribute(18, info)),
        message(19, 0, index, b"", up=True),
        message(108, 0x600, index, attribute(52 | 0x8000, attribute(53, b"long-" + name.encode()))),
    ]


def port_messages(index: int, bridge: int, name: str) -> list[bytes]:
    info = attribute(4, b"bridge\0") + attribute(5, number(31, 0xFFFD, "H"))
    return [
        message(19, 0, index, number(4, 1500) + number(10, bridge) + number(27, 1)),
        message(16, 0, index, attribute(18, info)),
        message(19, 0, index, b"", up=True),
        message(108, 0x600, index, attribute(52 | 0x8000, attribute(53, b"long-" + name.encode()))),
    ]


def send(netlink: socket.socket, messages: list[bytes]) -> None:
    """Send messages in batches; wait for the answer to each batch's last."""
    for start in range(0, len(messages), BATCH):
        *most, last = messages[start : start + BATCH]
        length, kind, flags, _, _ = struct.unpack_from("IHHII", last)
        marked = struct.pack("IHHII", length, kind, flags | 4, 1, 0) + last[16:]
        netlink.send(b"".join([*most, marked]))
        answer = netlink.recv(65536)
        code, sequence = struct.unpack_from("i8xI", answer, 16)
        if code or sequence != 1:
            raise OSError(-code, os.strerror(-code))


def run_bare(links: int) -> None:
    """Make the links in this network namespace; print how long it took."""
    bridges: list[bytes] = []
    ports: list[bytes] = []
    taps: list[tuple[str, int]] = []
    for link in range(links):
        index = 1000 + 3 * link
        bridges += bridge_messages(index, f"br{link}")
        for end in (1, 2):
            taps.append((f"t{link}.{end}", index + end))
            ports += port_messages(index + end, index, taps[-1][0])
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        started = time.perf_counter()
        send(netlink, bridges)
        for name, index in taps:
            open_tap(name, index, fast=False)
        send(netlink, ports)
        print(time.perf_counter() - started)
        # All taps at once: one by one, as they close, takes a grace period each.
        send(netlink, [message(17, 0, 0, number(27, 1))])


def plan(links: int) -> list[SegmentPlan]:
    return [
        SegmentPlan(
            name=f"link{link}",
            bridge=f"br{link}",
            altname=f"netlab.bench.link{link}",
            vlan=None,
            mtu=1500,
            ports=tuple(
                PortPlan(tap=f"t{link}.{end}", altname=f"netlab.bench.t{link}.{end}", wire="exact")
                for end in (1, 2)
            ),
        )
        for link in range(links)
    ]


async def time_sandbox(links: int) -> dict[str, float]:
    segments = plan(links)
    started = time.perf_counter()
    async with open_sandbox(segments) as sandbox:
        opened = time.perf_counter()
        await sandbox.verify_wiring()
        proven = time.perf_counter()
        await sandbox.counters()
        counted = time.perf_counter()
    return {
        "open": opened - started,
        "verify wiring": proven - opened,
        "counters": counted - proven,
        "close": time.perf_counter() - counted,
    }


def settle() -> None:
    """Wait until the kernel has cleaned up after the last run: it holds its lock meanwhile."""
    quiet = 0
    while quiet < 5:
        started = time.perf_counter()
        command = ["unshare", "--net", "ip", "link", "add", "br0", "type", "bridge"]
        subprocess.run(command, check=True)
        quiet = quiet + 1 if time.perf_counter() - started < QUIET else 0


def time_bare(links: int) -> float:
    command = ["unshare", "--net", sys.executable, __file__, "--bare", "--links", str(links)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--links", type=int, default=500)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--bare", action="store_true", help="for itself")
    options = parser.parse_args()
    if options.bare:
        run_bare(options.links)
        return
    bare: list[float] = []
    timings: list[dict[str, float]] = []
    for _ in range(options.runs):
        settle()
        bare.append(time_bare(options.links))
        settle()
        timings.append(trio.run(time_sandbox, options.links))
    least = statistics.median(bare)
    print(f"{options.links} links, median of {options.runs}")
    print(f"  bare system calls   {least:6.2f} s")
    for step in timings[0]:
        print(f"  {step:<18}  {statistics.median(each[step] for each in timings):6.2f} s")
    opened = statistics.median(each["open"] for each in timings)
    print(f"open / bare: {opened / least:.2f}")


if __name__ == "__main__":
    main()
