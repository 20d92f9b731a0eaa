"""Names and numbers are checked before anything is made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netlab.errors import InputError
from netlab.plan.model import SegmentPlan
from netlab.sandbox.layout import FIRST_INDEX, PORTS_MAX, lay_out
from netlab.sandbox.sandbox import open_sandbox
from tests.sandbox.conftest import segment

HOSTILE = [
    "",
    ".",
    "..",
    "all",
    "default",
    "lo",
    "a/b",
    "../../etc",
    "a b",
    "a\tb",
    "a\n",
    "a\0b",
    "tap%d",
    "eth0:1",
    "ä",
    "\udcff",
    "sixteen-bytes-xx",
    "x" * 10_000,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_taps_and_bridges_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="is no name for an interface"):
        lay_out([segment("s", [name, "other"])])
    with pytest.raises(InputError, match="is no name for an interface"):
        lay_out([replace(segment("s"), bridge=name)])


@pytest.mark.parametrize("altname", ["", "a/b", "a b", "x" * 128, "ä"])
def test_hostile_long_names_are_refused(altname: str) -> None:
    with pytest.raises(InputError, match="is no name for an interface"):
        lay_out([replace(segment("s"), altname=altname)])


@pytest.mark.parametrize("name", ["a", "fifteen-bytes-x", "r1.eth1", "x~!@#$^&*()_+"])
async def test_odd_names_that_the_kernel_takes_are_taken(name: str) -> None:
    async with open_sandbox([segment("s", [name, "other"])]) as sandbox:
        assert name in await sandbox.counters()


@pytest.mark.parametrize(
    "plan",
    [
        [segment("s", ["a", "a"])],
        [segment("s", ["a", "br-s"])],
        [segment("s", ["a", "b"]), segment("t", ["a", "c"])],
        [segment("s"), segment("s")],
        [segment("s", ["a", "netlab.test.a"])],
    ],
)
def test_names_used_twice_are_refused(plan: list[SegmentPlan]) -> None:
    with pytest.raises(InputError, match="is used twice in the lab"):
        lay_out(plan)


@pytest.mark.parametrize("mtu", [-1, 0, 67, 65522, 10**9])
def test_impossible_mtus_are_refused(mtu: int) -> None:
    with pytest.raises(InputError, match="from 68 to 65521 bytes"):
        lay_out([segment("s", mtu=mtu)])


@pytest.mark.parametrize("mtu", [68, 1280, 65521])
async def test_the_extreme_mtus_work(mtu: int) -> None:
    async with open_sandbox([segment("s", mtu=mtu)]) as sandbox:
        await sandbox.verify_wiring()


def test_more_ports_than_a_bridge_holds_are_refused() -> None:
    with pytest.raises(InputError, match="1024 ports"):
        lay_out([segment("s", [f"p{number}" for number in range(PORTS_MAX + 1)])])


def test_interface_numbers_are_unique_and_above_the_kernels() -> None:
    laid = lay_out([segment("s", 3), segment("t"), segment("u", 0)])
    numbers = [each.ifindex for each in laid]
    numbers += [port.ifindex for each in laid for port in each.ports]
    assert sorted(numbers) == list(range(FIRST_INDEX, FIRST_INDEX + 8))
