"""The traps of the NixOS test driver, one by one, and what netlab does in their place.

Each row of :data:`TRAPS` is proved on real guests; rows that can share a boot do. The page
``netlab help nixos`` shows the same rows.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

import netlab
from netlab import open_lab, resolve
from netlab.testing import LabDriver
from netlab.topology.load import loads
from tests.testing.conftest import LIMIT
from tests.testing.traps import one_guest, start, two_guests
from tests.testing.traps.trap import PER_ROW, Trap

PAGE = (Path(netlab.__file__).parent / "docs/nixos.md").read_text()

PROPERTIES = {
    *("standard error", "standard input", "timeout", "death in a command", "background jobs"),
    *("size of output", "concurrency", "partial send", "conditions", "decoding"),
    *("end of a reply", "exit status"),
}
"""What is peculiar about that driver's way to run a command."""

TIMING = {
    *("three times", "inner timeout", "events", "console pace", "copy collisions"),
    *("is_up", "leak", "shutdown", "cables", "size of a copy"),
}
"""What its verbs do beside that."""

THEMES = {
    *("slow boot", "open output", "dead QEMU", "console waits", "interactive", "reports"),
    *("no KVM", "macOS", "VDE", "no snapshots", "no pcap", "no impairments", "addressing"),
    *("iteration", "containers", "OCR", "other guests"),
}
"""What its users complain about."""

TRAPS = one_guest.TRAPS + two_guests.TRAPS + start.TRAPS

NOT_HERE = {
    "macOS": "netlab runs on Linux: its bridges and namespaces are the kernel's",
    "containers": "nodes are machines with kernels of their own; a micro guest boots in seconds",
    "no snapshots": (
        "netlab has none either; `plan` says which nodes could not have one, because of a share"
    ),
}
"""What netlab does not answer, and why."""


@pytest.mark.machines
@pytest.mark.parametrize(
    ("topology", "rows"),
    [
        pytest.param(one_guest.TOPOLOGY, one_guest.TRAPS, id="one guest"),
        pytest.param(two_guests.TOPOLOGY, two_guests.TRAPS, id="two guests"),
        pytest.param(start.TOPOLOGY, start.TRAPS, id="a guest that is not ready"),
    ],
)
async def test_netlab_does_not_fall_into_the_trap(
    topology: str, rows: tuple[Trap, ...], tmp_path: Path
) -> None:
    async with open_lab(resolve(loads(topology))) as opened:
        lab = LabDriver(opened, timeout=LIMIT)
        if topology != start.TOPOLOGY:
            await lab.wait_ready()
        for number, trap in enumerate(rows):
            folder = tmp_path / str(number)
            await trio.Path(folder).mkdir()
            with lab.subtest(trap.name, go_on=True):
                with trio.move_on_after(PER_ROW) as scope:
                    await trap.proof(lab, folder)
                assert not scope.cancelled_caught, "it did not end"
    failures = [f"{part.name}: {part.failure!r}" for part in lab.parts.done if part.failure]
    assert not failures, "\n".join(failures)
    assert len(lab.parts.done) == len(rows)


def test_every_trap_that_is_known_is_in_one_of_both_tables() -> None:
    covered = {name for trap in TRAPS for name in trap.covers}
    assert covered & set(NOT_HERE) == set()
    assert sorted(covered | set(NOT_HERE)) == sorted(PROPERTIES | TIMING | THEMES)
    names = [trap.name for trap in TRAPS]
    assert len(set(names)) == len(names)


def test_the_page_shows_both_tables() -> None:
    section = PAGE.partition("## Traps that are not here\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    expected = [f"| {trap.name} | {trap.there} | {trap.here} |" for trap in TRAPS]
    reasons = [f"| {name} | {reason} |" for name, reason in NOT_HERE.items()]
    assert rows == ["| | there | here |", *expected, "| | why not |", *reasons]
