"""Time load and resolve of a ring, written as a range and written out, beside yaml.compose.

Usage: scripts/bench-plan [--nodes 1000]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import cast

import yaml

from netlab.plan.codec import to_json
from netlab.plan.resolve import resolve
from netlab.topology.load import loads

RUNS = 5
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# PyYAML's stubs know no types for it.
COMPOSE = cast("Callable[..., object]", yaml.compose)  # pyright: ignore[reportUnknownMemberType]


def best(action: Callable[[], object]) -> float:
    """Return the shortest of some runs, in seconds: what the work takes when nothing disturbs."""
    times: list[float] = []
    for _ in range(RUNS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def report(name: str, text: str) -> None:
    topology = loads(text)
    plan = resolve(topology)
    compose = best(lambda: COMPOSE(text, Loader=LOADER))
    load = best(lambda: loads(text))
    whole = best(lambda: resolve(loads(text)))
    encode = best(lambda: to_json(plan))
    print(f"{name}: {len(plan.nodes)} nodes, {len(plan.segments)} links, {len(text)} characters")
    print(f"  yaml.compose            {compose * 1000:8.1f} ms")
    print(f"  load                    {load * 1000:8.1f} ms  {load / compose:6.1f} x compose")
    print(f"  load and resolve        {whole * 1000:8.1f} ms  {whole / compose:6.1f} x compose")
    print(f"  the plan as JSON        {encode * 1000:8.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    number = parser.parse_args().nodes
    head = "name: ring\ndefaults: {memory: 128, loopback: true}\nnodes:\n"
    short = f'{head}  "r[1-{number}]": {{id: 1, run: [bird]}}\nlinks:\n  - ring: "r[1-{number}]"\n'
    report("as a range", short)
    nodes = [
        f"  r{one}:\n    id: {one}\n    files:\n      /etc/motd: this is r{one}\n    run: [bird]\n"
        for one in range(1, number + 1)
    ]
    links = [f"  - r{one}:next -- r{one % number + 1}:last\n" for one in range(1, number + 1)]
    report("written out", head + "".join(nodes) + "links:\n" + "".join(links))


if __name__ == "__main__":
    main()
