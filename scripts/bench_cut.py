"""Time how long nodes stand still for an export, beside the bare `stop` and `cont` of QMP.

Every node has a disk and writes to it all the time. The disks of all nodes are held at one moment,
as an export does, and given back; in turns, all nodes are told to stop and, when all have, to go
on, which no way of holding several machines at once can do without. What is shown is the median
and the longest of all rounds.

Usage: scripts/bench-cut [--nodes 2] [--rounds 10]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parent.parent))

from netlab import Lab, open_lab, resolve
from netlab.process import run
from netlab.topology.load import loads

TOPOLOGY = """\
name: bench
nodes: {"n[1-NODES]": {disks: [{size: 256 MiB}]}}
"""

WRITE = "while :; do dd if=/dev/urandom of=/dev/vda bs=64k count=1024 conv=notrunc; done"


LATENESS = """
import time
end = time.monotonic() + 20
while (begin := time.monotonic()) < end:
    time.sleep(0.002)
    print(time.monotonic() - begin - 0.002)
"""


async def measure(nodes: int, rounds: int) -> dict[str, list[float]]:
    """Return seconds of each round: all nodes stood still for a cut, and for nothing; and waits."""
    plan = resolve(loads(TOPOLOGY.replace("NODES", str(nodes))))
    cuts: list[float] = []
    bare: list[float] = []
    async with open_lab(plan) as lab:
        await lab.wait_ready()
        names = list(lab.nodes)
        for name in names:
            await lab.nodes[name].execute(("/bin/sh", "-c", f"({WRITE}) >/dev/null 2>&1 &"))
        for _ in range(rounds):
            async with lab.open_cut(names) as cut:
                cuts.append(cut.pause)
            bare.append(await stand_still(lab, names))
        late = await run((sys.executable, "-c", LATENESS))
    waits = [float(line) for line in late.stdout.split()]
    return {"held": cuts, "stop and cont": bare, "wait for a CPU": waits}


async def stand_still(lab: Lab, names: Sequence[str]) -> float:
    begin = time.perf_counter()
    for command in ("stop", "cont"):
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(lab.nodes[name].qmp, command)
    return time.perf_counter() - begin


def show(title: str, seconds: list[float]) -> None:
    print(f"{title:<16} {statistics.median(seconds) * 1e3:7.1f} ms {max(seconds) * 1e3:7.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    found = trio.run(measure, options.nodes, options.rounds)
    print(f"{options.nodes} nodes            median    longest")
    for title, seconds in found.items():
        show(title, seconds)
    ratio = statistics.median(found["held"]) / statistics.median(found["stop and cont"])
    print(f"ratio of medians {ratio:.2f}")


if __name__ == "__main__":
    main()
