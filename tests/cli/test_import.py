"""`netlab import`: backups become a topology, and what it cannot say is told with its line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
import trio

from netlab.image.lock import try_lock
from netlab.vma import Contents, create_archive, open_disk
from tests.cli.conftest import NETLAB, Shell

CONFIGURATION = """\
agent: 1
name: web
net0: virtio=BC:24:11:00:00:01,bridge=vmbr0,tag=30
scsi0: local-lvm:vm-100-disk-0,discard=on,serial=root,size=1M
scsihw: virtio-scsi-single
usb0: host=1234:5678
#qmdump#map:scsi0:drive-scsi0:local-lvm:raw:
"""
CONTENT = os.urandom(1 << 20)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    disk, path = tmp_path / "disk", tmp_path / "vzdump-qemu-100-2026_01_02-03_04_05.vma"
    disk.write_bytes(CONTENT)

    async def create() -> None:
        async with open_disk(disk) as source:
            configs = {"qemu-server.conf": CONFIGURATION.encode()}
            await create_archive(path, Contents(disks={"drive-scsi0": source}, configs=configs))

    trio.run(create)
    return path


def test_a_backup_becomes_a_topology_that_the_other_verbs_take(
    netlab: Shell, archive: Path
) -> None:
    done = netlab("import", archive.name, "-o", "web.yaml")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        "left out: qemu-server.conf:6:1: usb0: 'host=1234:5678' is left out",
        "web.yaml: web",
        "  netlab up web.yaml",
    ]
    assert netlab("validate", "web.yaml").returncode == 0
    plan = json.loads(netlab("plan", "web.yaml", "-f", "json").stdout)
    (node,) = plan["nodes"]
    (disk,) = node["disks"]
    assert (plan["lab"], node["interfaces"][0]["mac"]) == ("imported", "bc:24:11:00:00:01")
    assert (disk["bus"], disk["serial"], disk["discard"]) == ("scsi", "root", True)
    assert Path(disk["file"]).read_bytes() == CONTENT
    assert Path(disk["file"]).is_relative_to(netlab.folder / "cache" / "netlab" / "archives")
    # What it was made from is a node that can be exported again.
    done = netlab("export", "--image", "web.yaml#web", "-o", "dump", "-f", "json")
    (backup,) = json.loads(done.stdout.splitlines()[-1])["backups"]
    config = netlab("vma", "config", backup["archive"]).stdout
    assert "net0: virtio=BC:24:11:00:00:01,bridge=vmbr0,tag=30\n" in config


def test_programs_get_what_is_left_out_and_where(netlab: Shell, archive: Path) -> None:
    done = netlab("import", archive.name, "--name", "office", "-f", "json")
    told = json.loads(done.stdout)
    assert (told["topology"], told["nodes"], told["networks"]) == (
        None,
        ["web"],
        {"30": "vmbr0/30"},
    )
    (lost,) = told["left_out"]
    assert (lost["file"], lost["line"], lost["path"]) == ("qemu-server.conf", 6, "usb0")
    assert "name: office\n" in told["text"]


def test_without_a_file_the_topology_goes_to_standard_output(netlab: Shell, archive: Path) -> None:
    done = netlab("import", archive.name)
    assert done.stdout.startswith("# Made by netlab from machines of Proxmox.\n")
    (netlab.folder / "piped.yaml").write_text(done.stdout)
    assert netlab("validate", "piped.yaml").returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Missing argument"),
        (("nothing.vma",), "there is no such file"),
        (("disk",), "disk: "),
        (("-",), "a pipe has to be a file first"),
        (("{archive}", "--name", "No!"), "No!"),
        (("{archive}", "-o", "disk"), "disk is there already"),
        (("{archive}", "-o", "nowhere/a.yaml"), "nowhere is no folder"),
    ],
)
def test_wrong_words_are_told_and_nothing_is_written(
    netlab: Shell, archive: Path, words: tuple[str, ...], said: str
) -> None:
    done = netlab("import", *(word.format(archive=archive.name) for word in words))
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (netlab.folder / "cache").exists()
    assert (netlab.folder / "disk").read_bytes() == CONTENT


def test_files_that_cannot_be_looked_at_are_told(netlab: Shell, archive: Path) -> None:
    long = f"{'x' * 300}.vma"
    for words in ((long,), (archive.name, "-o", f"{long}.yaml")):
        done = netlab("import", *words)
        assert done.returncode == 3
        assert "File name too long" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_import_that_is_told_to_end_does_so_in_order(
    netlab: Shell, archive: Path, number: signal.Signals
) -> None:
    store = netlab.folder / "cache" / "netlab" / "archives"
    store.mkdir(parents=True)

    # Who waits for the lock is in the middle of it, for as long as we like.
    descriptor = try_lock(store / "lock")
    assert descriptor is not None
    # Under nohup it would inherit that SIGHUP means nothing.
    words = ["env", f"--default-signal={number.value}", NETLAB]
    with subprocess.Popen(
        [*words, "import", archive.name, "-o", "web.yaml"],
        cwd=netlab.folder,
        env=netlab.environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "waiting for another import" in process.stderr.readline()
        process.send_signal(number)
        said = process.stderr.read()
    os.close(descriptor)
    assert (process.returncode, said) == (130, "netlab: interrupted\n")
    assert not (netlab.folder / "web.yaml").exists()
    assert list((store / "tmp").iterdir()) == []
