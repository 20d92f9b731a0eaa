"""Ports and programs of a guest that the host speaks with."""

from __future__ import annotations

import socket

import pytest
import trio

from netlab.errors import InputError
from netlab.testing import LabDriver
from netlab.testing.forward import LOOPBACK
from tests.testing.conftest import open_driver

pytestmark = pytest.mark.machines


async def exchange(port: int, request: bytes, size: float = float("inf")) -> bytes:
    """Send a request; return what comes back, up to a size or the end."""
    answer = b""
    async with await trio.open_tcp_stream(LOOPBACK, port) as connection, trio.open_nursery() as n:
        n.start_soon(connection.send_all, request)
        while len(answer) < size and (data := await connection.receive_some()):
            answer += bytes(data)
    return answer


async def check_streams(lab: LabDriver) -> None:
    a = lab["a"]
    await a.succeed("mkdir /tmp/www && echo hello >/tmp/www/index.html")
    await a.succeed("httpd -p 127.0.0.1:80 -h /tmp/www")
    # Answers with what it is sent.
    await a.succeed("mkfifo /tmp/back")
    await a.succeed("(nc -l -p 7 </tmp/back | cat >/tmp/back) >/dev/null 2>&1 </dev/null &")
    await a.wait_for_open_port(80)
    await a.wait_for_open_port(7)
    block = bytes(range(256)) * 128
    async with a.forward_port(80) as web, a.forward_port(7) as echo, a.forward_port(9) as none:
        assert (await exchange(web, b"GET / HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\nhello\n")
        assert await exchange(echo, block, len(block)) == block
        # Nobody listens there in the guest: the connection ends, and nothing else.
        assert await exchange(none, b"") == b""
        with pytest.raises(InputError, match=f"port {web} on the host cannot be had"):
            await a.forward_port(80, web).__aenter__()
    with socket.socket() as gone, pytest.raises(ConnectionRefusedError):
        gone.connect((LOOPBACK, web))
    with pytest.raises(InputError, match="99999 is no TCP port"):
        await a.forward_port(80, 99999).__aenter__()

    async with a.open_stream("read name; echo hello $name; exit 3") as stream:
        await stream.send_all(b"netlab\n")
        assert await stream.receive() == b"hello netlab\n"
        assert await stream.receive() == b""
        assert stream.status == 3


async def test_a_guests_port_is_one_of_the_hosts() -> None:
    async with open_driver("name: alone\nnodes: {a: {id: 1}}\n") as lab:
        await check_streams(lab)
