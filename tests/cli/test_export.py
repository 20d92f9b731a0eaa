"""`netlab export`: wrong words are told before anything is done, and a disk becomes a backup."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import trio

from netlab.vma import open_archive
from tests.cli.conftest import Here


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ring", "r1"), "where do the nodes go?"),
        (("ring", "r1", "--start"), "--start is about a host"),
        (("ring", "r1", "-o", "dump", "--token-file", "x"), "--token-file is about a host"),
        (("ring", "r1", "-o", "dump", "--to", "https://pve1", "--node", "n"), "two ways"),
        (("ring", "r1", "--to", "https://pve1"), "which node of the cluster?"),
        (("ring", "r1", "--to", "https://a", "--node", "n", "--compress", "none"), "about backups"),
        (("ring", "r1", "--to", "https://a", "--node", "n", "--dump-dir", "x"), "about backups"),
        (("ring", "r1", "--to", "https://a", "--node", "n"), "where is the API token?"),
        (("ring", "r1", "--to", "a", "--node", "n", "--dry-run"), "no address of Proxmox"),
        (("--image", "a.yaml", "-o", "dump"), "no such file"),
        (("-o", "dump"), "which lab?"),
        (("ring", "-o", "dump"), "which nodes?"),
        (("ring", "r1", "--lab", "-o", "dump"), "--lab is all nodes"),
        (("ring", "--image", "micro", "-o", "dump"), "--image is instead of"),
        (("--image", "micro", "--lab", "-o", "dump"), "--lab is all nodes of a lab"),
        (("--image", "nothing", "-o", "dump"), "neither an image"),
        (("--image", "no.qcow2", "-o", "dump"), "there is no such file"),
        (("--image", "micro", "-o", "dump", "--compress", "rar"), "compression 'rar'"),
        (("--image", "micro", "-o", "dump", "--compress", ""), "compression ''"),
        (("--image", f"{'a' * 300}.raw", "-o", "dump"), "it cannot be read: File name too long"),
        (("--image", "\udcff.raw", "-o", "dump"), "its name is not text"),
        (("--image", "micro", "-o", "dump", "--map", "lan"), "does not say where"),
        (("--image", "micro", "-o", "dump", "--vmid", "7"), "vmid"),
        (("nowhere", "r1", "-o", "dump"), "nowhere"),
    ],
)
def test_wrong_words_are_told_and_nothing_is_written(
    here: Here, words: tuple[str, ...], said: str
) -> None:
    done = here("export", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (here.folder / "dump").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--image", "long.yaml#a", "-o", "dump"), 2),
        (("--image", "disk.raw", "-o", "x" * 300), 3),
        (("x" * 300 + ".yaml", "a", "-o", "dump"), 2),
    ],
    ids=["disks", "folder", "topology"],
)
def test_files_that_cannot_be_looked_at_are_told(
    here: Here, words: tuple[str, ...], code: int
) -> None:
    long = "x" * 300
    node = {"image": "none", "arch": "x86_64", "configure": False}
    disks = {
        "disk": {"file": f"{long}.qcow2", "format": "qcow2"},
        "cdroms": [{"file": f"{long}.iso"}],
    }
    text = json.dumps({"name": "long", "nodes": {"a": {**node, **disks}}})
    (here.folder / "long.yaml").write_text(text)
    (here.folder / "disk.raw").write_bytes(bytes(1 << 16))
    done = here("export", *words)
    assert done.returncode == code
    assert "File name too long" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (here.folder / "dump").exists()


def test_a_disk_becomes_a_backup_with_what_lies_beside_it(here: Here, tmp_path: Path) -> None:
    disk, folder = tmp_path / "router.raw", tmp_path / "dump"
    content = os.urandom(1 << 20) + bytes(1 << 20)
    disk.write_bytes(content)
    words = ("export", "--image", str(disk), "-o", str(folder), "--vmid", "123", "--notes", "mine")
    done = here(*words, "-f", "json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["event"] == "done"
    (backup,) = last["backups"]
    archive = Path(backup["archive"])
    assert (backup["vmid"], archive.parent) == (123, folder)
    assert len(list(folder.iterdir())) == 3
    assert folder.joinpath(f"{archive.name}.notes").read_text() == "mine"

    async def look() -> None:
        async with open_archive(str(archive)) as opened:
            assert b"name: router\n" in opened.configs["qemu-server.conf"]
            await opened.extract(tmp_path / "out")

    trio.run(look)
    assert (tmp_path / "out" / "disk-drive-scsi0.raw").read_bytes() == content


@pytest.mark.parametrize(
    ("file", "node"),
    [
        ("ubuntu-24.04-server.raw", "ubuntu-24-04-server"),
        ("My Disk_1.img", "my-disk-1"),
        ("100.raw", "disk-100"),
        ("r[1-3].raw", "r-1-3"),
        ("\u00e4.raw", "disk"),
        ("${x}.raw", "x"),
    ],
)
def test_a_disk_may_be_called_as_no_node_can_be(here: Here, file: str, node: str) -> None:
    (here.folder / file).write_bytes(bytes(1 << 16))
    done = here("export", "--image", file, "-o", "dump", "-f", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1])["backups"][0]["node"] == node


@pytest.mark.parametrize("name", ["cloud.img", "cloud.raw"])
def test_a_disk_that_is_something_else_than_it_is_called_is_refused(here: Here, name: str) -> None:
    """Cloud images are qcow2 and often called .img: as raw disks they would start nothing."""
    words = ["qemu-img", "create", "-q", "-f", "qcow2", str(here.folder / name), "1M"]
    subprocess.run(words, check=True)
    done = here("export", "--image", name, "-o", "dump")
    assert done.returncode == 2
    assert "this is qcow2, whatever its name says" in done.stderr
    assert not (here.folder / "dump").exists()


def test_a_manifest_is_never_written_over_which_is_told_before_disks_are_read(here: Here) -> None:
    node = {"image": "none", "arch": "x86_64", "disk": {"file": "no.raw", "format": "raw"}}
    text = json.dumps({"name": "pair", "nodes": {"a": {**node, "configure": False}}})
    (here.folder / "pair.yaml").write_text(text)
    (here.folder / "dump").mkdir()
    (here.folder / "dump" / "pair.recipe.txt").write_text("mine")
    done = here("export", "--image", "pair.yaml", "--lab", "-o", "dump")
    assert done.returncode == 2
    assert "pair.recipe.txt is there already" in done.stderr
    # A disk that is not there would have been told first.
    assert "no.raw" not in done.stderr
    assert (here.folder / "dump" / "pair.recipe.txt").read_text() == "mine"


def test_the_lines_for_the_host_are_printed_for_each_backup(here: Here) -> None:
    (here.folder / "disk.raw").write_bytes(os.urandom(1 << 16))
    words = ("--vmid", "123", "--dump-dir", "/mnt/my pve/dump", "--storage", "zfs")
    done = here("export", "--image", "disk.raw", "-o", "dump", *words)
    (archive,) = (path.name for path in (here.folder / "dump").glob("*.vma.zst"))
    assert f"  scp dump/{archive} root@HOST:'/mnt/my pve/dump/'\n" in done.stderr
    line = f"  qmrestore '/mnt/my pve/dump/{archive}' 123 --storage zfs\n"
    assert done.stderr.endswith(line)


def test_what_is_no_folder_takes_no_backup(here: Here) -> None:
    (here.folder / "disk.raw").write_bytes(os.urandom(1 << 16))
    done = here("export", "--image", "disk.raw", "-o", "disk.raw")
    assert done.returncode == 2
    assert "disk.raw is no folder" in done.stderr


def test_folders_that_were_made_for_a_backup_that_failed_go_with_it(here: Here) -> None:
    (here.folder / "disk.raw").write_bytes(b"too small for an archive")
    assert here("export", "--image", "disk.raw", "-o", "a/b/c").returncode == 2
    assert not (here.folder / "a").exists()


def test_a_disk_that_stands_on_another_file_is_refused(here: Here, tmp_path: Path) -> None:
    """Which of the host's files are read is not the matter of what is on a disk."""
    secret, disk = tmp_path / "secret", tmp_path / "layer.qcow2"
    secret.write_bytes(bytes(1 << 20))
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(secret), "-F", "raw", str(disk)]
    subprocess.run(words, check=True)
    done = here("export", "--image", str(disk), "-o", "dump")
    assert done.returncode == 2
    assert "stands on another file" in done.stderr
    assert not (here.folder / "dump").exists()
