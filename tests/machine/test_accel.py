"""Which accelerator: asked of a real boot, once."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from netlab.errors import LaunchError
from netlab.machine.accel import AccelChoice, probe
from netlab.machine.boot import Boot
from netlab.process import Process, ServedFolder

BOOT = Boot(kernel="/nowhere/kernel")


class RefusingLauncher:
    """Counts what it is asked for, and starts nothing."""

    def __init__(self) -> None:
        self.asked = 0
        self.argv: Sequence[str] = ()

    async def launch(
        self,
        argv: Sequence[str],
        *,
        descriptors: Mapping[int, int],
        taps: Mapping[int, str] | None = None,
        folder: ServedFolder | None = None,
    ) -> Process:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        self.argv = argv
        raise LaunchError(
            f"{len(argv)} words, {len(descriptors)} descriptors, {taps}, {folder}: no"
        )


def make_public(path: Path) -> None:
    path.chmod(0o666)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """Something that opens like /dev/kvm."""
    path = tmp_path / "kvm"
    path.touch()
    return path


async def test_without_the_device_it_is_tcg_at_once(tmp_path: Path) -> None:
    launcher = RefusingLauncher()
    choice = await probe(launcher, BOOT, tmp_path, device=tmp_path / "none")
    assert choice.accel == "tcg"
    assert choice.reason.startswith("there is no ")
    assert launcher.asked == 0


async def test_what_is_tried_is_a_machine_of_the_hosts_own_architecture(
    tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = RefusingLauncher()
    monkeypatch.setattr("netlab.machine.accel.host_arch", lambda: "aarch64")
    await probe(launcher, BOOT, tmp_path, device=device)
    assert launcher.argv[0].endswith("qemu-system-aarch64")
    assert "virt,gic-version=max" in launcher.argv
    monkeypatch.setattr("netlab.machine.accel.host_arch", lambda: "s390x")
    choice = await probe(launcher, BOOT, tmp_path, device=device)
    assert choice.reason == "there is no image for s390x to try KVM with"
    assert launcher.asked == 1


async def test_the_answer_is_remembered_until_its_reasons_change(
    tmp_path: Path, device: Path
) -> None:
    launcher = RefusingLauncher()
    first = await probe(launcher, BOOT, tmp_path / "cache", device=device)
    assert first.accel == "tcg"
    assert first.reason.startswith("KVM does not work here: ")
    assert await probe(launcher, BOOT, tmp_path / "cache", device=device) == first
    assert launcher.asked == 1
    make_public(device)
    await probe(launcher, BOOT, tmp_path / "cache", device=device)
    assert launcher.asked == 2


async def test_a_remembered_yes_is_believed(tmp_path: Path, device: Path) -> None:
    launcher = RefusingLauncher()
    await probe(launcher, BOOT, tmp_path, device=device)
    record: dict[str, Any] = json.loads((tmp_path / "accel.json").read_text())
    (tmp_path / "accel.json").write_text(json.dumps({**record, "accel": "kvm", "reason": "fine"}))
    choice = await probe(launcher, BOOT, tmp_path, device=device)
    assert choice == AccelChoice(accel="kvm", reason="fine")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"accel": "hvf", "reason": ""}', "\0"])
async def test_a_spoilt_memory_is_asked_anew_and_replaced(
    tmp_path: Path, device: Path, content: str
) -> None:
    (tmp_path / "accel.json").write_text(content)
    launcher = RefusingLauncher()
    await probe(launcher, BOOT, tmp_path, device=device)
    assert launcher.asked == 1
    assert json.loads((tmp_path / "accel.json").read_text())["accel"] == "tcg"
    assert sorted(names(tmp_path)) == ["accel.json", "kvm"]


async def test_a_memory_that_cannot_be_kept_is_no_error(tmp_path: Path, device: Path) -> None:
    (tmp_path / "file").touch()
    choice = await probe(RefusingLauncher(), BOOT, tmp_path / "file" / "cache", device=device)
    assert choice.accel == "tcg"


@pytest.mark.machines
async def test_the_probe_says_kvm_only_of_a_guest_that_ran(
    tmp_path: Path, boot: Boot, launcher: Any
) -> None:
    started = trio.current_time()
    choice = await probe(launcher, boot, tmp_path)
    assert trio.current_time() - started < 10
    assert choice.reason
    if choice.accel == "kvm":
        assert choice.reason == "a guest under KVM got to userspace"
    again = trio.current_time()
    assert await probe(launcher, boot, tmp_path) == choice
    assert trio.current_time() - again < 0.5
