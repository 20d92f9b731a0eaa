"""Files of the net, fetched from a real server that does what servers do."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import trio

from netlab.errors import CapacityError, ImageError
from netlab.image.download import Downloads, RemoteFile
from netlab.image.known import bring_files
from netlab.image.progress import Progress
from netlab.plan.resolve import resolve
from netlab.topology.load import loads

CONTENT = os.urandom(3 << 20) + b"end"
HALF = len(CONTENT) // 2


@dataclass
class Server:
    """A server with one file, and what it does wrong."""

    address: str
    content: bytes = CONTENT
    ranges: bool = True
    breaks: list[int] = field(default_factory=list[int])
    status: int = 200
    asked: list[str] = field(default_factory=list[str])

    def file(self, path: str = "disk.qcow2", content: bytes = CONTENT) -> RemoteFile:
        digest = hashlib.sha256(content).hexdigest()
        return RemoteFile(url=f"{self.address}/{path}", algorithm="sha256", digest=digest)


class Handler(BaseHTTPRequestHandler):
    served: Server

    def do_GET(self) -> None:
        served = self.served
        wanted = self.headers.get("Range", "") if served.ranges else ""
        served.asked.append(self.headers.get("Range", ""))
        if self.path == "/moved":
            self._answer(302, {"Location": "/disk.qcow2"})
        elif self.path == "/circle":
            self._answer(302, {"Location": "/circle"})
        elif served.status != 200:
            self._answer(served.status, {})
        elif not wanted:
            self._send(200, 0, {})
        else:
            self._send_range(int(wanted.removeprefix("bytes=").removesuffix("-")))

    def _send_range(self, begin: int) -> None:
        size = len(self.served.content)
        if begin >= size:
            self._answer(416, {"Content-Range": f"bytes */{size}"})
        else:
            self._send(206, begin, {"Content-Range": f"bytes {begin}-{size - 1}/{size}"})

    def _send(self, status: int, begin: int, headers: dict[str, str]) -> None:
        body = self.served.content[begin:]
        self._answer(status, headers, len(body))
        if self.served.breaks:
            body = body[: self.served.breaks.pop(0)]
        self.wfile.write(body)

    def _answer(self, status: int, headers: dict[str, str], length: int = 0) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    handler = type("OneFile", (Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        served = Server(f"http://127.0.0.1:{listening.server_port}")
        handler.served = served
        thread = Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield served
        listening.shutdown()
        thread.join()


@pytest.fixture
def downloads(tmp_path: Path) -> Downloads:
    return Downloads(tmp_path / "downloads")


def part(downloads: Downloads, file: RemoteFile) -> Path:
    path = downloads.path(file)
    return path.with_name(f"{path.name}.part")


async def test_a_file_is_fetched_once_and_only_read(server: Server, downloads: Downloads) -> None:
    told: list[Progress] = []
    path = await downloads.ensure(server.file("moved"), progress=told.append)
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o777 == 0o444
    assert told[-1] == Progress("check", len(CONTENT), len(CONTENT))
    assert Progress("download", len(CONTENT), len(CONTENT)) in told
    asked = len(server.asked)
    assert await downloads.ensure(server.file()) == path
    assert len(server.asked) == asked


async def test_several_who_want_it_at_once_fetch_it_once(
    server: Server, downloads: Downloads
) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(downloads.ensure, server.file())
    assert server.asked == [""]


async def test_a_connection_that_breaks_is_taken_up_again(
    server: Server, downloads: Downloads
) -> None:
    server.breaks = [HALF, 1 << 20, 0, 0]
    path = await downloads.ensure(server.file())
    assert path.read_bytes() == CONTENT
    more = f"bytes={HALF + (1 << 20)}-"
    assert server.asked == ["", f"bytes={HALF}-", more, more, more]


@pytest.mark.parametrize("ranges", [True, False])
async def test_what_an_earlier_run_has_brought_is_taken_up_again(
    server: Server, downloads: Downloads, ranges: bool
) -> None:
    file = server.file()
    server.ranges = ranges
    downloads.folder.mkdir()
    part(downloads, file).write_bytes(CONTENT[:HALF])
    assert (await downloads.ensure(file)).read_bytes() == CONTENT
    assert server.asked == [f"bytes={HALF}-"]


async def test_what_was_cancelled_goes_on_where_it_was(
    server: Server, downloads: Downloads
) -> None:
    file = server.file()
    with trio.CancelScope() as scope:

        def leave(progress: Progress) -> None:
            if progress.done > HALF // 2:
                scope.cancel()

        await downloads.ensure(file, progress=leave)
    assert scope.cancelled_caught
    there = part(downloads, file).stat().st_size
    assert there > HALF // 2
    assert (await downloads.ensure(file)).read_bytes() == CONTENT
    assert server.asked == ["", f"bytes={there}-"]


@pytest.mark.parametrize("there", [CONTENT, b"x" * HALF, CONTENT + b"too much"])
async def test_whatever_lies_there_the_right_file_comes_of_it(
    server: Server, downloads: Downloads, there: bytes
) -> None:
    file = server.file()
    downloads.folder.mkdir()
    part(downloads, file).write_bytes(there)
    assert (await downloads.ensure(file)).read_bytes() == CONTENT
    assert bool(server.asked) == (there != CONTENT)


async def test_a_file_with_another_digest_is_refused_and_gone(
    server: Server, downloads: Downloads
) -> None:
    server.content = b"something else"
    file = server.file()
    with pytest.raises(ImageError, match="what came is not what was asked for") as caught:
        await downloads.ensure(file)
    assert file.digest in str(caught.value.evidence)
    assert hashlib.sha256(server.content).hexdigest() in str(caught.value.evidence)
    assert not part(downloads, file).exists()
    assert not downloads.path(file).exists()


@pytest.mark.parametrize(
    ("wrong", "path", "reason"),
    [
        ({"status": 404}, "disk.qcow2", "the server answers 404 Not Found"),
        ({"breaks": [0] * 9}, "disk.qcow2", "peer closed connection"),
        ({"address": "http://127.0.0.1:1"}, "disk.qcow2", "attempts to connect"),
        ({}, "circle", "redirects"),
    ],
)
async def test_what_cannot_be_fetched_says_where_to_put_it(
    server: Server, downloads: Downloads, wrong: dict[str, object], path: str, reason: str
) -> None:
    for name, value in wrong.items():
        setattr(server, name, value)
    file = server.file(path)
    with pytest.raises(ImageError, match=rf"^{file.url} cannot be fetched: .*{reason}") as caught:
        await downloads.ensure(file)
    place = part(downloads, file)
    assert str(caught.value.hint).endswith(f"put it here: {place}")
    place.write_bytes(CONTENT)
    assert (await downloads.ensure(file)).read_bytes() == CONTENT


async def test_a_full_disk_is_told_and_left_as_it_was(server: Server, small: Path) -> None:
    downloads = Downloads(small)
    with pytest.raises(CapacityError, match="no room for http"):
        await downloads.ensure(server.file())
    assert [path.suffix for path in await trio.Path(small).iterdir()] == [".lock"]


async def test_people_are_told_of_a_large_file_in_few_lines(tmp_path: Path) -> None:
    with (tmp_path / "large.raw").open("wb") as file:
        file.truncate(64 << 20)
    digest = hashlib.sha256(bytes(64 << 20)).hexdigest()
    disk = f"{{file: {tmp_path}/large.raw, format: raw, digest: 'sha256:{digest}'}}"
    plan = resolve(loads(f"name: a\nnodes: {{a: {{id: 1, disks: [{disk}]}}}}\n"))
    told: list[Progress] = []
    await bring_files(plan, plan.nodes, Downloads(tmp_path / "downloads"), tell=told.append)
    assert [one.done * 10 // one.total for one in told] == list(range(11))
    assert str(told[-1]) == "check large.raw (100 %)"
