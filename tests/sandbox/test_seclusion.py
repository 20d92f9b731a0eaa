"""A program that serves a folder of the host: that is all it has."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from netlab.errors import LaunchError
from netlab.process import ServedFolder
from netlab.sandbox.sandbox import open_sandbox
from tests.sandbox.conftest import segment

AT = "/srv"


async def run(folder: ServedFolder, script: str) -> tuple[int, list[str]]:
    """Run a script beside links; return its status and what it printed."""
    output = os.memfd_create("said")
    try:
        async with open_sandbox([segment("lan")]) as sandbox:
            process = await sandbox.launch(
                ["sh", "-c", script], descriptors={1: output, 2: output}, folder=folder
            )
            status = await process.wait()
        return status, os.pread(output, 65536, 0).decode().splitlines()
    finally:
        os.close(output)


async def test_it_sees_the_folder_in_the_place_of_another_and_is_root_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello\n")
    folder = ServedFolder(path=str(tmp_path), at=AT, writable=True)
    status, said = await run(
        folder, f"cat {AT}/file; id -u; echo new >{AT}/new; chown 7:8 {AT}/new"
    )
    assert (status, said) == (0, ["hello", "0"])
    made = (tmp_path / "new").stat()
    assert (made.st_uid, made.st_gid) == (7, 8)


async def test_what_is_read_only_cannot_be_made_writable_by_its_root(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("as it was")
    script = f"""
        echo no >{AT}/file; echo no >{AT}/new; rm {AT}/file; chmod 0 {AT}/file
        mount -o remount,bind,rw {AT}; mount -o remount,rw {AT}; umount {AT}
        mount --bind {AT} /mnt && mount -o remount,bind,rw /mnt && echo no >/mnt/new
        ls {AT}
    """
    folder = ServedFolder(path=str(tmp_path), at=AT, writable=False)
    _, said = await run(folder, script)
    assert said[-1] == "file"
    assert len([line for line in said if "Read-only" in line]) == 4
    assert (tmp_path / "file").read_text() == "as it was"


async def test_it_reaches_no_network_and_makes_no_device(tmp_path: Path) -> None:
    script = f"""
        tail -n +3 /proc/net/dev | cut -d: -f1
        nsenter --net=/proc/1/ns/net true && echo reached
        mknod {AT}/disk b 8 0 && echo made
    """
    folder = ServedFolder(path=str(tmp_path), at=AT, writable=True)
    _, said = await run(folder, script)
    assert said[0].strip() == "lo"
    assert not {"reached", "made"} & set(said)


async def test_it_may_have_as_many_files_open_as_the_host_lets_anybody(tmp_path: Path) -> None:
    folder = ServedFolder(path=str(tmp_path), at=AT, writable=False)
    _, said = await run(folder, "ulimit -Sn; ulimit -Hn")
    assert said == [str(resource.getrlimit(resource.RLIMIT_NOFILE)[1])] * 2


async def test_a_folder_that_cannot_be_served_is_named_with_the_reason(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    folder = ServedFolder(path=str(gone), at=AT, writable=False)
    with pytest.raises(LaunchError, match=f"{gone} cannot be shared: No such file or directory"):
        await run(folder, "true")
