"""The whole job as a real user without any privilege, and in a container without any."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from platformdirs import PlatformDirs

from tests.conftest import install_for_everybody
from tests.lab.conftest import list_processes

# Who may open /dev/net/tun is changed meanwhile.
pytestmark = [pytest.mark.machines, pytest.mark.xdist_group("tun")]

USER = 64321
"""A uid that nobody has."""

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


def make_home(folder: Path) -> dict[str, str]:
    """Make the user's home, with the images that are built already; return the environment."""
    home = folder / "home"
    store = PlatformDirs("netlab", appauthor=False).user_cache_path
    if store.exists():
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


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root; the rest is run")
def test_a_user_without_privileges_has_a_lab(pair: Path) -> None:
    python = str(Path(sys.executable).resolve())
    with tempfile.TemporaryDirectory(prefix="netlab-test-") as name, open_tun():
        folder = Path(name)
        folder.chmod(0o755)
        install_for_everybody(folder)
        environment = make_home(folder)
        topology = folder / "pair.yaml"
        shared = make_folders(Path(environment["HOME"]))
        topology.write_text(pair.read_text().replace("a: {id: 1}", f"a: {{id: 1, {shared}}}"))
        topology.chmod(0o644)

        netlab_here = (python, "-m", "netlab.cli.main")

        def run(
            *words: str, program: Sequence[str] = netlab_here
        ) -> subprocess.CompletedProcess[str]:
            done = subprocess.run(
                [*program, *words],
                env={**environment, "TOPOLOGY": str(topology)},
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

        marker = f"HOME={environment['HOME']}"
        run("up", str(topology))
        owners = {Path(f"/proc/{each.pid}").stat().st_uid for each in list_processes(marker)}
        assert owners == {USER}
        run("exec", "a", "--", "ping", "-c1", "b")
        assert run("exec", "a", "--", "hostname").stdout == "a\n"
        run("exec", "a", "--", "sh", "-c", "! touch /mnt/kept/x && cp /mnt/kept/own /mnt/written")
        made = Path(environment["HOME"], "written/own")
        assert (made.read_text(), made.stat().st_uid) == ("own", USER)
        run("down", "-y")
        assert list_processes(marker) == set()

        container = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", CONTAINER)
        exported = run(*netlab_here, program=(*container, EXPORT))
        assert "name: a\n" in exported.stdout
        assert "scsi0: " in exported.stdout
