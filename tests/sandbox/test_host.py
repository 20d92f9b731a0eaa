"""What the host lacks is said before anything starts, with what to do about it."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from netlab.errors import CapacityError, MissingFeatureError, MissingProgramError
from netlab.sandbox.host import SPARE_DESCRIPTORS, check_host, explain_refusal, init_command
from netlab.sandbox.sandbox import open_sandbox
from tests.sandbox.conftest import segment

ROOT = str(Path(__file__).parents[2])


async def test_a_program_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netlab.process.find_program", find_nothing)
    with pytest.raises(MissingProgramError, match="unshare is not installed"):
        async with open_sandbox([segment("wire")]):
            pass


def find_nothing(name: str) -> str:
    raise MissingProgramError(name, "util-linux")


def test_a_host_without_the_device_is_told_to_load_it(tmp_path: Path) -> None:
    with pytest.raises(MissingFeatureError, match="modprobe tun") as caught:
        check_host(2, tun=tmp_path / "tun")
    assert caught.value.exit_code == 3
    assert "No such file or directory" in caught.value.message


def test_a_device_without_a_driver_is_told_to_load_it(tmp_path: Path) -> None:
    device = tmp_path / "tun"
    with socket.socket(socket.AF_UNIX) as listener:
        # A socket cannot be opened (ENXIO), as a device without a driver cannot.
        listener.bind(str(device))
        with pytest.raises(MissingFeatureError, match="modprobe tun"):
            check_host(2, tun=device)


def test_more_taps_than_descriptors_are_refused_with_the_number_needed() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    check_host(hard - SPARE_DESCRIPTORS)
    with pytest.raises(CapacityError, match=f"to {hard + 1}\\)") as caught:
        check_host(hard - SPARE_DESCRIPTORS + 1)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("sysctl", "value", "said"),
    [
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=65536"),
        ("kernel/unprivileged_userns_clone", "0", "Debian's switch"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "Ubuntu's AppArmor"),
        ("kernel/unprivileged_userns_clone", "1", "container"),
    ],
)
def test_the_sysctl_that_forbids_namespaces_is_named(
    tmp_path: Path, sysctl: str, value: str, said: str
) -> None:
    path = tmp_path / sysctl
    path.parent.mkdir()
    path.write_text(value + "\n")
    assert said in explain_refusal(sysctls=tmp_path)


REFUSED = """
import sys, trio
sys.path += sys.argv[1:]
from netlab.errors import NetlabError
from netlab.sandbox.sandbox import open_sandbox

async def main():
    try:
        async with open_sandbox([]):
            print("opened")
    except NetlabError as error:
        print(type(error).__name__, error)

trio.run(main)
"""


def test_a_kernel_that_refuses_namespaces_is_quoted_and_the_switch_named() -> None:
    """In a user namespace of its own, where root has no right but to try, and the limit is 0."""
    command = [
        *("unshare", "--user", "--map-root-user", "sh", "-c"),
        'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"',
        *("sh", "setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"),
        *(sys.executable, "-c", REFUSED, ROOT, *filter(None, sys.path)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("MissingFeatureError the kernel refuses the lab's namespaces"), (
        done
    )
    assert "unshare failed: No space left on device" in done.stdout
    assert "sysctl user.max_user_namespaces=65536" in done.stdout


def test_the_first_process_takes_nothing_from_the_environment() -> None:
    command = init_command(7)
    assert command[command.index(sys.executable) + 1] == "-IS"
    assert "7" in command


def test_the_first_process_imports_little() -> None:
    """It starts with every lab: the standard library's heavy parts and pyroute2's stay out."""
    code = (
        "import sys; sys.path += sys.argv[1:]; import netlab.sandbox.init\n"
        "print(*sorted(set(sys.modules) & {'trio', 'asyncio', 'pydantic', 'subprocess', 'ssl'}))"
    )
    command = [sys.executable, "-IS", "-c", code, *init_command(0)[-2:]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


async def test_the_first_process_has_one_thread() -> None:
    async with open_sandbox([segment("lan", 20)]) as sandbox:
        await sandbox.verify_wiring()
        await sandbox.counters()
        assert os.listdir(f"/proc/{sandbox.pid}/task") == [str(sandbox.pid)]  # noqa: PTH208
