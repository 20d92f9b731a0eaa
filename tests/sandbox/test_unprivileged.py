"""The same, as a user without any privilege."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

USER = 64322
"""A uid that nobody has."""

PACKAGES = (
    "netlab",
    "pyroute2",
    "trio",
    "outcome",
    "sniffio",
    "sortedcontainers",
    "attr",
    "attrs",
    "idna",
)
# Who may open /dev/net/tun is changed meanwhile.
pytestmark = pytest.mark.xdist_group("tun")

TUN = Path("/dev/net/tun")
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

PROGRAM = """
import json, os, signal, sys, trio
from netlab.errors import NetlabError
from netlab.plan.model import PortPlan, SegmentPlan
from netlab.process import ServedFolder
from netlab.sandbox.sandbox import open_sandbox

def port(tap):
    return PortPlan(tap=tap, altname=f"long.{tap}", wire="exact")

def segment(name, count):
    ports = tuple(port(f"{name}.{number}") for number in range(count))
    bridge = {"bridge": f"br-{name}", "altname": f"long.{name}", "mtu": 9000}
    return SegmentPlan(name=name, vlan=None, ports=ports, **bridge)

async def main():
    said = {"user": os.getuid()}
    try:
        async with open_sandbox([segment("wire", 2), segment("lan", 20)]) as sandbox:
            await sandbox.verify_wiring()
            await sandbox.set_port("wire.0", up=False)
            said["counters"] = len(await sandbox.counters())
            os.close(await sandbox.open_capture("br-lan"))
            command = ["sh", "-c", "exit 7"]
            process = await sandbox.launch(command, descriptors={}, taps={3: "wire.0"})
            said["status"] = await process.wait()
            command = ["grep", "-q", "tap\\|wire\\|lan", "/proc/net/if_inet6"]
            process = await sandbox.launch(command, descriptors={})
            said["speaks IPv6"] = await process.wait() == 0
            command = ["sh", "-c", "test -e /srv/netlab && ! touch /srv/file && test $(id -u) = 0"]
            folder = ServedFolder(path=os.environ["PYTHONPATH"], at="/srv", writable=False)
            process = await sandbox.launch(command, descriptors={}, folder=folder)
            said["serves"] = await process.wait() == 0
            process = await sandbox.launch(["sleep", "600"], descriptors={})
            said["owner"] = os.stat(f"/proc/{process.pid}").st_uid
            said["inside"] = open(f"/proc/{sandbox.pid}/uid_map").read().split()
            if sys.argv[1] == "kill":
                os.kill(sandbox.pid, signal.SIGKILL)
                await trio.sleep_forever()
    except NetlabError as error:
        said["error"] = [type(error).__name__, str(error)]
    print(json.dumps(said))

trio.run(main)
"""


@contextmanager
def tun_mode(mode: int) -> Generator[None]:
    """Set the mode of /dev/net/tun, alone among all tests that do; put it back afterwards."""
    with Path("/run/lock/netlab-test-tun").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = TUN.stat().st_mode & 0o777
        TUN.chmod(mode)
        try:
            yield
        finally:
            TUN.chmod(before)


@pytest.fixture(scope="module")
def packages() -> Generator[Path]:
    """Netlab and what the sandbox imports, where any user can read it."""
    with tempfile.TemporaryDirectory(prefix="sandbox-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for package in PACKAGES:
            spec = find_spec(package)
            assert spec is not None
            assert spec.origin is not None
            source = Path(spec.origin).parent
            shutil.copytree(source, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        yield folder


AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")
CONTAINER = """
mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"
"""
"""As containers do: sysctls cannot be written, and the kernel allows no fresh /proc over it."""


def run(packages: Path, mode: str = "plain", *, inside: Sequence[str] = ()) -> dict[str, Any]:
    done = subprocess.run(
        [*inside, *AS_USER, str(Path(sys.executable).resolve()), "-c", PROGRAM, mode],
        env={"PATH": PATH, "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


WELL = {
    "user": USER,
    "counters": 22,
    "status": 7,
    "speaks IPv6": False,
    "serves": True,
    "owner": USER,
    "inside": ["0", str(USER), "1"],
}


def test_a_user_without_privileges_has_a_sandbox(packages: Path) -> None:
    with tun_mode(0o666):
        assert run(packages) == WELL


def test_it_works_where_proc_is_read_only_and_none_can_be_mounted(packages: Path) -> None:
    with tun_mode(0o666):
        assert run(packages, inside=["unshare", "--mount", "sh", "-c", CONTAINER, "sh"]) == WELL


def test_a_users_sandbox_that_is_killed_is_told_as_such(packages: Path) -> None:
    with tun_mode(0o666):
        kind, message = run(packages, "kill")["error"]
    assert kind == "SandboxError"
    assert "was killed by SIGKILL, and everything" in message


def test_a_user_who_may_not_open_the_device_is_told_what_to_do(packages: Path) -> None:
    with tun_mode(0o600):
        kind, message = run(packages)["error"]
    assert kind == "MissingFeatureError"
    assert "/dev/net/tun cannot be opened: Permission denied" in message
    assert "chmod 0666 /dev/net/tun" in message
    assert "udev rule" in message
