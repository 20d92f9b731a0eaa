"""Cold `netlab up` of a ring of micro nodes against the same QEMU command lines started bare.

Bare: every command line at once, in a sandbox that stands already, waited for by a first answer of
each guest agent. `up`: the whole command, from its first instruction to its last: Python, the
topology, the lab process, links, wiring test, machines, identities, control API. Both in turns, so
that the ratio holds when the machine's speed drifts.

Usage: scripts/bench-up [--nodes 8] [--runs 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import trio
from platformdirs import PlatformDirs

from bench_bare import open_bare
from netlab import load, resolve
from netlab.image.store import Image, open_store
from netlab.plan.model import Plan
from netlab.sandbox.sandbox import open_sandbox


def write_ring(folder: Path, nodes: int) -> Path:
    path = folder / "bench.yaml"
    path.write_text(
        f"name: bench\ndefaults: {{image: micro, memory: 128, accel: tcg}}\n"
        f'nodes: {{"n[1-{nodes}]": {{}}}}\nlinks: [{{ring: "n[1-{nodes}]"}}]\n'
    )
    return path


async def time_bare(plan: Plan, image: Image) -> float:
    async with open_sandbox(plan.segments) as sandbox, AsyncExitStack() as machines:
        begin = time.monotonic()
        agents = [
            await machines.enter_async_context(open_bare(node, image, sandbox))
            for node in plan.nodes
        ]
        async with trio.open_nursery() as nursery:
            for agent in agents:
                nursery.start_soon(agent.wait_answer)
        return time.monotonic() - begin


def time_up(topology: Path, folder: Path) -> float:
    environment = {
        **os.environ,
        "XDG_RUNTIME_DIR": str(folder),
        "XDG_STATE_HOME": str(folder),
        "XDG_CACHE_HOME": str(PlatformDirs().user_cache_path),
    }
    netlab = [str(Path(sys.executable).parent / "netlab")]
    begin = time.monotonic()
    subprocess.run([*netlab, "up", str(topology)], env=environment, check=True, capture_output=True)
    took = time.monotonic() - begin
    subprocess.run([*netlab, "down", "-y"], env=environment, check=True, capture_output=True)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        topology = write_ring(Path(name), asked.nodes)
        plan = resolve(load(topology))
        image = trio.run(open_store().ensure, "micro")
        time_up(topology, Path(name))  # warms the page cache; not counted
        pairs = [
            (time_up(topology, Path(name)), trio.run(time_bare, plan, image))
            for _ in range(asked.runs)
        ]
    ratios = sorted(up / bare for up, bare in pairs)
    for title, figures in (
        ("up, s", sorted(up for up, _ in pairs)),
        ("bare, s", sorted(bare for _, bare in pairs)),
        ("up / bare", ratios),
    ):
        middle = statistics.median(figures)
        print(f"{title:<10} min {figures[0]:6.2f}  median {middle:6.2f}  max {figures[-1]:6.2f}")


if __name__ == "__main__":
    main()
