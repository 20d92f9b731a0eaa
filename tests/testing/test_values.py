"""The vocabulary's parts that need no machine."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from netlab.errors import (
    AgentError,
    CheckError,
    ConditionError,
    InputError,
    MachineDiedError,
    MachineError,
    MissingProgramError,
    WaitError,
)
from netlab.lab.frames import Frame
from netlab.testing.capture import Capture
from netlab.testing.conditions import Parts, polling_condition
from netlab.testing.keyboard import find_chords, read_chord
from netlab.testing.picture import enlarge, read_picture
from netlab.testing.probes import has_unix_socket, listens, read_properties, read_screen
from netlab.testing.waiting import LONGEST_PAUSE, Seen, make_limit, poll

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0207A8C0:0016 0107A8C0:C001 01 00000000:00000000 00:00000000 00000000     0        0 3 1
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:1F91 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0
"""

UNIX = """\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 10 /run/listens
0000000000000000: 00000002 00000000 00000000 0001 01 11 /run/connected
0000000000000000: 00000002 00000000 00000000 0002 01 12 /run/log with space
"""


@pytest.mark.parametrize(
    ("port", "address", "expected"),
    [
        (80, "localhost", True),
        (80, "192.168.7.2", True),
        (8080, "localhost", True),
        (8080, "192.168.7.2", False),
        (8081, "localhost", True),
        (8081, "::1", True),
        (22, "192.168.7.2", False),
        (81, "localhost", False),
    ],
)
def test_a_port_is_open_where_somebody_listens(port: int, address: str, expected: bool) -> None:
    assert listens(TCP, port, address) is expected


def test_a_unix_socket_takes_connections_or_datagrams() -> None:
    assert has_unix_socket(UNIX, "/run/listens", datagram=False)
    assert not has_unix_socket(UNIX, "/run/connected", datagram=False)
    assert has_unix_socket(UNIX, "/run/log with space", datagram=True)
    assert not has_unix_socket(UNIX, "/run/listens", datagram=True)


WHITE, BLACK, RED = b"\xff\xff\xff", b"\0\0\0", b"\xff\0\0"


def test_a_picture_is_enlarged_pixel_by_pixel() -> None:
    assert enlarge(2, 1, WHITE + RED) == b"P6\n4 2\n255\n" + (WHITE * 2 + RED * 2) * 2


@pytest.mark.parametrize(
    ("picture", "wrong"),
    [
        (b"\x89PNG\r\n", "no portable pixmap"),
        (b"P6\n2 2\n255\n" + WHITE * 3, "not complete"),
        (b"P6\n2 2\n255\n" + WHITE * 5, "not complete"),
    ],
)
async def test_what_is_no_picture_is_not_read(picture: bytes, wrong: str) -> None:
    with pytest.raises(MachineError, match=wrong):
        await read_picture(picture)


async def test_a_picture_without_text_has_none() -> None:
    assert await read_picture(b"P6\n80 40\n255\n" + BLACK * 80 * 40) == ("", "")


@pytest.mark.parametrize(
    ("characters", "encoding"),
    [("ab  é \0│    ", "utf-32-le"), ("ab  é \0│    ", "cp437")],
)
def test_a_console_is_read_in_lines_of_its_width(characters: str, encoding: str) -> None:
    data = bytes((3, 4, 0, 0)) + characters.encode(encoding)
    assert read_screen(data) == "ab\né  │"


@given(st.text(st.characters(max_codepoint=126, exclude_categories=("Cc",)), max_size=300))
def test_every_character_of_a_us_keyboard_has_a_chord_of_its_own(text: str) -> None:
    chords = find_chords(text)
    assert len(chords) == len(text)
    assert len(set(chords)) == len(set(text))
    assert all(read_chord("-".join(chord)) == chord for chord in chords)


def test_what_a_keyboard_lacks_is_named_all_at_once() -> None:
    with pytest.raises(InputError, match="a US keyboard cannot type 'ä', 'ü'"):
        find_chords("aüäü")


@pytest.mark.parametrize(("chord", "hint"), [("Ctrl", "ctrl"), ("ctrl-enter", "kp_enter")])
def test_a_key_that_is_nearly_one_is_suggested(chord: str, hint: str) -> None:
    with pytest.raises(InputError, match="there is no key") as caught:
        read_chord(chord)
    assert caught.value.hint == f"did you mean {hint!r}?"


def test_properties_of_a_unit_may_contain_anything() -> None:
    assert read_properties("A=1\nB=x=y\nno line\nC=\n") == {"A": "1", "B": "x=y", "C": ""}


