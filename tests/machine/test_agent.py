"""The guest agent's client against an agent that is played (`fake_agent.py`)."""

import base64
from typing import Any

import pytest
import trio
import trio.testing

from netlab.errors import (
    AgentClosedError,
    AgentCommandError,
    AgentError,
    AgentProtocolError,
    InputError,
    MachineError,
)
from netlab.machine.agent import CHUNK, STDIN_LIMIT, Agent, open_agent
from tests.machine.fake_agent import FakeAgent, connected


@pytest.mark.parametrize("with_ids", [True, False])
async def test_output_errors_and_status_come_back_apart(with_ids: bool) -> None:
    status = {
        "exitcode": 3,
        "out-data": base64.b64encode(b"out\xff\n").decode(),
        "err-data": base64.b64encode(b"err").decode(),
    }
    async with connected(with_ids=with_ids, status=status) as (agent, fake):
        result = await agent.execute(["ls", "-l"], stdin=b"in")
        assert (result.status, result.stdout, result.stderr) == (3, b"out\xff\n", b"err")
        assert result.error is None
        arguments = fake.seen[1]["arguments"]
        assert (arguments["path"], arguments["arg"]) == ("ls", ["-l"])
        assert base64.b64decode(arguments["input-data"]) == b"in"


async def test_a_string_goes_to_the_shell_and_an_environment_is_added() -> None:
    async with connected() as (agent, fake):
        await agent.execute("echo $A", environment={"A": "1 2"})
        arguments = fake.seen[1]["arguments"]
        assert arguments["path"] == "env"
        assert arguments["arg"] == ["A=1 2", "/bin/sh", "-c", "echo $A"]
        assert "env" not in arguments


async def test_a_signal_is_a_negative_status_and_cut_output_is_said() -> None:
    status = {"signal": 9, "out-data": "", "out-truncated": True, "err-truncated": False}
    async with connected(status=status) as (agent, _):
        result = await agent.execute("yes")
    assert result.status == -9
    assert result.error == "stdout cut off: the agent keeps 16 MiB"


async def test_a_program_that_is_not_there_is_an_error_of_the_command() -> None:
    async with connected() as (agent, _):
        with pytest.raises(AgentCommandError, match="agent guest-exec: Failed to execute"):
            await agent.execute(["/nowhere"])
        assert (await agent.execute(["true"])).status == 0


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ([], {}),
        (["a\0b"], {}),
        (["a", "\udcff"], {}),
        (["true"], {"environment": {"A=B": "1"}}),
        (["true"], {"environment": {"": "1"}}),
        (["a=b"], {"environment": {"A": "1"}}),
        (["true"], {"stdin": bytes(STDIN_LIMIT + 1)}),
    ],
)
async def test_what_cannot_be_passed_on_is_refused_before_it_is_sent(
    command: list[str], options: dict[str, Any]
) -> None:
    async with connected() as (agent, fake):
        with pytest.raises(InputError):
            await agent.execute(command, **options)
        assert fake.seen == []


