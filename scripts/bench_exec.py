"""Time commands and copies beside the bare agent protocol, and `netlab exec` from outside.

The bare protocol is what a client cannot do without: guest-exec, then guest-exec-status until the
program has ended; guest-file-write and -read, in the requests that are fastest for it. It has a
socket and a guest of its own. Both guests run in one sandbox and the two are measured in turns; of
several rounds, the fastest of each counts. `20 commands` compares with the slowest of them alone.

Usage: scripts/bench-exec [--rounds 3] [--size 100]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio
from platformdirs import PlatformDirs

from bench_bare import BareAgent, open_bare
from netlab import open_lab, resolve
from netlab.image.store import open_store
from netlab.testing import LabDriver, NodeDriver
from netlab.topology.load import loads

TOPOLOGY = "name: bench\nnodes: {a: {id: 1, memory: 512}}\n"


MIB = 1 << 20
CHUNKS = (64 * 1024, 256 * 1024, MIB, 4 * MIB)

Work = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Row:
    """What was measured: seconds of netlab and of what it is compared with, and bytes moved."""

    title: str
    netlab: float
    bare: float
    size: int = 0

    def __str__(self) -> str:
        shown = [
            f"{self.size / MIB / each:8.2f} MiB/s" if self.size else f"{each:8.3f} s    "
            for each in (self.netlab, self.bare)
        ]
        return f"{self.title:<28} {shown[0]} {shown[1]}  {self.netlab / self.bare:5.2f}"


async def time_work(work: Work) -> float:
    begin = time.perf_counter()
    await work()
    return time.perf_counter() - begin


async def compare(title: str, ours: Work, bare: Work, rounds: int, size: int = 0) -> Row:
    """Return the fastest round of each; they take turns."""
    pairs = [(await time_work(ours), await time_work(bare)) for _ in range(rounds)]
    return Row(title, min(each for each, _ in pairs), min(each for _, each in pairs), size)


async def time_python(rounds: int, size: int) -> list[Row]:
    plan = resolve(loads(TOPOLOGY))
    image = await open_store().ensure("micro")
    async with open_lab(plan) as lab, open_bare(plan.nodes[0], image, lab.sandbox) as bare:
        await lab.wait_ready()
        await bare.wait_answer()
        await bare.wait_silent()
        node = LabDriver(lab)["a"]
        return [
            await compare_commands(node, bare, rounds),
            await compare_output(node, bare),
            *await compare_copies(node, bare, size),
            await compare_many(node),
        ]


async def compare_commands(node: NodeDriver, bare: BareAgent, rounds: int) -> Row:
    async def ours() -> None:
        for _ in range(200):
            await node.succeed("true")

    async def theirs() -> None:
        for _ in range(200):
            await bare.execute("/bin/sh", "-c", "true")

    return await compare('200 times succeed("true")', ours, theirs, rounds)


async def compare_output(node: NodeDriver, bare: BareAgent) -> Row:
    line = f"head -c {10 * MIB} /dev/zero"

    async def ours() -> None:
        assert len(await node.succeed(line)) == 10 * MIB

    async def theirs() -> None:
        assert len(await bare.execute("/bin/sh", "-c", line)) == 10 * MIB

    return await compare("10 MiB of output", ours, theirs, 2, 10 * MIB)


async def compare_copies(node: NodeDriver, bare: BareAgent, size: int) -> list[Row]:
    sample = os.urandom(4 * MIB)
    times = {
        chunk: await time_work(partial(bare.write, "/root/sample", sample, chunk))
        + await time_work(partial(bare.read, "/root/sample", chunk))
        for chunk in CHUNKS
    }
    chunk = min(CHUNKS, key=times.__getitem__)
    tried = ", ".join(str(each // 1024) for each in CHUNKS)
    print(f"bare requests of {chunk // 1024} KiB are the fastest of {tried}")
    content = os.urandom(size * MIB)
    with tempfile.TemporaryDirectory() as folder:
        there, back = Path(folder) / "there", Path(folder) / "back"
        there.write_bytes(content)
        to = await compare(
            f"{size} MiB into the guest",
            partial(node.copy_to, there, "/root/copy"),
            partial(bare.write, "/root/copy", content, chunk),
            1,
            size * MIB,
        )
        come = await compare(
            f"{size} MiB out of the guest",
            partial(node.copy_from, "/root/copy", back),
            partial(bare.read, "/root/copy", chunk),
            1,
            size * MIB,
        )
    return [to, come]


async def compare_many(node: NodeDriver) -> Row:
    """Twenty at once, of a tenth of a second up to two; all of them against the slowest."""

    async def ours() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(1, 21):
                nursery.start_soon(node.succeed, f"sleep {number / 10}")

    return await compare("20 commands at once", ours, partial(node.succeed, "sleep 2"), 2)


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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=100, help="MiB of a copy")
    asked = parser.parse_args()
    show("netlab exec true, whole process", time_command(20), "s")
    print(f"{'':<28} {'netlab':>14} {'compared with':>14}  ratio")
    for row in trio.run(time_python, asked.rounds, asked.size):
        print(row)


if __name__ == "__main__":
    main()
