"""The client against servers that are slow, old, broken or hostile."""

from __future__ import annotations

import fcntl
import socket
import termios
from array import array
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from netlab.errors import NBDError
from netlab.nbd.client import open_connection, open_export
from netlab.nbd.exchange import IN_FLIGHT
from netlab.nbd.protocol import Extent
from tests.nbd.server import (
    Request,
    Server,
    chunk,
    data_chunk,
    error_chunk,
    hole_chunk,
    open_disk,
    simple,
    status_chunk,
)

MIB = 1024 * 1024
BYTES = bytes(range(256)) * 16


def once(answer: Callable[[Request], bytes]) -> Callable[[Server], Awaitable[None]]:
    """A server that answers the first request so, and then waits for the end."""

    async def serve(server: Server) -> None:
        await server.send(answer(await server.request()))
        async for _ in server.requests():
            pass

    return serve


async def idle(server: Server) -> None:
    async for request in server.requests():
        raise AssertionError(request)


async def test_an_answer_in_pieces_out_of_order_with_a_hole_is_put_together() -> None:
    def answer(request: Request) -> bytes:
        return (
            data_chunk(request, 3072, b"c" * 1024, flags=0)
            + hole_chunk(request, 1024, 2048, flags=0)
            + data_chunk(request, 0, b"a" * 1024, flags=0)
            + chunk(request, 0)
        )

    async with open_disk(once(answer)) as disk:
        assert await disk.read(0, 4096) == b"a" * 1024 + bytes(2048) + b"c" * 1024


async def test_a_server_without_structured_replies_has_data_everywhere() -> None:
    async def serve(server: Server) -> None:
        async for request in server.requests():
            await server.send(simple(request, b"\x01" * request.length))

    async with open_disk(serve, size=3 * MIB + 512, refuses=(8,)) as disk:
        assert [each async for each in disk.extents()] == [Extent(0, 3 * MIB + 512, "data")]
        parts = [(offset, len(data)) async for offset, data in disk.read_all()]
        assert parts == [(0, MIB), (MIB, MIB), (2 * MIB, MIB), (3 * MIB, 512)]


async def test_a_server_from_before_go_is_read_in_blocks_of_512() -> None:
    async def serve(server: Server) -> None:
        async for request in server.requests():
            assert (request.offset % 512, request.length % 512) == (0, 0)
            await server.send(simple(request, BYTES[request.offset :][: request.length]))

    async with open_disk(serve, size=len(BYTES), refuses=(7, 8)) as disk:
        assert disk.block_size.minimum == 512
        assert await disk.read(500, 30) == BYTES[500:530]
        assert await disk.read(0, 0) == b""
        assert await disk.read(len(BYTES) - 1, 1) == BYTES[-1:]


async def test_a_buffer_is_filled_wherever_its_part_begins_and_ends() -> None:
    async def serve(server: Server) -> None:
        async for request in server.requests():
            await server.send(simple(request, BYTES[request.offset :][: request.length]))

    async with open_disk(serve, size=len(BYTES), refuses=(7, 8)) as disk:
        for offset, length in ((0, 1024), (512, 512), (500, 30), (1, 1023), (7, 0)):
            buffer = bytearray(b"\xff" * (length + 2))
            await disk.read_into(offset, memoryview(buffer)[1:-1])
            assert buffer == b"\xff" + BYTES[offset:][:length] + b"\xff"


async def test_requests_are_no_longer_than_the_server_takes() -> None:
    async def serve(server: Server) -> None:
        async for request in server.requests():
            assert request.length <= 8192
            await server.send(hole_chunk(request, request.offset, request.length))

    async with open_disk(serve, block_size=(512, 4096, 8192)) as disk:
        assert await disk.read(100, 100_000) == bytes(100_000)


async def test_an_empty_disk_has_no_extents() -> None:
    async with open_disk(idle, size=0) as disk:
        assert [each async for each in disk.extents()] == []
        assert [each async for each in disk.read_all()] == []


async def test_what_is_beyond_the_disk_is_the_callers_mistake() -> None:
    async with open_disk(idle, size=512) as disk:
        for offset, length in ((0, 513), (-1, 1), (512, 1), (0, -1)):
            with pytest.raises(ValueError, match="of a disk of 512"):
                await disk.read(offset, length)


async def test_replies_find_their_callers_in_any_order() -> None:
    async def serve(server: Server) -> None:
        waiting = [await server.request() for _ in range(8)]
        for request in reversed(waiting):
            await server.send(data_chunk(request, request.offset, bytes([request.offset]) * 1))
        async for _ in server.requests():
            pass

    async with open_disk(serve) as disk, trio.open_nursery() as nursery:

        async def look(offset: int) -> None:
            assert await disk.read(offset, 1) == bytes([offset])

        for offset in range(8):
            nursery.start_soon(look, offset)


