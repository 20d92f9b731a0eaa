"""The console against a guest that this file plays."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from netlab.errors import InputError, MachineError
from netlab.machine.console import ATTACHMENT_LIMIT, RECENT, Console, open_console


@asynccontextmanager
async def connected(log: Path) -> AsyncGenerator[tuple[Console, Any]]:
    ours, theirs = trio.testing.memory_stream_pair()
    async with open_console(ours, log) as console:
        yield console, theirs


async def test_everything_is_logged_even_what_is_no_text(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(b"before\n")
    async with connected(log) as (console, guest):
        await guest.send_all(b"\xff\xfe boot\r\n")
        await console.wait_for_text("boot")
        assert log.read_bytes() == b"before\n\xff\xfe boot\r\n"


async def test_the_tail_has_no_terminal_tricks_in_it(tmp_path: Path) -> None:
    async with connected(tmp_path / "log") as (console, guest):
        await guest.send_all(
            b"\x1b[31mred\x1b[0m\r\n\r\n\x1b]0;title\x07a\x07\x00b\xc2\x9bc\n/ # \x1b[6n"
        )
        await console.wait_for_text(r"/ #")
        assert console.tail() == ("red", "abc", "/ #")
        assert console.tail(1) == ("/ #",)


async def test_text_is_found_across_pieces_and_only_after_a_position(tmp_path: Path) -> None:
    async with connected(tmp_path / "log") as (console, guest):
        await guest.send_all(b"log")
        await trio.testing.wait_all_tasks_blocked()
        await guest.send_all(b"in: ")
        assert await console.wait_for_text("login: $") == "login: "
        since = console.position
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                await console.wait_for_text("login", since=since)
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await guest.send_all(b"x" * (RECENT + 10))
            await guest.send_all(b"login")
            await trio.sleep_forever()


async def test_several_readers_see_the_same_and_may_type(tmp_path: Path) -> None:
    async with (
        connected(tmp_path / "log") as (console, guest),
        console.attach() as first,
        console.attach() as second,
    ):
        await guest.send_all(b"hello")
        assert (await first.receive(), await second.receive()) == (b"hello", b"hello")
        await second.send(b"ls\r")
        assert await guest.receive_some() == b"ls\r"


async def test_a_stalled_reader_is_dropped_and_holds_up_nobody(tmp_path: Path) -> None:
    async with (
        connected(tmp_path / "log") as (console, guest),
        console.attach() as stalled,
        console.attach() as lively,
    ):
        total = 0
        for _ in range(ATTACHMENT_LIMIT // 1000 + 10):
            await guest.send_all(b"x" * 1000)
            total += len(await lively.receive())
        assert total == (ATTACHMENT_LIMIT // 1000 + 10) * 1000
        got = [piece async for piece in stalled]
        assert stalled.dropped
        assert not lively.dropped
        assert len(b"".join(got)) <= ATTACHMENT_LIMIT


async def test_the_end_of_the_console_ends_readers_and_waits(tmp_path: Path) -> None:
    async with connected(tmp_path / "log") as (console, guest), console.attach() as attachment:
        await guest.send_all(b"last words")
        await guest.aclose()
        assert [piece async for piece in attachment] == [b"last words"]
        assert not attachment.dropped
        with pytest.raises(MachineError, match="ended before 'login' came") as caught:
            await console.wait_for_text("login")
        assert caught.value.evidence == "last words"
        with pytest.raises(MachineError, match="has ended"):
            await attachment.send(b"x")
        async with console.attach() as late:
            assert [piece async for piece in late] == []


async def test_a_log_that_cannot_be_written_does_not_stop_the_guest() -> None:
    async with connected(Path("/dev/full")) as (console, guest):
        await guest.send_all(b"one ")
        await guest.send_all(b"two")
        assert await console.wait_for_text("two")


async def test_a_pattern_that_is_none_is_told_at_once(tmp_path: Path) -> None:
    async with connected(tmp_path / "log") as (console, _):
        with pytest.raises(InputError, match=r"'\(' is no regular expression: "):
            await console.wait_for_text("(")
