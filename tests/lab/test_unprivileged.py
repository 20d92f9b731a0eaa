"""The whole job as a real user without any privilege, and in a container without any."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from platformdirs import PlatformDirs

from tests.conftest import install_for_everybody
from tests.image.disks import read_disk
from tests.lab.conftest import list_processes

# Who may open /dev/net/tun is changed meanwhile.
pytestmark = [pytest.mark.machines, pytest.mark.xdist_group("tun")]

USER = 64321
"""A uid that nobody has."""

NETLAB = (str(Path(sys.executable).resolve()), "-m", "netlab.cli.main")

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="becoming another user needs root; the rest is run"
)

CONTAINER = """\
set -eu
mkdir "$HOME/dev" "$HOME/dump"
for each in full null random urandom zero; do
    touch "$HOME/dev/$each"
    mount --bind "/dev/$each" "$HOME/dev/$each"
done
mount --rbind "$HOME/dev" /dev
mount -t tmpfs none "$HOME/dump"
echo 0 >/proc/sys/user/max_user_namespaces
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all sh -euc "$0" sh "$@"
"""
"""What a container without privileges has: few devices, no capability, no namespaces to make."""

EXPORT = """\
grep -q 'CapEff:[^1-9a-f]*$' /proc/self/status
if unshare --user true 2>/dev/null; then exit 101; fi
if [ -e /dev/kvm ] || [ -e /dev/net ]; then exit 102; fi
"$@" export --image "$TOPOLOGY#a" -o "$HOME/dump" --vmid 123 --compress zstd:1
"$@" vma verify "$HOME"/dump/vzdump-qemu-123-*.vma.zst
"$@" vma config "$HOME"/dump/vzdump-qemu-123-*.vma.zst
"""

BUILD_AND_EXPORT = """\
if unshare --user true 2>/dev/null; then exit 101; fi
test "$(wc -l </proc/self/uid_map)" = 1
"$@" export --image debian -o "$HOME/dump" --vmid 124 --compress zstd:1
"$@" vma verify "$HOME"/dump/vzdump-qemu-124-*.vma.zst
"$@" vma extract "$HOME"/dump/vzdump-qemu-124-*.vma.zst "$HOME/disks"
"""


@contextmanager
def open_tun() -> Generator[None]:
    """Make /dev/net/tun what usual distributions have: open to everybody. Put back afterwards."""
    device = Path("/dev/net/tun")
    with Path("/run/lock/netlab-test-tun").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mode = device.stat().st_mode & 0o777
        device.chmod(0o666)
        try:
            yield
        finally:
            device.chmod(mode)


def make_home(folder: Path, *, images: bool) -> dict[str, str]:
    """Make the user's home, with the images that are built already; return the environment."""
    home = folder / "home"
    store = PlatformDirs("netlab", appauthor=False).user_cache_path
    if images and store.exists():
        shutil.copytree(store, home / "cache/netlab", symlinks=True)
    (home / "run").mkdir(mode=0o700, parents=True)
    for path in (home, *home.rglob("*")):
        os.chown(path, USER, USER, follow_symlinks=False)
    return {
        "HOME": str(home),
        "PATH": os.defpath,
        "PYTHONPATH": str(folder / "packages"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_RUNTIME_DIR": str(home / "run"),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "LANG": "C.UTF-8",
    }


def make_folders(home: Path) -> str:
    """Make folders that nobody but the user can look into; return the key that shares them."""
    for name in ("kept", "written"):
        (home / name).mkdir(mode=0o700)
        os.chown(home / name, USER, USER)
    (home / "kept" / "own").write_text("own")
    os.chown(home / "kept" / "own", USER, USER)
    writable = f"{{source: {home}/written, target: /mnt/written, writable: true}}"
    return f"shares: ['{home}/kept:/mnt/kept', {writable}]"


@dataclass(frozen=True)
class User:
    """A user without privileges, who has netlab and a home."""

    environment: dict[str, str]

    @property
    def home(self) -> Path:
        return Path(self.environment["HOME"])

    def run(
        self, *words: str, program: Sequence[str] = NETLAB, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run netlab, or a program that does, to its success."""
        done = subprocess.run(
            [*program, *words],
            env={**self.environment, **environment},
            cwd="/",
            user=USER,
            group=USER,
            extra_groups=(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def run_contained(self, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a shell's script in a container, with netlab's command line as its arguments."""
        program = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", CONTAINER, script)
        return self.run(*NETLAB, program=program, **environment)


@contextmanager
def open_user(*, images: bool) -> Generator[User]:
    """Have a user, with or without the images that there are already."""
    with tempfile.TemporaryDirectory(prefix="netlab-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        install_for_everybody(folder)
        yield User(make_home(folder, images=images))


@needs_root
def test_a_user_without_privileges_has_a_lab(pair: Path) -> None:
    with open_user(images=True) as user, open_tun():
        topology = user.home.parent / "pair.yaml"
        shared = make_folders(user.home)
        topology.write_text(pair.read_text().replace("a: {id: 1}", f"a: {{id: 1, {shared}}}"))
        topology.chmod(0o644)

        marker = f"HOME={user.home}"
        user.run("up", str(topology))
        owners = {Path(f"/proc/{each.pid}").stat().st_uid for each in list_processes(marker)}
        assert owners == {USER}
        user.run("exec", "a", "--", "ping", "-c1", "b")
        assert user.run("exec", "a", "--", "hostname").stdout == "a\n"
        copied = "! touch /mnt/kept/x && cp /mnt/kept/own /mnt/written"
        user.run("exec", "a", "--", "sh", "-c", copied)
        made = user.home / "written/own"
        assert (made.read_text(), made.stat().st_uid) == ("own", USER)
        user.run("down", "-y")
        assert list_processes(marker) == set()

        exported = user.run_contained(EXPORT, TOPOLOGY=str(topology))
        assert "name: a\n" in exported.stdout
        assert "scsi0: " in exported.stdout


@needs_root
def test_a_container_with_a_single_user_builds_a_system_and_exports_it() -> None:
    with open_user(images=False) as user:
        user.run_contained(BUILD_AND_EXPORT)
        # Packages give files to users whom nobody has there.
        shadow = read_disk(user.home / "disks/disk-drive-virtio0.raw", user.home)(
            "stat /etc/shadow"
        )
        assert re.search(r"Mode: +0640 ", shadow)
        assert re.search(r"User: +0 +Group: +42 ", shadow)
