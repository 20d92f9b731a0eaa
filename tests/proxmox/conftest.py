"""A host of Proxmox, and what is pushed to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from pathlib import Path

import pytest

from netlab.proxmox.push import Pushed
from netlab.proxmox.target import Source
from tests.lab.conftest import home
from tests.proxmox.pushes import flat_copies, image, push_one
from tests.proxmox.serving import Serving, serve

__all__ = ["home"]

SIZE, VARIABLES = 1 << 20, 540_672
"""Bytes of what is pushed."""


@pytest.fixture
def serving(tmp_path_factory: pytest.TempPathFactory) -> Generator[Serving]:
    with serve(tmp_path_factory.mktemp("certificate")) as host:
        yield host


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Source, ...]:
    """A disk that is an overlay over another, and variables of a firmware."""
    base, overlay, variables = (tmp_path / name for name in ("base", "over,lay", "variables"))
    base.write_bytes(b"content of the disk".ljust(SIZE, b"\0"))
    image("create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base), str(overlay))
    variables.write_bytes(b"v" * VARIABLES)
    return (
        Source("scsi0", overlay, "qcow2", SIZE),
        Source("efidisk0", variables, "raw", VARIABLES),
    )


@pytest.fixture
def make(
    serving: Serving, sources: tuple[Source, ...], tmp_path: Path
) -> Callable[[], Awaitable[Pushed]]:
    folder = tmp_path / "flat"
    folder.mkdir()

    async def run() -> Pushed:
        try:
            return await push_one(sources, serving, folder)
        finally:
            assert not flat_copies(folder)

    return run
