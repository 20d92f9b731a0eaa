"""The set-up behind scripts/netlab: what is missing is named, and nothing to do costs nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ("sh", "dirname", "cmp", "apt-get", "dpkg-deb", "unshare", "ip", "env", "flock", "cat")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH on which QEMU is not, for a user who is not root."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    (folder / "id").write_text("#!/bin/sh\necho 1000\n")
    (folder / "id").chmod(0o755)
    return folder


def run(tools: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts/netlab", *words],
        env={"PATH": str(tools), "HOME": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_user_without_root_is_told_the_exact_command_and_gets_3(tools: Path) -> None:
    done = run(tools, "version")
    assert (done.returncode, done.stdout) == (3, "")
    wanted = "sudo apt-get install -y --no-install-recommends qemu-system-x86 qemu-utils\n"
    assert done.stderr.endswith(f"    {wanted}")


def test_what_only_tests_need_is_asked_for_when_the_rest_is_there(tools: Path) -> None:
    install = [ROOT / "scripts/install", "--dev"]
    environment = {"PATH": str(tools), "HOME": str(tools)}
    first = subprocess.run(install, env=environment, capture_output=True, text=True, check=False)
    assert first.returncode == 3
    # Debian 12 has no package virtiofsd: it comes with QEMU there.
    assert first.stderr.endswith(" qemu-system-x86 qemu-utils\n")
    add_machines(tools)
    second = subprocess.run(install, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 3
    # Firmware is asked for by its file, and not as a program: the machine has it, or not.
    assert " tesseract-ocr mmdebstrap fakeroot fakechroot mtools" in second.stderr


def add_machines(tools: Path) -> None:
    for name in ("qemu-system-x86_64", "qemu-img"):
        (tools / name).symlink_to("/bin/true")


def test_nothing_to_do_goes_straight_to_netlab(tools: Path) -> None:
    add_machines(tools)
    done = run(tools, "version", "-f", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert '"netlab"' in done.stdout


def test_the_command_has_a_second_name_that_nobody_else_uses() -> None:
    second = Path(sys.executable).parent / "netlab-vm"
    done = subprocess.run([second, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: netlab-vm VERB")
