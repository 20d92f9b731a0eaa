"""Time `netlab exec NODE -- true` from outside, and a round trip beside the bare agent protocol.

The bare protocol is what a client cannot do without: guest-exec, then guest-exec-status until the
program has ended, on a socket of its own to a guest of its own. Both guests run in one sandbox, and
the two are measured in turns.

Usage: scripts/bench-exec [--rounds 200]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trio
from platformdirs import PlatformDirs

from bench_bare import BareAgent, open_bare
from netlab import open_lab, resolve
from netlab.image.store import open_store
from netlab.lab.lab import Lab
from netlab.topology.load import loads

TOPOLOGY = "name: bench\nnodes: {a: {id: 1}}\n"


async def time_python(rounds: int) -> list[float]:
    plan = resolve(loads(TOPOLOGY))
    image = await open_store().ensure("micro")
    async with open_lab(plan) as lab, open_bare(plan.nodes[0], image, lab.sandbox) as bare:
        await lab.wait_ready()
        await bare.wait_answer()
        await bare.wait_silent()
        return await compare(lab, bare, rounds)


async def compare(lab: Lab, bare: BareAgent, rounds: int) -> list[float]:
    ratios: list[float] = []
    for _ in range(rounds):
        begin = time.perf_counter()
        await lab["a"].execute(["/bin/true"])
        middle = time.perf_counter()
        await bare.execute("/bin/true")
        ratios.append((middle - begin) / (time.perf_counter() - middle))
    return ratios


def time_command(runs: int) -> list[float]:
    netlab = str(Path(sys.executable).parent / "netlab")
    with tempfile.TemporaryDirectory() as folder:
        topology = Path(folder) / "bench.yaml"
        topology.write_text(TOPOLOGY)
        environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": folder,
            "XDG_STATE_HOME": folder,
            "XDG_CACHE_HOME": str(PlatformDirs().user_cache_path),
        }

        def run(*words: str) -> float:
            begin = time.perf_counter()
            subprocess.run([netlab, *words], env=environment, check=True, capture_output=True)
            return time.perf_counter() - begin

        run("up", str(topology))
        try:
            return [run("exec", "a", "--", "true") for _ in range(runs)]
        finally:
            run("down", "-y")


def show(title: str, figures: list[float], unit: str) -> None:
    middle = statistics.median(figures)
    print(f"{title:<34} min {min(figures):.3f}  median {middle:.3f}  max {max(figures):.3f} {unit}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    show("netlab exec true, whole process", time_command(20), "s")
    show("round trip / bare agent protocol", trio.run(time_python, rounds), "")


if __name__ == "__main__":
    main()
