from __future__ import annotations

import json
from pathlib import Path

import pytest

from netlab.cli.checks import (
    check_command,
    check_kvm,
    check_program,
    check_runtime_folder,
    check_tun,
    check_virtiofsd,
)
from netlab.machine.accel import LIMIT, AccelChoice, _circumstances, _remember
from tests.cli.conftest import NETLAB, Shell


def script(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "netlab"
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_doctor_speaks_of_everything_and_its_json_agrees_with_its_code(netlab: Shell) -> None:
    done = netlab("doctor", "-f", "json")
    checks = json.loads(done.stdout)
    assert {"python", "command", "qemu-system-x86_64", "namespaces", "tun", "kvm"} <= {
        check["name"] for check in checks
    }
    assert done.returncode == (3 if any(each["state"] == "missing" for each in checks) else 0)
    assert all(bool(check["fix"]) == (check["state"] != "ok") for check in checks)


def test_doctor_gives_3_and_the_command_when_a_program_is_missing(netlab: Shell) -> None:
    # sbin is always searched, and has none of these.
    done = netlab("doctor", PATH=str(netlab.folder))
    assert done.returncode == 3
    fix = "apt-get install --no-install-recommends qemu-system-x86"
    assert f"qemu-system-x86_64: {fix}" in done.stderr


def test_our_own_command_on_the_path_is_fine() -> None:
    assert check_command(str(NETLAB.parent)).state == "ok"


def test_another_netlab_before_ours_is_named(tmp_path: Path) -> None:
    other = script(tmp_path, "#!/usr/bin/python3\nimport netsim.cli\nnetsim.cli.lab_commands()\n")
    check = check_command(f"{tmp_path}:{NETLAB.parent}")
    assert check.state == "warning"
    assert check.detail == f"{other} is ipSpace netlab (networklab)"
    assert "netlab-vm" in check.fix
    script(tmp_path, "#!/bin/sh\necho hello\n")
    assert "is another program" in check_command(str(tmp_path)).detail


def test_no_netlab_on_the_path_is_told(tmp_path: Path) -> None:
    (tmp_path / "netlab").mkdir()
    check = check_command(f"{tmp_path}::/nowhere")
    assert (check.state, check.detail) == ("warning", "no netlab is on PATH")


async def test_a_program_that_fails_is_not_called_well() -> None:
    assert (await check_program("false", "missing")).state == "missing"
    assert (await check_program("no-such-program", "warning")).state == "warning"


def test_a_host_without_virtiofsd_is_told_what_needs_it_and_the_package() -> None:
    assert check_virtiofsd("/usr/libexec/virtiofsd").state == "ok"
    check = check_virtiofsd(None)
    assert (check.state, "shares" in check.detail) == ("warning", True)
    assert check.fix.endswith(" virtiofsd")


def test_tun_is_missing_when_it_is_not_there_or_no_device(tmp_path: Path) -> None:
    assert "modprobe tun" in check_tun(tmp_path / "tun").fix
    assert check_tun(Path("/dev/full")).state == "ok"
    assert check_tun(tmp_path).state == "missing"


def test_kvm_is_what_the_probe_remembers_of_this_very_host(tmp_path: Path) -> None:
    device, memory = Path("/dev/null"), tmp_path / "accel.json"
    assert check_kvm(tmp_path / "kvm", tmp_path).state == "warning"
    assert check_kvm(device, tmp_path).state == "ok"
    circumstances = _circumstances(device, LIMIT)
    _remember(memory, circumstances, AccelChoice(accel="tcg", reason="guests crawl"))
    check = check_kvm(device, tmp_path)
    assert check.state == "warning"
    assert "guests crawl" in check.detail
    _remember(memory, circumstances, AccelChoice(accel="kvm", reason="it boots"))
    assert check_kvm(device, tmp_path).detail == "works: it boots"
    # Another QEMU, another kernel: the answer is nobody's any more.
    _remember(
        memory, {**circumstances, "qemu": "other"}, AccelChoice(accel="kvm", reason="it boots")
    )
    assert "the first `netlab up` tries" in check_kvm(device, tmp_path).detail
    memory.write_text("{")
    assert check_kvm(device, tmp_path).state == "ok"


def test_the_runtime_folder_must_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert "takes its place" in check_runtime_folder().detail
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    assert check_runtime_folder().state == "missing"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert check_runtime_folder().state == "ok"
