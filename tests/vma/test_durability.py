"""An archive has its name when it is on the disk; when that fails, nothing has."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from netlab.errors import StorageError
from netlab.vma import create_archive, open_archive
from tests.vma.archives import CONTENT, EXPECTED, MemoryDisk, contents, names_in


def watch(
    monkeypatch: pytest.MonkeyPatch, folder: Path, happened: Callable[[str, list[str]], None]
) -> None:
    """Tell, before it happens, of each sync, link and rename, with the names that are there."""
    sync, link, rename = os.fsync, os.link, os.rename

    def watch_sync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        if is_folder:
            assert os.path.samestat(os.fstat(descriptor), folder.stat())
        else:
            assert Path(f"/proc/self/fd/{descriptor}").read_bytes() == EXPECTED
        happened("sync folder" if is_folder else "sync file", names_in(folder))
        sync(descriptor)

    def watch_link(*paths: Path) -> None:
        happened("link", names_in(folder))
        link(*paths)

    def watch_rename(*paths: Path) -> None:
        happened("rename", names_in(folder))
        rename(*paths)

    monkeypatch.setattr(os, "fsync", watch_sync)
    monkeypatch.setattr(os, "link", watch_link)
    monkeypatch.setattr(os, "rename", watch_rename)


@pytest.mark.parametrize("links", [True, False])
async def test_a_file_is_on_the_disk_before_its_name_and_then_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    steps: list[tuple[str, bool]] = []

    def happened(step: str, names: list[str]) -> None:
        steps.append((step, "a.vma" in names))
        if step == "link" and not links:
            raise OSError(errno.EOPNOTSUPP, "no links here")

    watch(monkeypatch, tmp_path, happened)
    await create_archive(tmp_path / "a.vma", contents(MemoryDisk(CONTENT)))
    renaming = [] if links else [("rename", False)]
    assert steps == [("sync file", False), ("link", False), *renaming, ("sync folder", True)]
    assert names_in(tmp_path) == ["a.vma"]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("failing", ["sync file", "sync folder"])
async def test_what_could_not_be_brought_to_the_disk_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, links: bool
) -> None:
    def happened(step: str, _names: list[str]) -> None:
        if step == "link" and not links:
            raise OSError(errno.EOPNOTSUPP, "no links here")
        if step == failing:
            raise OSError(errno.EIO, "the disk is broken")

    watch(monkeypatch, tmp_path, happened)
    with pytest.raises(StorageError, match="the disk is broken") as caught:
        await create_archive(tmp_path / "a.vma", contents(MemoryDisk(CONTENT)))
    assert (caught.value.path, caught.value.errno) == (str(tmp_path / "a.vma"), errno.EIO)
    assert names_in(tmp_path) == []


async def test_another_file_that_has_the_name_by_then_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def happened(step: str, _names: list[str]) -> None:
        if step == "sync folder":
            (tmp_path / "a.vma").unlink()
            (tmp_path / "a.vma").write_text("mine")
            raise OSError(errno.EIO, "the disk is broken")

    watch(monkeypatch, tmp_path, happened)
    with pytest.raises(StorageError, match="the disk is broken"):
        await create_archive(tmp_path / "a.vma", contents(MemoryDisk(CONTENT)))
    assert (tmp_path / "a.vma").read_text() == "mine"


@pytest.mark.parametrize("letter", ["a", "ä"])
async def test_a_name_may_be_as_long_as_the_file_system_has_it(tmp_path: Path, letter: str) -> None:
    name = letter * (251 // len(letter.encode())) + ".vma"
    await create_archive(tmp_path / name, contents(MemoryDisk(CONTENT)))
    async with open_archive(tmp_path / name) as archive:
        await archive.extract(tmp_path / name.replace(".vma", ".out"))
    assert names_in(tmp_path) == [name.replace(".vma", ".out"), name]


WRITE = """
import sys, trio
from netlab.errors import StorageError
from netlab.vma import Contents, create_archive

try:
    trio.run(create_archive, sys.argv[1], Contents(configs={"a": b"b"}))
except StorageError as error:
    print(error)
"""


def test_a_folder_that_cannot_be_synced_is_told_before_anything_is_made(tmp_path: Path) -> None:
    """Somebody who may write there, but not read: a file could be made, and not its name kept."""
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o333)
    folder.chmod(0o333)
    done = subprocess.run(
        unprivileged(sys.executable, "-c", WRITE, "folder/a.vma"),
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == "folder/a.vma: Permission denied (errno 13)\n"
    folder.chmod(0o755)
    assert names_in(folder) == []


def unprivileged(*argv: str) -> list[str]:
    """Return a command that has no rights over files but those of everybody."""
    if os.geteuid() != 0:
        return list(argv)
    drop = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all")
    return [*drop, *argv]
