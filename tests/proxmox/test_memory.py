"""The root of a guest in memory on its way to a disk: in parts, no more than it can have."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest

from netlab.errors import CommandError, InputError
from netlab.image import lz4
from netlab.lab.access import NodeAccess
from netlab.plan.model import FilePlan, NodePlan
from netlab.proxmox.memory import identity_archive, write_root
from tests.image.initrds import parse
from tests.proxmox.plans import pair

MIB = 1 << 20


@dataclass
class Guest:
    """A node whose guest sends these chunks when it is asked for its files."""

    plan: NodePlan
    chunks: list[bytes]
    status: int = 0

    @asynccontextmanager
    async def open_stream(self, _argv: Sequence[str]) -> AsyncGenerator[Guest]:
        yield self

    async def send_eof(self) -> None:
        """Nothing is read there."""

    async def receive(self) -> bytes:
        return self.chunks.pop(0) if self.chunks else b""


def make_guest(chunks: list[bytes], *, memory: int = 64, status: int = 0) -> NodeAccess:
    plan = replace(pair().nodes[0], memory=memory)
    return cast("NodeAccess", Guest(plan, chunks, status))


@pytest.mark.parametrize("size", [0, 1, lz4.BLOCK - 1, lz4.BLOCK, lz4.BLOCK + 1, 3 * lz4.BLOCK + 7])
async def test_a_root_is_whole_whatever_parts_it_comes_in(tmp_path: Path, size: int) -> None:
    content = bytes(index * index % 251 for index in range(4099)) * (size // 4099 + 1)
    content = content[:size]
    chunks = [content[start : start + 100_003] for start in range(0, size, 100_003)]
    await write_root(make_guest(chunks), tmp_path / "root")
    assert lz4.decompress((tmp_path / "root").read_bytes()) == content
    assert (tmp_path / "root").read_bytes() == lz4.compress(content)


async def test_a_guest_that_sends_more_than_its_memory_is_not_listened_to(tmp_path: Path) -> None:
    guest = make_guest([bytes(MIB)] * 70, memory=64)
    with pytest.raises(CommandError, match="more than the 64 MiB of its memory"):
        await write_root(guest, tmp_path / "root")
    assert len(cast("Guest", guest).chunks) == 5


async def test_a_guest_that_cannot_pack_its_root_is_named(tmp_path: Path) -> None:
    guest = make_guest([b"half"], status=1)
    with pytest.raises(CommandError, match="its file system could not be read"):
        await write_root(guest, tmp_path / "root")


def own_files(*paths: str) -> NodePlan:
    files = [FilePlan(path=path, content=path, encoding="utf-8", mode=0o755) for path in paths]
    return replace(pair().nodes[0], files=tuple(files))


def test_files_lie_behind_the_links_of_the_image() -> None:
    places = {
        "/bin/hello": "usr/bin/hello",
        "/sbin/x": "usr/bin/x",
        "/var/run/x": "run/x",
        "/etc/hosts": "etc/hosts",
        "/srv/new/x": "srv/new/x",
        "/etc/mtab": "etc/mtab",
    }
    archive = identity_archive(own_files(*places), pair().hosts, ran=False)
    found = {entry.path: entry for entry in parse(archive)}
    assert {path: found[place].data.decode() for path, place in places.items()} == {
        path: path for path in places
    }
    # A folder there would take a link's place.
    assert found.keys().isdisjoint({"bin", "sbin", "var"})


def test_files_in_the_way_of_the_image_are_told_all_at_once() -> None:
    node = own_files("/etc/fstab/x", "/tmp", "/srv/x")
    with pytest.raises(InputError) as caught:
        identity_archive(node, pair().hosts, ran=False)
    assert str(caught.value).splitlines() == [
        "/etc/fstab/x cannot be written: /etc/fstab is no folder",
        "/tmp cannot be written: it is a folder",
    ]