async def test_a_server_gets_no_more_requests_at_once_than_it_takes() -> None:
    async def serve(server: Server) -> None:
        waiting = [await server.request() for _ in range(IN_FLIGHT)]
        await trio.testing.wait_all_tasks_blocked()
        unread = array("i", [-1])
        fcntl.ioctl(server.stream.socket.fileno(), termios.FIONREAD, unread)
        assert unread[0] == 0
        for request in waiting:
            await server.send(hole_chunk(request, request.offset, request.length))
        async for request in server.requests():
            await server.send(hole_chunk(request, request.offset, request.length))

    async with open_disk(serve, size=40 * MIB) as disk:
        assert await disk.read(0, 40 * MIB) == bytes(40 * MIB)


async def test_reading_ahead_keeps_to_the_memory_that_it_is_given() -> None:
    asked = 0

    async def serve(server: Server) -> None:
        nonlocal asked
        async for request in server.requests():
            asked += request.length
            await server.send(simple(request, b"\x01" * request.length))

    async with open_disk(serve, size=64 * MIB, refuses=(8,)) as disk:
        held = 0
        async for _, data in disk.read_all(memory=8 * MIB):
            held += len(data)
            await trio.testing.wait_all_tasks_blocked()
            # What was asked for and not handed out, the piece at hand, and the reply it is from.
            assert asked - held + 2 * len(data) <= 8 * MIB
            assert asked >= min(held + 5 * MIB, 64 * MIB)
        assert held == 64 * MIB


async def test_zeros_are_not_asked_for_and_holes_that_are_not_zeros_are() -> None:
    async def serve(server: Server) -> None:
        async for request in server.requests():
            if request.command == 7:
                # Data, zeros, a hole that says nothing of zeros, zeros beyond the end.
                extents = ((4096, 0), (8192, 2), (4096, 1), (2**31, 3))
                await server.send(status_chunk(request, *extents))
            else:
                assert request.offset in {0, 12288}
                await server.send(data_chunk(request, request.offset, b"\x01" * request.length))

    async with open_disk(serve) as disk:
        assert [each async for each in disk.extents()] == [
            Extent(0, 4096, "data"),
            Extent(4096, 8192, "zero"),
            Extent(12288, 4096, "data"),
            Extent(16384, MIB - 16384, "zero"),
        ]
        ones = b"\x01" * 4096
        assert [each async for each in disk.read_all()] == [(0, ones), (12288, ones)]


async def test_an_error_of_one_read_is_that_of_its_caller_and_the_disk_goes_on() -> None:
    async def serve(server: Server) -> None:
        request = await server.request()
        await server.send(data_chunk(request, 512, b"x" * 10, flags=0))
        await server.send(error_chunk(request, 5, b"bad sector"))
        async for request in server.requests():
            await server.send(hole_chunk(request, request.offset, request.length))

    async with open_disk(serve) as disk:
        with pytest.raises(NBDError) as caught:
            await disk.read(512, 512)
        assert str(caught.value) == "NBD export x of test: at byte 512: input/output error (EIO)"
        error = caught.value
        assert (error.exit_code, error.export, error.offset) == (4, "x of test", 512)
        assert (error.errno, error.evidence) == (5, "bad sector")
        assert await disk.read(512, 512) == bytes(512)


async def test_an_error_of_a_simple_reply_is_said_too() -> None:
    async with open_disk(once(lambda request: simple(request, errno=22)), refuses=(8,)) as disk:
        with pytest.raises(NBDError, match=r"at byte 0: invalid argument \(EINVAL\)"):
            await disk.read(0, 512)