async def test_it_is_ready_when_the_agent_starts_after_us(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001  # Trio takes the clock that a test asks for
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    fake = FakeAgent(theirs)
    async with trio.open_nursery() as nursery, open_agent(ours) as agent:

        async def start_late() -> None:
            await trio.sleep(30)
            nursery.start_soon(fake.run)

        nursery.start_soon(start_late)
        await agent.wait_ready()
        assert 30 <= trio.current_time() < 32
        assert (await agent.info()).version == "7.2.22"
        # Those that were sent into the void were few, and their answers confused nobody.
        assert 3 < fake.commands().count("guest-sync-delimited") < 9
        nursery.cancel_scope.cancel()


async def test_it_is_ready_when_the_first_words_were_lost(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001  # Trio takes the clock that a test asks for
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery, open_agent(ours) as agent:

        async def lose_then_start() -> None:
            await theirs.receive_some()
            await FakeAgent(theirs).run()

        nursery.start_soon(lose_then_start)
        await agent.wait_ready()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("with_ids", [True, False])
async def test_a_cancelled_call_never_poisons_the_next(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001  # Trio takes the clock that a test asks for
    with_ids: bool,
) -> None:
    async with connected(with_ids=with_ids, files={"/a": b"aaa", "/b": b"bbb"}) as (agent, fake):
        await agent.wait_ready()
        fake.held = trio.Event()
        with trio.move_on_after(10):
            await agent.read_file("/a")
        fake.held.set()
        fake.held = None
        assert await agent.read_file("/b") == b"bbb"
        assert (await agent.info()).commands == {"guest-exec"}


async def test_a_request_cut_in_half_is_swept_away(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001  # Trio takes the clock that a test asks for
) -> None:
    # A small socket buffer's worth of the request went out, the rest never did.
    ours, theirs = trio.testing.memory_stream_pair()
    fake = FakeAgent(theirs)

    class Narrow(trio.abc.Stream):
        stuck = False

        async def send_all(self, data: Any) -> None:
            if self.stuck:
                await ours.send_all(bytes(data)[:20])
                await trio.sleep_forever()
            await ours.send_all(data)

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            return bytes(await ours.receive_some(max_bytes))

        async def wait_send_all_might_not_block(self) -> None:
            await trio.lowlevel.checkpoint()

        async def aclose(self) -> None:
            await ours.aclose()

    narrow = Narrow()
    async with trio.open_nursery() as nursery, open_agent(narrow) as agent:
        nursery.start_soon(fake.run)
        await agent.wait_ready()
        narrow.stuck = True
        with trio.move_on_after(1):
            await agent.execute(["true"])
        narrow.stuck = False
        assert (await agent.info()).version == "7.2.22"
        nursery.cancel_scope.cancel()


async def test_stale_answers_from_before_us_are_not_ours() -> None:
    async with connected() as (agent, fake):
        await fake.send({"return": {"pid": 6}})
        await fake.stream.send_all(b'\xff{"return": 5}\nhalf an ans')
        assert (await agent.info()).version == "7.2.22"


async def test_garbage_instead_of_an_answer_is_said_and_survived() -> None:
    async with connected() as (agent, fake):
        await agent.wait_ready()
        await fake.stream.send_all(b"login: \n")
        with pytest.raises(AgentProtocolError, match=r"no answer: 'login: '"):
            await agent.info()
        assert (await agent.info()).version == "7.2.22"


@pytest.mark.parametrize("close", ["aclose", "reset"])
async def test_the_end_of_the_channel_ends_calls_at_once(close: str) -> None:
    async with connected() as (agent, fake):
        await agent.wait_ready()
        fake.held = trio.Event()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(AgentClosedError):
                    await agent.info()

            nursery.start_soon(ask)
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            if close == "aclose":
                fake.stream.send_stream.close()
            else:
                fake.stream.send_stream.close()
                fake.stream.receive_stream.close()


async def test_a_failed_machine_ends_calls_with_its_reason() -> None:
    async with connected() as (agent, fake):
        await agent.wait_ready()
        fake.held = trio.Event()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(MachineError, match="panicked"):
                    await agent.info()

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            agent.fail(lambda: MachineError("r1: the guest's kernel panicked"))
        with pytest.raises(MachineError, match="panicked"):
            await agent.wait_ready()
        agent.fail(None)
        fake.held.set()
        await agent.wait_ready()


async def test_an_agent_that_goes_away_ends_the_call_and_may_come_back() -> None:
    async with connected() as (agent, fake):
        await agent.wait_ready()
        fake.held = trio.Event()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(AgentError, match="ended meanwhile"):
                    await agent.info()

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            agent.interrupt()
        fake.held.set()
        assert (await agent.info()).version == "7.2.22"


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, 2 * CHUNK + 5])
async def test_files_of_any_size_make_the_round_trip_and_are_closed(size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    async with connected() as (agent, fake):
        await agent.write_file("/tmp/x", content[:size])
        assert await agent.read_file("/tmp/x") == content[:size]
        assert fake.handles == {}


async def test_a_file_is_closed_when_its_reader_is_cancelled(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001  # Trio takes the clock that a test asks for
) -> None:
    async with connected(files={"/a": bytes(9 * CHUNK)}) as (agent, fake):
        await agent.wait_ready()
        with trio.CancelScope() as scope:

            def cancel(arguments: dict[str, Any]) -> object:
                scope.cancel()
                return FakeAgent.guest_file_read(fake, arguments)

            fake.guest_file_read = cancel  # pyright: ignore[reportAttributeAccessIssue]  # this one agent's
            await agent.read_file("/a")
        assert scope.cancelled_caught
        assert fake.handles == {}


async def test_a_cancelled_program_is_ended_in_the_guest(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001  # Trio takes the clock that a test asks for
) -> None:
    async with connected(polls=10_000) as (agent, fake):
        with trio.move_on_after(1):
            await agent.execute(["sleep", "1000"])
        kill = next(
            request["arguments"]
            for request in fake.seen
            if request["execute"] == "guest-exec" and "kill" in str(request)
        )
        assert kill["arg"][-1] == "100"
        assert trio.current_time() < 10


async def test_a_program_held_up_by_its_children_does_not_hang_its_caller(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001  # Trio takes the clock that a test asks for
) -> None:
    async with connected(polls=10_000, files={"/proc/self/stat": b""}) as (agent, _):
        with pytest.raises(AgentError, match="keeps its output open"), trio.fail_after(30):
            await agent.execute("daemon & exit 0")


async def test_an_agent_that_freezes_late_thaws_as_well(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001  # Trio takes the clock that a test asks for
) -> None:
    async with connected() as (agent, fake):
        await agent.wait_ready()
        fake.held = trio.Event()
        for question in (agent.freeze, agent.thaw):
            with trio.move_on_after(1) as scope:
                await question()
            assert scope.cancelled_caught
        await agent.post_thaw()
        fake.held.set()
        assert (await agent.execute(["true"])).status == 0
        commands = fake.commands()
    freezing = [name for name in commands if "fsfreeze" in name]
    assert freezing == ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]


async def test_programs_and_files_go_on_when_what_was_frozen_is_thawed(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001  # Trio takes the clock that a test asks for
) -> None:
    results: list[object] = []

    async def run(agent: Agent) -> None:
        results.append((await agent.execute(["make"])).status)

    async with connected(polls=40, files={"/a": b"there"}) as (agent, fake):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, agent)
            await trio.testing.wait_all_tasks_blocked()
            async with agent.open_file("/a", "r") as file:
                await agent.freeze()
                nursery.start_soon(run, agent)
                await trio.sleep(5)
                assert (results, fake.polls > 0) == ([], True)
                await agent.thaw()
                assert [chunk async for chunk in file] == [b"there"]
        assert results == [0, 0]
        # What is refused at any other time is told.
        fake.frozen = True
        with pytest.raises(AgentError):
            await agent.execute(["make"])


async def test_questions_come_fast_at_first_and_then_rarely(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001  # Trio takes the clock that a test asks for
) -> None:
    async with connected(polls=60) as (agent, fake):
        await agent.execute(["make"])
        took = trio.current_time()
        count = fake.commands().count("guest-exec-status")
    assert count == 60
    assert 0.2 < took < 20
