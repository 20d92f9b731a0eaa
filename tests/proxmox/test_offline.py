"""Files written into a disk that nobody runs: where a guest would have put them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from netlab.errors import ImageError, InputError
from netlab.plan.model import FilePlan
from netlab.proxmox.offline import write_into_disk

MIB = 1 << 20
LONG = "/".join(["deep"] * 20)
"""A target that no inode has room for."""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk with a root partition of 8 MiB and the links that a system has, made without root."""
    tree, path = tmp_path / "tree", tmp_path / "disk"
    for folder in ("etc", "run", "usr/bin", "var", LONG):
        (tree / folder).mkdir(parents=True)
    links = {
        "bin": "usr/bin",
        "long": f"/{LONG}",
        "round": "/round/and/round",
        "var/lock": "/run/lock",
        "var/run": "../run",
        "outside": "../../../../../etc",
        "etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf",
        "etc/name": "hostname",
    }
    for link, target in links.items():
        (tree / link).symlink_to(target)
    (tree / "etc" / "hostname").write_text("before\n")
    path.write_bytes(b"")
    os.truncate(path, 10 * MIB)
    table = b"label: gpt\nstart=2048, size=16384, name=root\n"
    subprocess.run(["sfdisk", "-q", str(path)], input=table, check=True)
    words = ["mke2fs", "-q", "-F", "-t", "ext4", "-d", str(tree), "-E", f"offset={MIB}"]
    subprocess.run([*words, str(path), "8192k"], check=True, capture_output=True)
    return path


def file(path: str, content: str = "new\n", mode: int = 0o644) -> FilePlan:
    return FilePlan(path=path, content=content, encoding="utf-8", mode=mode)


def ask(disk: Path, command: str) -> str:
    words = ["debugfs", "-R", command, f"{disk}?offset={MIB}"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def content(disk: Path) -> bytes:
    return disk.read_bytes()


def check_file_system(disk: Path) -> None:
    subprocess.run(["e2fsck", "-fn", f"{disk}?offset={MIB}"], check=True, capture_output=True)


async def test_links_are_followed_as_a_guest_follows_them(disk: Path) -> None:
    places = {
        "/bin/hello": "/usr/bin/hello",
        "/var/run/x": "/run/x",
        "/var/lock/a/b": "/run/lock/a/b",
        "/long/file": f"/{LONG}/file",
        "/outside/in": "/etc/in",
        "/etc/name": "/etc/hostname",
        "/new/folder/<2>": "/new/folder/<2>",
        "/top": "/top",
        # What is behind it would be hidden by what a system has in memory there.
        "/etc/resolv.conf": "/etc/resolv.conf",
    }
    await write_into_disk(disk, [file(path, f"{path}\n", 0o755) for path in places])
    for path, place in places.items():
        assert ask(disk, f'cat "{place}"') == f"{path}\n"
        said = ask(disk, f'stat "{place}"')
        assert "Type: regular" in said
        assert "Mode:  0755" in said
        assert "User:     0   Group:     0" in said
    kept = {link: ask(disk, f"stat {link}") for link in ("/bin", "/var/run", "/etc/name")}
    assert all("Type: symlink" in said for said in kept.values())
    check_file_system(disk)


async def test_the_later_of_two_files_at_one_place_wins(disk: Path) -> None:
    files = [file("/etc/hosts", "ours\n"), file("/bin/x", "first\n"), file("/usr/bin/x", "last\n")]
    await write_into_disk(disk, [*files, file("/etc/hosts", "theirs\n", 0o600)])
    assert ask(disk, "cat /etc/hosts") == "theirs\n"
    assert "Mode:  0600" in ask(disk, "stat /etc/hosts")
    assert ask(disk, "cat /usr/bin/x") == "last\n"
    check_file_system(disk)


async def test_paths_that_lead_nowhere_are_told_all_at_once(disk: Path) -> None:
    before = content(disk)
    paths = ["/round/x", "/etc/hostname/x", "/etc/name/x", "/bin", "/etc/fine"]
    with pytest.raises(InputError) as caught:
        await write_into_disk(disk, [file(path) for path in paths])
    assert str(caught.value).splitlines() == [
        "/round/x cannot be written: the link /round leads nowhere",
        "/etc/hostname/x cannot be written: /etc/hostname is no folder",
        "/etc/name/x cannot be written: /etc/hostname is no folder",
        "/bin cannot be written: it is a folder",
    ]
    assert content(disk) == before


async def test_a_file_that_has_no_room_is_told(disk: Path) -> None:
    with pytest.raises(ImageError, match="/etc/large could not be written"):
        await write_into_disk(disk, [file("/etc/large", json.dumps("x" * 9 * MIB))])
