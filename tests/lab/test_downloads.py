"""A machine whose disks come from the net, by a real server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import trio

from netlab import open_lab, resolve
from netlab.errors import ImageError, InputError
from netlab.image.download import Downloads
from netlab.image.store import Store
from netlab.topology.load import loads

DATA = b"of the net".ljust(1 << 20, b"\0")
TEXT = """\
name: fetched
nodes:
  a:
    id: 1
    disks:
      - {{file: "{address}/net.raw", format: raw, digest: "sha256:{net}"}}
      - {{file: "{folder}/host.raw", format: raw, digest: "sha512:{host}"}}
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing."""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "net.raw").write_bytes(DATA)
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files of the net are kept."""
    folder = tmp_path / "downloads"
    monkeypatch.setattr(Store, "downloads", Downloads(folder))
    return folder


def write(tmp_path: Path, address: str, **digests: str) -> str:
    (tmp_path / "host.raw").write_bytes(DATA[::-1])
    right = {
        "net": hashlib.sha256(DATA).hexdigest(),
        "host": hashlib.sha512(DATA[::-1]).hexdigest(),
    }
    return TEXT.format(address=address, folder=tmp_path, **{**right, **digests})


@pytest.mark.machines
async def test_a_machine_has_the_disks_whose_digests_it_names(
    tmp_path: Path, address: str, downloads: Path
) -> None:
    plan = resolve(loads(write(tmp_path, address)))
    async with open_lab(plan) as lab:
        await lab.wait_ready()
        for device, data in (("vda", DATA), ("vdb", DATA[::-1])):
            words = ("sh", "-c", f"sha256sum </dev/{device}; echo x >/dev/{device}")
            told = await lab["a"].execute(words)
            assert told.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()
        said = [event.message for event in lab.events if event.kind == "image"]
        assert "download net.raw (100 %)" in said
    kept = trio.Path(downloads / f"sha256-{hashlib.sha256(DATA).hexdigest()}")
    assert await kept.read_bytes() == DATA


@pytest.mark.usefixtures("downloads")
async def test_files_that_are_something_else_start_nothing(tmp_path: Path, address: str) -> None:
    plan = resolve(loads(write(tmp_path, address, host="0" * 128)))
    with pytest.raises(InputError, match=r"host.raw: its digest is sha512:.*, not sha512:0{128}"):
        async with open_lab(plan):
            raise AssertionError("it was started")
    plan = resolve(loads(write(tmp_path, address, net="0" * 64)))
    with pytest.raises(ImageError, match="what came is not what was asked for"):
        async with open_lab(plan):
            raise AssertionError("it was started")
