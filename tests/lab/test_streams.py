"""Programs in a guest that one speaks with, on a real guest."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from netlab import open_lab, resolve
from netlab.errors import MachineDiedError, MachineError
from netlab.lab.access import NodeAccess
from netlab.machine.streams import ProgramStream, Terminal
from netlab.topology.load import loads

pytestmark = pytest.mark.machines

ALONE = "name: alone\nnodes: {a: {id: 1}}\n"


async def read_all(stream: ProgramStream) -> bytes:
    output = b""
    while data := await stream.receive():
        output += data
    return output


async def read_until(stream: ProgramStream, text: bytes) -> bytes:
    output = b""
    while text not in output:
        data = await stream.receive()
        assert data, output
        output += data
    return output


async def ports(node: NodeAccess) -> list[str]:
    result = await node.execute(("ls", "/sys/class/virtio-ports"))
    return result.stdout.decode().split()


async def test_a_program_is_spoken_with_both_ways() -> None:
    async with open_lab(resolve(loads(ALONE))) as lab:
        node = lab["a"]
        await lab.wait_ready()
        before = await ports(node)

        async with node.open_stream(("cat",)) as stream:
            await stream.send_all(b"one\n")
            assert await read_until(stream, b"\n") == b"one\n"
            await stream.send_all(b"two\n")
            assert await read_until(stream, b"\n") == b"two\n"
            await stream.send_eof()
            assert await read_all(stream) == b""
            assert stream.status == 0

        async with node.open_stream(("sh", "-c", "echo out; echo err >&2; exit 7")) as stream:
            assert await read_all(stream) == b"out\nerr\n"
            assert stream.status == 7

        async with node.open_stream(("no-such-program",)) as stream:
            assert b"no-such-program" in await read_all(stream)
            assert stream.status == 127

        # Nothing is lost of a megabyte of bytes of every value, nor of what is sent meanwhile.
        block = bytes(range(256)) * 4096
        async with node.open_stream(("cat",)) as stream, trio.open_nursery() as nursery:

            async def send() -> None:
                await stream.send_all(block)
                await stream.send_eof()

            nursery.start_soon(send)
            assert await read_all(stream) == block

        async with node.open_stream(("sleep", "1000")):
            pass
        assert (await node.execute(("pidof", "sleep"))).status == 1
        assert await ports(node) == before


async def test_a_terminal_has_a_size_control_characters_and_job_control() -> None:
    async with open_lab(resolve(loads(ALONE))) as lab:
        node = lab["a"]
        await lab.wait_ready()
        size = Terminal(rows=33, columns=101, kind="vt100")
        async with node.open_stream(("sh", "-i"), terminal=size) as stream:
            await stream.send_all(b"stty size; echo $TERM\n")
            assert b"vt100" in (text := await read_until(stream, b"vt100\r\n")), text
            assert b"33 101" in text
            await stream.resize(Terminal(rows=50, columns=132))
            await stream.send_all(b"stty size\n")
            await read_until(stream, b"50 132\r\n")
            # Ctrl-C ends the program and not the shell.
            await stream.send_all(b"sh -c 'echo one\"\"two; exec sleep 1000'\n")
            await read_until(stream, b"onetwo\r\n")
            await stream.send_all(b"\x03")
            await stream.send_all(b"echo af''ter\n")
            await read_until(stream, b"after\r\n")
            await stream.send_all(b"exit 5\n")
            await read_all(stream)
            assert stream.status == 5


async def echo(node: NodeAccess, number: int, outputs: list[bytes]) -> None:
    async with node.open_stream(("echo", str(number))) as stream:
        outputs.append(await read_all(stream))


async def test_many_streams_wait_for_their_turn() -> None:
    async with open_lab(resolve(loads(ALONE))) as lab:
        node = lab["a"]
        await lab.wait_ready()
        outputs: list[bytes] = []
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(echo, node, number, outputs)
        assert sorted(map(int, outputs)) == list(range(20))


async def test_streams_that_are_opened_while_the_guest_stands_still_come_up() -> None:
    """Ports by the dozen are more than a guest can be told of at once."""
    async with open_lab(resolve(loads(ALONE))) as lab:
        node = lab["a"]
        await lab.wait_ready()
        outputs: list[bytes] = []
        await node.pause()
        async with trio.open_nursery() as nursery:
            for number in range(14):
                nursery.start_soon(echo, node, number, outputs)
            # Time for all that does not need the guest, ports that are plugged in among it.
            await trio.testing.wait_all_tasks_blocked(0.5)
            await node.resume()
        assert sorted(map(int, outputs)) == list(range(14))


async def test_the_end_of_a_guest_or_a_machine_ends_its_streams() -> None:
    async with open_lab(resolve(loads(ALONE))) as lab:
        node = lab["a"]
        await lab.wait_ready()

        async def speak_until(end: Callable[[], Awaitable[object]]) -> None:
            async with node.open_stream(("cat",)) as stream:
                await stream.send_all(b"hello\n")
                await read_until(stream, b"hello\n")
                await end()
                await stream.receive()

        async def kill() -> None:
            assert node.pid is not None
            os.kill(node.pid, signal.SIGKILL)
            await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:

            async def reboot() -> None:
                nursery.start_soon(node.reboot)
                await trio.lowlevel.checkpoint()

            with pytest.raises(MachineError, match="agent ended"):
                await speak_until(reboot)
        await node.wait_ready()
        with pytest.raises(MachineDiedError, match="SIGKILL"):
            await speak_until(kill)


async def test_a_guest_without_what_a_terminal_needs_says_so() -> None:
    async with open_lab(resolve(loads(ALONE))) as lab:
        node = lab["a"]
        await lab.wait_ready()
        assert (await node.execute(("rm", "/usr/bin/script"))).status == 0
        async with node.open_stream(("sh",), terminal=Terminal(24, 80)) as stream:
            assert b"script: not found" in await read_all(stream)
            assert stream.status == 127
