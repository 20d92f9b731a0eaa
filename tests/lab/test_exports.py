"""`netlab export` of a lab that is up, as a whole: done, interrupted, failed.

Whatever becomes of it, QEMU has nothing of it afterwards, the folder and the temporary folder have
nothing, and the guests go on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from netlab.errors import AgentError, WaitError
from netlab.image.bootdisk import write_configuration, write_disk
from netlab.image.store import open_store
from netlab.lab.folders import lab_folders
from netlab.lab.remote import LET_GO_LIMIT, open_remote
from netlab.testing import LabDriver
from netlab.testing.waiting import Seen, make_limit, poll
from netlab.vma import open_archive
from tests.lab.conftest import Home
from tests.proxmox.serving import serve

pytestmark = pytest.mark.machines

# What lives in memory has to be packed for an export, which takes its time: one node does.
TEXT = """\
name: held
groups:
  system:
    image: none
    arch: x86_64
    memory: 256
    configure: false
    disk: {file: system.raw, format: raw}
    disks: [{size: 64, serial: data}]
nodes:
  disk: {id: 1, groups: system}
  other: {id: 2, groups: system}
  memory: {id: 3, vlans: [5, 6]}
"""
FILLED = {"disk": 24, "other": 1}
"""MiB of each second disk that no compression makes smaller."""

DATA = "/dev/vdb"

SLOW = ("--compress", "zstd:9")
"""So that there is a middle of it."""

WITHIN = 120.0


def test_an_export_leaves_nothing_whatever_becomes_of_it(
    home: Home, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "held.yaml").write_text(TEXT)
    trio.run(write_system, tmp_path / "system.raw")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    home.environment["TMPDIR"] = str(temporary)
    for variable in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, home.environment[variable])
    home.run("up", str(tmp_path / "held.yaml"))
    digests: dict[str, str] = {}
    for name, count in FILLED.items():
        fill = f"head -c {count << 20} /dev/urandom >{DATA}; sync; sha256sum {DATA}"
        filled = home.run("exec", name, "--", "sh", "-c", fill)
        digests[name] = filled.stdout.split()[0]
    before = trio.run(list_leftovers)
    trio.run(check_verb, tmp_path / "verb")
    check_push(home, tmp_path, digests["other"])
    check_interrupted(home, tmp_path / "dump")
    check_full(home, small)
    assert trio.run(list_leftovers) == before
    check_killed(home, tmp_path / "killed")
    trio.run(wait_for_the_lab, before, temporary)
    check_death(home, tmp_path / "dump")
    assert list(temporary.iterdir()) == []


async def write_system(path: Path) -> None:
    """Make a disk that starts by itself."""
    store = open_store()
    image = await store.ensure("micro")
    await write_disk(
        path,
        await store.ensure_loader(),
        identity=uuid.UUID("3b1c5d0e-7a55-4d54-8d0e-5f8f3f6b9a01"),
        configuration=write_configuration(kernel="/kernel", initrd="/initrd", append=image.append),
        files={"kernel": image.packed_kernel, "initrd": image.initrd},
    )


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
            written = await node.execute(("sh", "-c", "head -c 1 /proc/mounts >/dev/null; echo on"))
            found[name] = (
                sorted(block["node-name"] for block in blocks),
                [await node.qmp(query) for query in queries],
                files,
                written.stdout,
            )
    return found


async def wait_for_the_lab(wanted: dict[str, object], temporary: Path) -> None:
    """Wait until a lab whose export has gone has taken everything back.

    What that had made of a guest's memory is left: nobody was there to remove it.
    """

    async def look() -> Seen[trio.Path]:
        found, folders = await list_leftovers(), list(await trio.Path(temporary).iterdir())
        if found == wanted and len(folders) == 1:
            return Seen(value=folders[0])
        return Seen(instead=f"{found} {folders}")

    shutil.rmtree(await poll("the lab held something still", look, make_limit(WITHIN)))


async def check_verb(folder: Path) -> None:
    """A test's verb on a lab of another process; out of time, it says how far it was."""
    async with open_remote(lab_folders("held")) as remote:
        lab = LabDriver(remote)
        with pytest.raises(WaitError, match=r"^the export had not ended within 0\.2 s: "):
            await lab.export(folder, timeout=0.2)
        assert not await trio.Path(folder).exists()
        await check_a_guest_that_stands_still(lab, folder)
        await lab["memory"].block("eth2")
        export = await lab.export(folder, "memory", vmid=321, compress="none", notes="mine")
        await lab["memory"].unblock("eth2")
    (backup,) = export.backups
    assert (backup.node, backup.vmid) == ("memory", 321)
    assert backup.archive.with_name(f"{backup.archive.name}.notes").read_text() == "mine"
    log = backup.archive.with_suffix(".log").read_text()
    assert "INFO: its root, which is in memory, was read file by file after that" in log
    async with open_archive(str(backup.archive)) as archive:
        written = archive.configs["qemu-server.conf"].decode()
    assert "name: memory\n" in written
    cards = [line for line in written.splitlines() if line.startswith("net")]
    assert ["link_down=1" in card for card in cards] == [False, True]


