"""Files by ports and by the agent: no room, no ports, no time; nothing half-written is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from netlab.errors import CommandError, WaitError
from netlab.testing import NodeDriver, files
from tests.testing.conftest import open_driver

pytestmark = pytest.mark.machines

MIB = 1 << 20

# What comes in a second has to find room in memory, where the guest's files are.
ONE = "name: one\nnodes: {a: {id: 1, vlans: 7, memory: 512 MiB}}\n"


def make_file(path: Path, size: int) -> Path:
    path.write_bytes(os.urandom(size))
    return path


def count_pieces(node: NodeDriver) -> int:
    """How often the agent was asked to take or give a piece of a file."""
    said = (node.folder / "agent.log").read_text()
    return said.count("guest-file-write") + said.count("guest-file-read")


def take(path: Path) -> bytes:
    """Return what is in a file, which is gone then."""
    content = path.read_bytes()
    path.unlink()
    return content


async def check_way(node: NodeDriver, source: Path, *, by_agent: bool) -> None:
    before = count_pieces(node)
    back, expected = source.with_name("back"), await trio.Path(source).read_bytes()
    await node.copy_to(source, "/root/copy")
    await node.copy_from("/root/copy", back)
    assert take(back) == expected
    assert (count_pieces(node) > before) == by_agent
    await node.succeed("rm /root/copy")


async def check_full(node: NodeDriver, source: Path, kib: int) -> None:
    """A guest without room says so, keeps what it had, and nothing of the copy."""
    await node.succeed(
        f"mkdir /full; mount -t tmpfs -o size={kib}k none /full; echo old >/full/copy"
    )
    for name in ("copy", "new"):
        with pytest.raises(CommandError, match=f"a: /full/{name} cannot be written: .*No space"):
            await node.copy_to(source, f"/full/{name}")
    assert await node.succeed("ls -A /full; cat /full/copy") == "copy\nold\n"
    await node.succeed("umount /full; rmdir /full")


async def check_given_up(node: NodeDriver, folder: Path) -> None:
    long = folder / "long"
    with long.open("wb") as file:
        file.truncate(500 * MIB)
    with pytest.raises(WaitError, match="long was not in the guest within 1 s"):
        await node.copy_to(long, "/root/long", timeout=1)
    # What the guest's program had written goes with it, which may take longer than who waits.
    await node.wait_until_succeeds('test -z "$(ls -A /root)"')
    await node.succeed("truncate -s 500M /root/long")
    with pytest.raises(WaitError, match="/root/long was not on the host within 1 s"):
        await node.copy_from("/root/long", folder / "come", timeout=1)
    long.unlink()
    await node.succeed("rm /root/long")


async def check_targets(node: NodeDriver, source: Path) -> None:
    """A link leads to what is replaced, and what is no file is written as it is."""
    await node.succeed("echo old >/root/file; ln -s file /root/link")
    await node.copy_to(source, "/root/link")
    assert await node.succeed("readlink /root/link; stat -c %s /root/file") == f"file\n{MIB}\n"
    await node.copy_to(source, "/dev/null")
    assert await node.succeed("stat -c %F /dev/null") == "character special file\n"
    with pytest.raises(CommandError, match=r"/root cannot be written: .*directory"):
        await node.copy_to(source, "/root")
    await node.succeed("rm /root/file /root/link")


async def test_files_arrive_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = make_file(tmp_path / "small", 200_000), make_file(tmp_path / "large", MIB)
    async with open_driver(ONE) as lab:
        node = lab["a"]
        await check_way(node, small, by_agent=True)
        await check_way(node, large, by_agent=False)
        await check_full(node, small, 100)
        await check_full(node, large, 500)
        await check_targets(node, large)
        with trio.fail_after(60):
            await check_given_up(node, tmp_path)
        # A guest in which no port is to be found.
        await node.succeed("umount -l /sys")
        monkeypatch.setattr(files, "PORT_WAIT", 0.5)
        await check_way(node, large, by_agent=True)
        await check_full(node, large, 500)
    assert {path.name for path in tmp_path.iterdir()} == {"small", "large"}  # noqa: ASYNC240
