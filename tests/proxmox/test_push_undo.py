"""What is left of a push that fails or is cancelled: nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from netlab.errors import NetlabError, ProgramError, ProxmoxError, ProxmoxTaskError
from netlab.proxmox.push import Progress, Pushed
from netlab.proxmox.target import Source
from tests.proxmox.pushes import flat_copies, push_one
from tests.proxmox.serving import Serving


def damaged(_: Path) -> str:
    return "f" * 64


def assert_nothing_is_left(serving: Serving) -> None:
    inside = serving.inside
    assert not serving.tags()
    assert not inside.storages["local"].get("volumes")
    assert not inside.storages["local-lvm"].get("volumes")
    assert inside.sdn == inside.pending == {"zones": {}, "vnets": {}}
    assert inside.lock == ""


FAILURES = {
    "an upload that arrives damaged": ("upload", "checksum mismatch"),
    "a machine that cannot be created": ("create", "no space left"),
    "a machine that does not start": ("start", "no such bridge"),
    "networks that cannot be put to work": ("apply", "ifreload failed"),
    "a network that is refused": ("vnet", "refused"),
    "an upload that is refused": ("right", "refused"),
}


@pytest.mark.parametrize("step", [step for step, _ in FAILURES.values()], ids=list(FAILURES))
async def test_what_a_failed_push_made_is_taken_back(
    step: str,
    serving: Serving,
    make: Callable[[], Awaitable[Pushed]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inside = serving.inside
    if step == "upload":
        monkeypatch.setattr("netlab.proxmox.flat._digest", damaged)
    elif step == "create":
        inside.storages["local-lvm"]["avail"] = 1
    elif step == "start":
        inside.failures[("POST", "/nodes/{node}/qemu/{vmid}/status/start")] = {
            "status": 500, "message": "no such bridge", "times": 1, "error": None, "html": False,
        }  # fmt: skip
    elif step == "apply":
        inside.apply_error = "ifreload failed"
    else:
        path = "/cluster/sdn/vnets" if step == "vnet" else "/storage/local/upload"
        inside.failures[("POST", path)] = {
            "status": 403, "message": "refused", "times": 1, "error": None, "html": False,
        }  # fmt: skip
    with pytest.raises(ProxmoxError):
        await make()
    inside.apply_error = ""
    assert_nothing_is_left(serving)


STEPS = (
    "make a flat copy of efidisk0", "look whether 9001", "look which zones", "lock the virtual",
    "make the network cable", "put the networks", "upload scsi0", "upload efidisk0", "create the",
    "remove the upload netlab-9001-efidisk0", "start the machine",
)  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
async def test_a_push_that_is_cancelled_is_taken_back_whenever_that_is(
    step: str, serving: Serving, sources: tuple[Source, ...], tmp_path: Path
) -> None:
    with trio.CancelScope() as scope:

        def report(progress: Progress) -> None:
            if progress.about.startswith(step):
                scope.cancel()

        await push_one(sources, serving, tmp_path, report)
    assert scope.cancelled_caught
    assert_nothing_is_left(serving)
    assert not flat_copies(tmp_path)


async def test_a_push_that_is_cancelled_before_the_host_has_answered_is_taken_back(
    serving: Serving, sources: tuple[Source, ...], tmp_path: Path
) -> None:
    inside = serving.inside
    inside.time_scale = 1
    with trio.CancelScope() as scope:

        def report(progress: Progress) -> None:
            begun = progress.about.startswith("create the machine")
            inside.network["latency"] = 0.5 if begun else 0
            if begun:
                scope.deadline = trio.current_time() + 0.1

        await push_one(sources, serving, tmp_path, report)
    assert scope.cancelled_caught
    assert ("POST", "/api2/json/nodes/pve1/qemu") in serving.calls()
    assert_nothing_is_left(serving)


async def test_a_machine_whose_creation_nobody_confirmed_is_looked_for_and_removed(
    serving: Serving, sources: tuple[Source, ...], tmp_path: Path
) -> None:
    network = serving.inside.network

    def report(progress: Progress) -> None:
        # The answer is lost, and with it whether the host has begun.
        lost = progress.about.startswith("create the machine")
        network["drop_rate"] = 1.0 if lost else 0.0
        if progress.about.startswith("look at the machines"):
            serving.inside.add_vm(9001, "a", config={"tags": "lab-pair;netlab"})

    with pytest.raises(ProxmoxError, match="does not answer") as caught:
        await push_one(sources, serving, tmp_path, report)
    assert caught.value.status == 0
    assert_nothing_is_left(serving)


async def test_a_machine_that_a_proxy_did_not_wait_for_is_removed(
    serving: Serving, sources: tuple[Source, ...], tmp_path: Path
) -> None:
    """pveproxy answers 596 after 30 s; the daemon behind it goes on with what it was asked for."""
    serving.inside.failures[("POST", "/nodes/{node}/qemu")] = {
        "status": 596,
        "message": "Connection timed out",
        "times": 1,
        "error": None,
        "html": False,
    }

    def report(progress: Progress) -> None:
        if progress.about.startswith("look at the machines"):
            serving.inside.add_vm(9001, "a", config={"tags": "lab-pair;netlab"})

    with pytest.raises(ProxmoxError, match="Connection timed out") as caught:
        await push_one(sources, serving, tmp_path, report)
    assert caught.value.status == 596
    assert "may be done nevertheless" in str(caught.value)
    assert_nothing_is_left(serving)


async def test_what_cannot_be_taken_back_is_told_with_the_failure(
    serving: Serving, sources: tuple[Source, ...], tmp_path: Path
) -> None:
    def report(progress: Progress) -> None:
        if progress.about.startswith("start the machine"):
            serving.inside.network["drop_rate"] = 1.0

    with pytest.raises(ProxmoxError, match="cannot start the machine") as caught:
        await push_one(sources, serving, tmp_path, report)
    lines = (caught.value.evidence or "").splitlines()
    assert len(lines) == 3
    assert all(line.startswith("could not be taken back: cannot ") for line in lines)


async def test_a_machine_whose_tags_somebody_took_is_left_alone_and_told(
    serving: Serving, sources: tuple[Source, ...], tmp_path: Path
) -> None:
    def report(progress: Progress) -> None:
        if progress.about.startswith("start the machine"):
            (machine,) = serving.inside.vms
            machine.config["tags"] = "netlab"
            machine.start_error = "broken"

    with pytest.raises(ProxmoxTaskError) as caught:
        await push_one(sources, serving, tmp_path, report)
    assert "could not be taken back: the machine 9001 has not its tags" in (
        caught.value.evidence or ""
    )
    assert serving.tags() == {9001: "netlab"}


async def test_a_disk_that_cannot_be_read_leaves_nothing_behind(
    serving: Serving, sources: tuple[Source, ...], tmp_path: Path
) -> None:
    broken = (replace(sources[1], drive="scsi0", format="qcow2"), sources[1])
    with pytest.raises(ProgramError, match="qemu-img") as caught:
        await push_one(broken, serving, tmp_path)
    assert isinstance(caught.value, NetlabError)
    assert_nothing_is_left(serving)
    assert not flat_copies(tmp_path)