async def check_a_guest_that_stands_still(lab: LabDriver, folder: Path) -> None:
    """What only a guest can hand out is not waited for without an end."""
    await lab["memory"].pause()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("netlab.proxmox.holding.ANSWER_LIMIT", 1)
        with pytest.raises(AgentError, match=r"memory: its agent has not answered for 1 s, .*root"):
            await lab.export(folder, "disk", "memory")
    await lab["memory"].resume()
    assert not await trio.Path(folder).exists()


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
        flat.write_bytes(serving.inside.contents["netlab-300-virtio1.qcow2"])
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", flat, raw], check=True)
    assert hashlib.sha256(raw.read_bytes()).hexdigest() == digest


@contextmanager
def started(home: Home, folder: Path, *nodes: str) -> Generator[subprocess.Popen[str]]:
    """Start an export, and yield it in the middle of the last node's."""
    process = home.start("export", "held", *nodes, "-o", str(folder), *SLOW, "-f", "json")
    assert process.stdout is not None
    try:
        for line in process.stdout:
            record: dict[str, Any] = json.loads(line)
            if record["event"] == "progress" and record["node"] == nodes[-1]:
                break
        yield process
    finally:
        process.kill()
        process.communicate()


def check_interrupted(home: Home, folder: Path) -> None:
    """The archive that was complete goes with the other."""
    with started(home, folder, "other", "disk") as process:
        assert len(list(folder.glob("vzdump-*.vma.zst"))) == 1
        process.send_signal(signal.SIGINT)
        # Before anybody gives up on anybody.
        _, said = process.communicate(timeout=LET_GO_LIMIT / 2)
    assert (process.returncode, said) == (130, "netlab: interrupted\n")
    assert not folder.exists()


def check_killed(home: Home, folder: Path) -> None:
    """Nothing in the folder has the name of an archive: nobody restores a half of one."""
    with started(home, folder, "other") as process:
        process.kill()
        process.wait(WITHIN)
    left = [path.name for path in folder.iterdir()]
    assert left
    assert all(name.startswith(".") for name in left)


def check_full(home: Home, folder: Path) -> None:
    words = ("export", "held", "disk", "-o", str(folder), "--compress", "none")
    done = home.run(*words, status=3)
    assert "No space left on device" in done.stderr
    assert list(folder.iterdir()) == []


def check_death(home: Home, folder: Path) -> None:
    nodes = home.status("--name", "held")["nodes"]
    (pid,) = (node["pid"] for node in nodes if node["name"] == "disk")
    with started(home, folder, "disk") as process:
        os.kill(pid, signal.SIGKILL)
        _, said = process.communicate(timeout=WITHIN)
    assert process.returncode == 4, said
    assert said.startswith("netlab: disk: its disk could not be read to the end")
    assert not folder.exists()
    home.run("exec", "other", "--", "sh", "-c", f"echo on >{DATA}; sync")
