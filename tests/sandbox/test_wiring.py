"""The wiring self-test: it passes on sound segments, and names what is not."""

from __future__ import annotations

import os

import pytest

from netlab.errors import SandboxError, WiringError
from netlab.sandbox import wiring
from netlab.sandbox.messages import Port, RefusedError, Segment
from netlab.sandbox.sandbox import open_sandbox
from tests.sandbox.conftest import ONE, cable, frame, is_silent, plug, segment

SIZES = [0, 1, 2, 3, wiring.MESH_LIMIT, wiring.MESH_LIMIT + 1, 60]


@pytest.mark.parametrize("ports", SIZES)
async def test_sound_segments_of_any_size_pass(ports: int) -> None:
    async with open_sandbox([segment("lan", ports), segment("big", mtu=9000)]) as sandbox:
        await sandbox.verify_wiring()
        await sandbox.verify_wiring()


async def test_a_mixture_of_wires_passes() -> None:
    async with open_sandbox([segment("a", wire="fast"), segment("b", 20, wire="fast")]) as sandbox:
        await sandbox.verify_wiring()


@pytest.mark.parametrize("ports", [2, 3, wiring.MESH_LIMIT + 4])
async def test_a_port_that_passes_nothing_is_named(ports: int) -> None:
    async with open_sandbox([segment("good"), segment("bad", ports)]) as sandbox:
        await sandbox.set_port("bad.1", up=False)
        with pytest.raises(WiringError) as caught:
            await sandbox.verify_wiring()
        evidence = caught.value.evidence or ""
        assert "segment bad: a frame from bad.0 did not reach bad.1" in evidence
        assert "segment bad: bad.1 takes no frame: Input/output error" in evidence
        assert "good" not in evidence
        await sandbox.set_port("bad.1", up=True)
        await sandbox.verify_wiring()


async def test_many_faults_are_counted_and_all_are_evidence() -> None:
    plan = [segment(f"s{number}") for number in range(5)]
    async with open_sandbox(plan) as sandbox:
        for number in range(5):
            await sandbox.set_port(f"s{number}.0", up=False)
        with pytest.raises(WiringError, match=r"\(and 10 more\)") as caught:
            await sandbox.verify_wiring()
        assert len((caught.value.evidence or "").splitlines()) == 15


async def test_it_is_refused_while_machines_run_and_possible_afterwards() -> None:
    async with open_sandbox([segment("wire")]) as sandbox:
        async with plug(sandbox, "wire.0"):
            with pytest.raises(SandboxError, match=r"while machines run on wire\.0"):
                await sandbox.verify_wiring()
        await sandbox.verify_wiring()


async def test_it_leaves_no_frame_and_no_address_behind() -> None:
    async with open_sandbox([segment("lan", 3)]) as sandbox:
        await sandbox.verify_wiring()
        # Where its frames came from is forgotten: a frame to there is flooded again.
        source = bytes.fromhex("026e00000000")
        async with plug(sandbox, "lan.1") as one, plug(sandbox, "lan.2") as two:
            assert is_silent(one)
            assert is_silent(two)
            os.write(one, frame(to=source, source=ONE))
            assert os.read(two, 2000) == frame(to=source, source=ONE)


def test_a_segment_that_hears_another_is_named() -> None:
    """Two segments on one cable: pipes stand in for a bridge that leaks."""
    with cable() as (left, right):
        ports = [Port(tap, f"long-{tap}", 1, False) for tap in ("a.0", "b.0")]
        segments = [
            Segment(name, f"br-{name}", f"long-{name}", 1, 100, (port,))
            for name, port in zip("ab", ports, strict=True)
        ]
        trials = [
            wiring._Trial(n, s, {"a.0": left, "b.0": right}, 0.0) for n, s in enumerate(segments)
        ]
        assert trials[0]._send(0, ONE) == []
        assert list(trials[1].find_strangers()) == [("b.0", 0)]
        assert list(trials[0].find_strangers()) == []


def test_what_is_not_ours_is_not_counted() -> None:
    with cable() as (left, right):
        lone = Segment("s", "br", "long", 1, 100, (Port("a", "long-a", 1, False),))
        os.write(right, frame())
        os.write(right, b"short")
        trial = wiring._Trial(0, lone, {"a": left}, 0.0)
        assert list(trial.find_strangers()) == []
        wiring.prove([lone], {"a": left})


def test_silence_is_a_fault_once_patience_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "PATIENCE", 0.01)
    with cable() as (left, _), cable() as (right, _other):
        ports = (Port("a", "long-a", 1, False), Port("b", "long-b", 2, False))
        cut = Segment("cut", "br", "long", 1, 100, ports)
        with pytest.raises(RefusedError, match="from a did not reach b") as caught:
            wiring.prove([cut], {"a": left, "b": right})
        assert caught.value.kind == "WiringError"
