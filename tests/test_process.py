"""The one door to other programs."""

import os
import signal
import sys
from pathlib import Path

import pytest
import trio

from netlab.errors import MissingProgramError, ProgramError
from netlab.process import find_program, open_process, open_process_group, run, start_detached


async def test_output_and_errors_come_back_apart() -> None:
    done = await run(["sh", "-c", "echo out; echo err >&2; cat"], stdin=b"in")
    assert (done.status, done.stdout, done.stderr) == (0, b"out\nin", b"err\n")


async def test_a_failed_program_shows_its_command_and_output() -> None:
    with pytest.raises(ProgramError) as caught:
        await run(["sh", "-c", "echo no space >&2; exit 28"])
    assert caught.value.status == 28
    assert caught.value.evidence == "sh -c 'echo no space >&2; exit 28'\nno space"


async def test_a_status_can_be_looked_at_instead_of_raised() -> None:
    assert (await run(["false"], check=False)).status == 1


def test_a_missing_program_is_named_with_its_package() -> None:
    with pytest.raises(MissingProgramError, match=r"apt-get install .* no-such-program"):
        find_program("no-such-program")


async def test_the_environment_is_added_to_and_not_replaced() -> None:
    done = await run(
        ["sh", "-c", "echo $NETLAB_TEST; echo $PATH"], environment={"NETLAB_TEST": "x"}
    )
    assert done.stdout.decode().splitlines() == ["x", os.environ["PATH"]]


async def test_leaving_the_scope_ends_the_program() -> None:
    async with open_process(["sleep", "1000"]) as process:
        assert process.returncode is None
    assert process.returncode == -signal.SIGTERM


async def test_cancelling_the_scope_ends_the_program() -> None:
    started: list[trio.Process] = []
    with trio.CancelScope() as scope:
        async with open_process(["sleep", "1000"]) as process:
            started.append(process)
            scope.cancel()
            await trio.sleep_forever()
    assert started[0].returncode == -signal.SIGTERM


async def test_a_program_that_ended_by_itself_is_left_in_peace() -> None:
    async with open_process(["true"]) as process:
        await process.wait()
    assert process.returncode == 0


async def test_a_program_in_a_scope_has_the_streams_that_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"in")
    with (tmp_path / "in").open() as given, (tmp_path / "out").open("w") as taken:
        line = ["sh", "-c", "cat; echo err >&2"]
        with (tmp_path / "err").open("w") as errors:
            async with open_process(
                line, stdin=given.fileno(), stdout=taken.fileno(), stderr=errors.fileno()
            ) as process:
                await process.wait()
    assert (tmp_path / "out").read_bytes() == b"in"
    assert (tmp_path / "err").read_bytes() == b"err\n"


def test_a_detached_program_has_a_session_of_its_own(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with (tmp_path / "log").open("wb") as log:
        script = f"import os; os.write({writer}, str(os.getsid(0)).encode())"
        pid = start_detached([sys.executable, "-c", script], pass_fds=[writer], output=log.fileno())
    os.close(writer)
    assert int(os.read(reader, 100)) == pid
    os.close(reader)
    os.waitpid(pid, 0)


FAMILY = """\
trap 'echo cleared >"$0"' EXIT INT
sh -c 'trap "" INT; echo $$; exec sleep 100'
"""
"""A shell that clears away, and waits for a program that does not hear Ctrl-C."""


async def test_a_cancelled_group_clears_away_and_nobody_of_it_is_left(tmp_path: Path) -> None:
    heard = bytearray()
    started = trio.Event()
    cleared = tmp_path / "cleared"

    async def listen() -> None:
        async with open_process_group(["sh", "-c", FAMILY, str(cleared)]) as group:
            async for chunk in group.output:
                heard.extend(chunk)
                started.set()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await started.wait()
            nursery.cancel_scope.cancel()
    assert cleared.read_text() == "cleared\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int(heard), 0)


async def test_what_a_group_does_not_clear_away_in_time_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("netlab.process.INTERRUPT_GRACE", 0.1)
    stubborn = ["sh", "-c", 'trap "" INT TERM; echo $$; exec sleep 100']
    started: list[int] = []

    async def leave() -> None:
        async with open_process_group(stubborn) as group:
            started.append(int(await group.output.receive_some()))
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        await leave()
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


async def test_the_output_of_a_group_ends_with_the_last_of_it() -> None:
    async with open_process_group(["sh", "-c", "(sleep 0.3; echo late) & echo early"]) as group:
        heard = b"".join([chunk async for chunk in group.output])
        assert (heard, await group.process.wait()) == (b"early\nlate\n", 0)
