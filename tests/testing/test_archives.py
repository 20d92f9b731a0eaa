"""Folders out of a guest that sends what it should not: it is played."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import trio

from netlab.errors import MachineError
from netlab.lab.access import NodeAccess
from netlab.machine.agent import Result
from netlab.testing.transfer import copy_from

Member = tuple[str, bytes, str]
"""A member of an archive: its name, its type, and where it leads."""

LINK, FILE, HARD, FOLDER = tarfile.SYMTYPE, tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


class Guest:
    """A guest that sends an archive for any folder."""

    def __init__(self, archive: bytes) -> None:
        self.plan = SimpleNamespace(name="a")
        self._archive = archive

    async def execute(self, argv: Sequence[str]) -> Result:
        await trio.lowlevel.checkpoint()
        said = {"mktemp": "/tmp/netlab.x\n", "stat": f"{len(self._archive)} 644\n"}
        return Result(status=0, stdout=said.get(argv[0], "").encode(), stderr=b"")

    @asynccontextmanager
    async def open_file(self, _path: str, _mode: str) -> AsyncGenerator[AsyncIterator[bytes]]:
        async def read() -> AsyncGenerator[bytes]:
            await trio.lowlevel.checkpoint()
            yield self._archive

        yield read()


def pack(*members: Member) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, kind, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            member.mode = 0o755
            tar.addfile(member)
    return packed.getvalue()


def pack_header(**facts: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("a")
        member.pax_headers = {name.replace("_", "."): value for name, value in facts.items()}
        tar.addfile(member)
    return packed.getvalue()


def list_tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("kind", [LINK, FILE, HARD, FOLDER])
@pytest.mark.parametrize("name", ["out/new", "out/deep/new", "./out//new", "out"])
@pytest.mark.parametrize("link_first", [True, False])
async def test_nothing_is_made_through_a_link_that_a_guest_sends(
    tmp_path: Path, kind: bytes, name: str, link_first: bool
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link, other = ("out", LINK, str(outside)), (name, kind, "there")
    members = (link, other) if link_first else (other, link)
    archive = pack(("there", FILE, ""), *members)
    with pytest.raises(MachineError, match="a: what the guest sent of /evil cannot be unpacked"):
        await copy_from(cast("NodeAccess", Guest(archive)), "/evil", tmp_path / "target")
    assert list_tree(tmp_path) == ["outside"]


@pytest.mark.parametrize(
    "archive",
    [
        b"no archive" * 100,
        pack_header(GNU_sparse_major="0", GNU_sparse_map="a,b"),
        pack_header(path="a\0b"),
        pack(("a", LINK, "b"), ("a", LINK, "c")),
        pack(("a", HARD, "nowhere")),
    ],
)
async def test_an_archive_of_nonsense_is_the_guests_fault(tmp_path: Path, archive: bytes) -> None:
    with pytest.raises(MachineError, match="a: what the guest sent of /evil cannot be unpacked"):
        await copy_from(cast("NodeAccess", Guest(archive)), "/evil", tmp_path / "target")
    assert list_tree(tmp_path) == []
