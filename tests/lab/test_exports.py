"""`netlab export` of a lab that is up, as a whole: done, interrupted, failed, killed.

Whatever becomes of it, QEMU has nothing of it afterwards, the folder and the temporary folder have
nothing, and the guests go on.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from netlab.errors import WaitError
from netlab.lab.folders import lab_folders
from netlab.lab.remote import open_remote
from netlab.testing import LabDriver
from netlab.vma import open_archive
from tests.lab.conftest import Home
from tests.proxmox.conftest import serve

pytestmark = pytest.mark.machines

TEXT = """\
name: held
nodes:
  disk: {id: 1, disks: [{size: 64, serial: data}]}
  other: {id: 2, disks: [{size: 64, serial: data}]}
"""
FILLED = {"disk": 24, "other": 1}
"""MiB of each disk that no compression makes smaller."""

SLOW = ("--compress", "zstd:19")
"""So that there is a middle of it."""

WITHIN = 60.0


@pytest.fixture
def small(tmp_path: Path) -> Generator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_an_export_leaves_nothing_whatever_becomes_of_it(
    home: Home, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "held.yaml").write_text(TEXT)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    home.environment["TMPDIR"] = str(temporary)
    for variable in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, home.environment[variable])
    home.run("up", str(tmp_path / "held.yaml"))
    digests: dict[str, str] = {}
    for name, count in FILLED.items():
        fill = f"head -c {count << 20} /dev/urandom >/dev/vda; sync; sha256sum /dev/vda"
        filled = home.run("exec", name, "--", "sh", "-c", fill)
        digests[name] = filled.stdout.split()[0]
    before = trio.run(list_leftovers)
    trio.run(check_verb, tmp_path / "verb")
    check_push(home, tmp_path, digests["other"])
    check_interrupted(home, tmp_path / "dump")
    check_full(home, small)
    check_killed(home, tmp_path / "killed", before)
    assert trio.run(list_leftovers) == before
    check_death(home, tmp_path / "dump")
    assert list(temporary.iterdir()) == []


async def list_leftovers() -> dict[str, object]:
    """Return what an export could leave in a node: block nodes, exports, jobs, files."""
    queries = ("query-block-exports", "query-jobs", "query-block-jobs")
    found: dict[str, object] = {}
    async with open_remote(lab_folders("held")) as lab:
        for name, node in lab.nodes.items():
            blocks = cast(
                "list[dict[str, str]]", await node.qmp("query-named-block-nodes", flat=True)
            )
            files = sorted(path.name for path in (lab.folder / "nodes" / name).iterdir())
            written = await node.execute(("sh", "-c", "head -c 1 /dev/vda >/dev/null; echo on"))
            found[name] = (
                sorted(block["node-name"] for block in blocks),
                [await node.qmp(query) for query in queries],
                files,
                written.stdout,
            )
    return found


async def check_verb(folder: Path) -> None:
    """A test's verb on a lab of another process; out of time, it says how far it was."""
    async with open_remote(lab_folders("held")) as remote:
        lab = LabDriver(remote)
        with pytest.raises(WaitError, match=r"^the export had not ended within 0\.2 s: "):
            await lab.export(folder, timeout=0.2, compress="zstd:19")
        assert not await trio.Path(folder).exists()
        export = await lab.export(folder, "other", vmid=321, compress="none", notes="mine")
    (backup,) = export.backups
    assert (backup.node, backup.vmid) == ("other", 321)
    assert backup.archive.with_name(f"{backup.archive.name}.notes").read_text() == "mine"
    async with open_archive(str(backup.archive)) as archive:
        assert b"name: other\n" in archive.configs["qemu-server.conf"]


def check_push(home: Home, folder: Path, digest: str) -> None:
    """What is uploaded is the disk of the running guest."""
    (folder / "certificate").mkdir()
    with serve(folder / "certificate") as serving:
        home.environment["NETLAB_PROXMOX_TOKEN"] = serving.host.token
        where = ("--to", serving.host.address, "--node", "pve1", "--vmid", "300")
        done = home.run(
            "export", "held", "other", *where, "--fingerprint", str(serving.host.fingerprint)
        )
        assert "the nodes stood still for" in done.stderr
        flat, raw = folder / "flat", folder / "raw"
        flat.write_bytes(serving.inside.contents["netlab-300-virtio0.qcow2"])
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", flat, raw], check=True)
    assert hashlib.sha256(raw.read_bytes()).hexdigest() == digest


def start(home: Home, folder: Path, *nodes: str) -> subprocess.Popen[str]:
    """Start an export, and return in the middle of the last node's."""
    process = home.start("export", "held", *nodes, "-o", str(folder), *SLOW, "-f", "json")
    assert process.stdout is not None
    for line in process.stdout:
        record: dict[str, Any] = json.loads(line)
        if record["event"] == "progress" and record["node"] == nodes[-1]:
            break
    assert process.poll() is None
    return process


def check_interrupted(home: Home, folder: Path) -> None:
    process = start(home, folder, "other", "disk")
    # The first one is complete.
    assert len(list(folder.glob("vzdump-*.vma.zst"))) == 1
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=WITHIN)
    assert (process.returncode, said) == (130, "netlab: interrupted\n")
    assert not folder.exists()


def check_full(home: Home, folder: Path) -> None:
    words = ("export", "held", "disk", "-o", str(folder), "--compress", "none")
    done = home.run(*words, status=3)
    assert "No space left on device" in done.stderr
    assert list(folder.iterdir()) == []


def check_killed(home: Home, folder: Path, before: dict[str, object]) -> None:
    """Nobody is left who could clear away: the lab does it."""
    process = start(home, folder, "disk")
    process.kill()
    process.communicate()
    deadline = time.monotonic() + WITHIN
    while trio.run(list_leftovers) != before and time.monotonic() < deadline:
        time.sleep(0.1)
    temporary = Path(home.environment["TMPDIR"])
    subprocess.run(["rm", "-rf", "--", *temporary.iterdir()], check=True)


def check_death(home: Home, folder: Path) -> None:
    """A machine that dies takes the export with it, and the archives that were complete."""
    nodes = home.status("--name", "held")["nodes"]
    (pid,) = (node["pid"] for node in nodes if node["name"] == "disk")
    process = start(home, folder, "other", "disk")
    os.kill(pid, signal.SIGKILL)
    _, said = process.communicate(timeout=WITHIN)
    assert process.returncode == 4, said
    assert said.startswith("netlab: disk: its disk could not be read to the end")
    assert not folder.exists()
    home.run("exec", "other", "--", "sh", "-c", "echo on >/dev/vda; sync")