async def test_waiting_begins_at_milliseconds_and_slows_down(
    autojump_clock: trio.testing.MockClock,
) -> None:
    times: list[float] = []

    async def look() -> Seen[bool]:
        await trio.lowlevel.checkpoint()
        times.append(trio.current_time())
        return Seen(value=True) if len(times) == 40 else Seen(instead="not yet")

    began = trio.current_time()
    assert await poll("it did not come", look, make_limit(None, 300)) is True
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert times[1] - began < 0.005
    assert max(pauses) == pytest.approx(LONGEST_PAUSE)
    assert all(after > before - 1e-9 for before, after in itertools.pairwise(pauses))
    del autojump_clock


async def test_a_wait_gives_up_before_its_callers_deadline_and_says_what_it_saw(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def look() -> Seen[bool]:
        await trio.sleep(0.1)
        return Seen(instead="first line\nmore")

    with pytest.raises(WaitError) as caught, trio.fail_after(5):
        await poll("r1: it did not come", look, make_limit(60))
    assert caught.value.message == "r1: it did not come within 4.95 s: first line"
    assert caught.value.evidence == "more"
    with pytest.raises(WaitError, match="within 2 s"):
        await poll("r1: it did not come", look, make_limit(2))
    del autojump_clock


async def test_a_wait_has_words_although_its_callers_deadline_passed_too() -> None:
    async def look() -> Seen[bool]:
        # Both deadlines pass while this process does something else.
        time.sleep(0.2)  # noqa: ASYNC251
        await trio.sleep(1)
        return Seen()

    # A moment less than the caller's 0.1 s without the 0.05 s that a report may take.
    said = r"it did not come within 0\.0(5|4\d*) s"
    with pytest.raises(WaitError, match=said), trio.fail_after(0.1):
        await poll("it did not come", look, make_limit(60))


async def test_a_capture_is_read_by_tshark_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = Capture()
    capture.add(Frame(1_500_000_000, b"\1" * 60))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgramError, match="tshark is not installed"):
        await capture.tshark()
    # Stands in for tshark: says its arguments, and how many bytes it was given.
    program = trio.Path(tmp_path / "tshark")
    await program.write_text("#!/bin/sh\nprintf '%s ' \"$@\"; /usr/bin/wc -c\n")
    await program.chmod(0o755)
    assert await capture.tshark("-Y", "ospf") == f"-n -r - -Y ospf {24 + 16 + 60}\n"
    written = capture.write(tmp_path / "written.pcap")
    assert written.stat().st_size == 24 + 16 + 60


async def test_a_wait_that_is_cancelled_is_cancelled() -> None:
    async def look() -> Seen[bool]:
        scope.cancel()
        await trio.sleep(1)
        return Seen()

    with trio.CancelScope() as scope:
        await poll("it did not come", look, make_limit(60))
    assert scope.cancelled_caught


async def test_an_agent_that_restarts_is_asked_again_and_a_death_is_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    answers: list[Exception | Seen[str]] = [AgentError("it ended meanwhile"), Seen(value="back")]

    async def look() -> Seen[str]:
        await trio.lowlevel.checkpoint()
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await poll("it did not come", look, make_limit(5)) == "back"
    answers.append(MachineDiedError("r1", ["qemu"], 1, ""))
    with pytest.raises(MachineDiedError):
        await poll("it did not come", look, make_limit(5))
    del autojump_clock


async def test_a_condition_that_breaks_cancels_its_block(
    autojump_clock: trio.testing.MockClock,
) -> None:
    holds = [True, True, False]

    async def guarded() -> None:
        async with polling_condition(lambda: holds.pop(0), interval=1, description="it holds"):
            await trio.sleep(100)

    began = trio.current_time()
    with pytest.raises(ConditionError, match="it holds: it does not hold any more"):
        await guarded()
    assert trio.current_time() - began == pytest.approx(2)
    async with polling_condition(lambda: None, interval=1):
        await trio.sleep(5)
    del autojump_clock


async def test_a_condition_that_does_not_hold_begins_nothing() -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise CheckError("a does not reach b")

    with pytest.raises(ConditionError, match="fail: it does not hold any more: a does not reach"):
        async with polling_condition(fail):
            pytest.fail("the block began")


def test_parts_that_are_gone_on_from_fail_the_test_together() -> None:
    parts = Parts()
    with parts.subtest("one", go_on=True):
        raise CheckError("first")
    with parts.subtest("two"):
        pass
    with parts.subtest("three", go_on=True):
        raise AssertionError("second")
    with pytest.raises(CheckError, match="2 of 3 parts failed: one: first") as caught:
        parts.check()
    assert caught.value.evidence == "one: first\nthree: second"
    with pytest.raises(KeyError), parts.subtest("a bug is not a failure", go_on=True):
        raise KeyError
    with pytest.raises(CheckError), parts.subtest("ends the test"):
        raise CheckError("third")