HOSTILE: dict[str, tuple[Callable[[Request], bytes], str]] = {
    "another protocol": (lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n", "not a reply"),
    "a cookie of nobody": (
        lambda _: chunk(Request(0, 999, 0, 512), 1, bytes(520)),
        "not asked: cookie 999",
    ),
    "more than was asked for": (
        lambda request: data_chunk(request, 0, bytes(513)),
        "sent 513 bytes at 0, but was asked for 512 at 0",
    ),
    "four gigabytes": (
        lambda request: chunk(request, 1, bytes(8), length=2**32 - 1),
        "sent 4294967287 bytes",
    ),
    "data from elsewhere": (lambda request: data_chunk(request, 2**63, b"x"), "sent 1 bytes at 9"),
    "a hole from elsewhere": (lambda request: hole_chunk(request, 512, 512), "sent 512 bytes"),
    "a byte twice": (
        lambda request: data_chunk(request, 0, b"xx", flags=0) + data_chunk(request, 1, b"xx"),
        "some of them twice",
    ),
    "too little": (lambda request: data_chunk(request, 0, bytes(511)), "before all of it"),
    "nothing": (lambda request: chunk(request, 0), "before all of it"),
    "nothing, again and again": (lambda request: chunk(request, 0, flags=0), "was not asked for"),
    "no data": (lambda request: chunk(request, 1, bytes(8)), "8 bytes of payload"),
    "half an offset": (lambda request: chunk(request, 1, bytes(4)), "4 bytes of payload"),
    "a long error": (
        lambda request: chunk(request, 0x8001, b"", length=2**31),
        "type 32769 with 2147483648 bytes",
    ),
    "a short error": (lambda request: chunk(request, 0x8001, bytes(3)), "3 bytes of payload"),
    "an error that is none": (lambda request: error_chunk(request, 0, b""), "that is none"),
    "a type of its own": (lambda request: chunk(request, 77, bytes(8)), "unknown type 77"),
    "a block status": (lambda request: status_chunk(request, (512, 0)), "was not asked for"),
    "a simple reply": (lambda request: simple(request, bytes(512)), "agreed to structured"),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_server_that_does_not_keep_to_the_protocol_is_not_believed(case: str) -> None:
    answer, message = HOSTILE[case]

    async def serve(server: Server) -> None:
        await server.send(answer(await server.request()))
        await server.stream.receive_some()

    with trio.fail_after(20):
        async with open_disk(serve) as disk:
            with pytest.raises(NBDError, match=message) as caught:
                await disk.read(0, 512)
            assert (caught.value.offset, caught.value.errno) == (0, None)
            # It stays so: the stream cannot be trusted any further.
            with pytest.raises(NBDError, match=message):
                await disk.read(512, 512)


@pytest.mark.parametrize("kept", [0, 3, 16, 19, 20, 24, 28, 100, 539])
async def test_a_server_that_dies_in_the_middle_is_an_error_for_all_that_wait(kept: int) -> None:
    async def serve(server: Server) -> None:
        requests = [await server.request() for _ in range(IN_FLIGHT)]
        await server.send(data_chunk(requests[0], requests[0].offset, bytes(512))[:kept])

    failed = 0

    with trio.fail_after(20):
        async with open_disk(serve) as disk, trio.open_nursery() as nursery:

            async def look(offset: int) -> None:
                nonlocal failed
                with pytest.raises(NBDError, match=r"at byte \d+: the connection|server closed"):
                    await disk.read(offset, 512)
                failed += 1

            for index in range(IN_FLIGHT + 4):
                nursery.start_soon(look, index * 512)
    assert failed == IN_FLIGHT + 4


async def test_a_server_that_stops_listening_without_hanging_up_is_an_error() -> None:
    deaf, over = trio.Event(), trio.Event()

    async def serve(server: Server) -> None:
        server.stream.socket.shutdown(socket.SHUT_RD)
        deaf.set()
        await over.wait()

    with trio.fail_after(20):
        async with open_disk(serve) as disk:
            await deaf.wait()
            with pytest.raises(NBDError, match="the connection broke: Broken pipe"):
                await disk.read(0, 512)
            over.set()


@pytest.mark.parametrize("sent", [b"", b"NBDMAGIC", b"\x00" * 18, b"NBDMAGICIHAVEOPT\x00\x03"])
async def test_a_server_that_dies_before_the_export_is_an_error(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(sent)
    theirs.close()
    with trio.fail_after(20), trio.socket.from_stdlib_socket(ours) as connection:
        with pytest.raises(NBDError, match="NBD export x: ") as caught:
            async with open_connection(connection, "", label="x"):
                pass
        assert caught.value.export == "x"


async def test_nobody_at_the_socket_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(NBDError, match=r"'disk0' of .*none: nobody answers: No such file"):
        async with open_export(tmp_path / "none", "disk0"):
            pass
    with pytest.raises(NBDError, match="nobody answers: AF_UNIX path too long"):
        async with open_export(tmp_path / ("x" * 108)):
            pass


async def test_cancelled_in_the_middle_of_a_read_the_server_is_told_of_the_end() -> None:
    told: list[int] = []
    asked = trio.Event()

    async def serve(server: Server) -> None:
        # The test's own end is cancelled as well: what it has to see comes first.
        with trio.CancelScope(shield=True), trio.fail_after(20):
            told.append((await server.request()).command)
            asked.set()
            told.append((await server.request()).command)

    with trio.CancelScope() as scope:
        async with open_disk(serve) as disk, trio.open_nursery() as nursery:
            nursery.start_soon(disk.read, 0, 512)
            await asked.wait()
            scope.cancel()
    assert (scope.cancelled_caught, told) == (True, [0, 2])


async def test_a_reply_to_a_cancelled_read_disturbs_nobody() -> None:
    late = trio.Event()

    async def serve(server: Server) -> None:
        first = await server.request()
        await late.wait()
        await server.send(data_chunk(first, first.offset, b"x" * first.length))
        async for request in server.requests():
            await server.send(hole_chunk(request, request.offset, request.length))

    async with open_disk(serve) as disk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(disk.read, 0, 512)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        late.set()
        assert await disk.read(512, 512) == bytes(512)


def fill(connection: socket.socket) -> None:
    """Send until the kernel takes no more, as nobody reads it."""
    with suppress(BlockingIOError):
        while True:
            connection.send(b"x")


async def test_a_server_that_takes_nothing_does_not_keep_a_cancelled_client() -> None:
    ours, theirs = socket.socketpair()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    with trio.fail_after(20):
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(Server(stream).negotiate)
            with trio.socket.from_stdlib_socket(ours) as connection, trio.CancelScope() as scope:
                async with open_connection(connection, "", label="x") as disk:
                    fill(ours)
                    async with trio.open_nursery() as readers:
                        readers.start_soon(disk.read, 0, 512)
                        await trio.testing.wait_all_tasks_blocked()
                        scope.cancel()
    assert scope.cancelled_caught
