"""Folders of the host in a guest: read, written, and never more than that."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from netlab.errors import InputError, MachineError
from netlab.testing import NodeDriver
from tests.conftest import REFUSED
from tests.testing.conftest import live, open_driver

pytestmark = pytest.mark.machines

TEXT = """\
name: shares
nodes:
  sharing:
    id: 1
    shares:
      - {source: "FOLDER/read, only", target: /srv/www}
      - {source: FOLDER/written, target: "/mnt/w $(x)", writable: true, tag: mine}
    run: ["cat /srv/www/hello >'/mnt/w $(x)/copied'"]
"""
WRITTEN = "'/mnt/w $(x)'"


async def test_a_guest_has_folders_of_the_host_that_it_may_read_or_write(tmp_path: Path) -> None:
    kept, written = tmp_path / "read, only", tmp_path / "written"
    kept.mkdir()
    written.mkdir()
    (tmp_path / "secret").write_text("secret")
    (kept / "hello").write_text("hello")
    (kept / "program").write_text("#!/bin/sh\necho ran\n")
    (kept / "program").chmod(0o755)
    before = describe(kept)
    async with open_driver(TEXT.replace("FOLDER", str(tmp_path))) as lab:
        node = lab["sharing"]
        # Its first commands have them already.
        assert (written / "copied").read_text() == "hello"
        assert await node.succeed("/srv/www/program") == "ran\n"
        await check_what_is_read_only(node)
        assert describe(kept) == before
        await check_what_is_written(node, written)
        await check_links(node, tmp_path)
        await check_that_it_cannot_be_saved(node)
        await node.reboot()
        await node.succeed(f"rm {WRITTEN}/copied && ! rm /srv/www/hello")
        assert not (written / "copied").exists()
        assert describe(kept) == before
        await check_the_death_of_who_serves_it(node)


def describe(folder: Path) -> list[tuple[str, int, int, bytes]]:
    """Return all that a guest could have changed in a folder but for its links."""
    paths = [folder, *sorted(path for path in folder.iterdir() if not path.is_symlink())]
    return [
        (
            path.name,
            path.stat().st_mode,
            path.stat().st_uid,
            b"" if path.is_dir() else path.read_bytes(),
        )
        for path in paths
    ]


ALSO_REFUSED = """
try 'chmod 4777 program'
try 'chown 1 hello'
try 'mknod disk b 8 0'
"""


async def check_what_is_read_only(node: NodeDriver) -> None:
    """Root in the guest mounts it writable, and the host refuses all the same."""
    assert await node.succeed(REFUSED + ALSO_REFUSED) == ""
    await node.succeed("mount -o remount,rw /srv/www && grep -q 'www virtiofs rw' /proc/mounts")
    assert await node.succeed(REFUSED + ALSO_REFUSED) == ""


async def check_what_is_written(node: NodeDriver, folder: Path) -> None:
    """It is the user's who runs the lab, and each side sees at once what the other has written."""
    await node.succeed(f"cd {WRITTEN} && echo one >file && mkdir below && chmod 640 file")
    status = (folder / "file").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (*user(), 0o640)
    for text in ("two", "three and more", "4"):
        (folder / "file").write_text(text)
        command = f"cd {WRITTEN} && cat file && printf '{text}{text}' >below/file"
        assert await node.succeed(command) == text
        assert (folder / "below" / "file").read_text() == text * 2
    assert "Operation not permitted" in await node.fail(f"mknod {WRITTEN}/disk b 8 0 2>&1")


def user() -> tuple[int, int]:
    return os.getuid(), os.getgid()


async def check_links(node: NodeDriver, outside: Path) -> None:
    """A link that leads out of a folder leads to what the guest has there, in both directions."""
    (outside / "read, only" / "up").symlink_to("../secret")
    (outside / "read, only" / "far").symlink_to(outside / "secret")
    await node.succeed("cd /srv/www && ! cat up && ! cat far")
    await node.succeed(f"mkdir -p '{outside}' && echo own >'{outside}/secret'")
    assert await node.succeed("cat /srv/www/far") == "own\n"
    await node.succeed(f"cd {WRITTEN} && ln -s '{outside}/secret' made && echo new >made")
    assert (outside / "secret").read_text() == "secret"
    assert (outside / "written" / "made").readlink() == outside / "secret"


async def check_that_it_cannot_be_saved(node: NodeDriver) -> None:
    obstacles = "the share at /srv/www, the share at /mnt/w"
    with pytest.raises(InputError, match=f"^sharing cannot be saved .*: {obstacles}"):
        await live(node).qmp("migrate", uri="exec:cat >/dev/null")


async def check_the_death_of_who_serves_it(node: NodeDriver) -> None:
    [process, *_] = find_virtiofsd(live(node).machine.pid)
    os.kill(process, signal.SIGKILL)
    with pytest.raises(
        MachineError, match=r"the share at /.* is gone \(virtiofsd ended with status -9"
    ):
        await node.wait_until_fails("true")


def find_virtiofsd(machine: int) -> list[int]:
    """Return the process ids of the programs of that name beside a machine."""
    init = parent(machine)
    found = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in found if name(pid) == "virtiofsd" and parent(pid) == init]


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
