"""Programs in a sandbox: descriptors, exits, failures, and no privileges."""

from __future__ import annotations

import os
import resource
import signal
from functools import partial
from pathlib import Path

import pytest
import trio

from netlab.errors import LaunchError, SandboxError
from netlab.sandbox.sandbox import Sandbox, open_sandbox
from tests.sandbox.conftest import (
    SOON,
    abandon,
    command_line,
    frame,
    hear,
    is_silent,
    plug,
    python,
    segment,
    watch,
)


async def run(sandbox: Sandbox, argv: list[str], *numbers: int) -> str:
    """Run a program to its end; return what it wrote to descriptor 1."""
    reader, writer = os.pipe()
    try:
        process = await sandbox.launch(argv, descriptors=dict.fromkeys((1, *numbers), writer))
    finally:
        os.close(writer)
    text = b""
    async with trio.lowlevel.FdStream(reader) as stream:
        async for part in stream:
            text += part
    assert await process.wait() == 0
    return text.decode()


@pytest.mark.parametrize("status", [0, 1, 42, 255])
async def test_exit_statuses_are_reported(status: int) -> None:
    async with open_sandbox([]) as sandbox:
        process = await sandbox.launch(["sh", "-c", f"exit {status}"], descriptors={})
        assert await process.wait() == status
        assert await process.wait() == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_signals_reach_programs_and_are_told_from_statuses(number: int) -> None:
    async with open_sandbox([]) as sandbox:
        process = await sandbox.launch(["sleep", "60"], descriptors={})
        await process.send_signal(number)
        with trio.fail_after(SOON):
            assert await process.wait() == -number
        await process.send_signal(number)


async def test_the_process_id_is_the_hosts() -> None:
    async with open_sandbox([]) as sandbox:
        process = await sandbox.launch(["sleep", "60"], descriptors={})
        assert command_line(process.pid) == b"sleep\x0060\0"
        os.kill(process.pid, signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL


def read_stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name: the first is the state."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


async def test_programs_share_a_session_without_a_terminal_and_each_has_its_group() -> None:
    async with open_sandbox([]) as sandbox:
        pids = [(await sandbox.launch(["sleep", "60"], descriptors={})).pid for _ in range(2)]
        assert len({os.getsid(pid) for pid in pids} - {os.getsid(0)}) == 1
        assert [os.getpgid(pid) for pid in pids] == pids
        # proc_pid_stat(5): the seventh is the controlling terminal, 0 when there is none.
        assert [read_stat(pid)[4] for pid in pids] == ["0", "0"]


async def test_a_program_that_ends_at_once_has_its_true_process_id_and_status() -> None:
    async with open_sandbox([]) as sandbox:
        pids = set[int]()
        for _ in range(20):
            process = await sandbox.launch(["false"], descriptors={})
            pids.add(process.pid)
            assert await process.wait() == 1
        assert len(pids) == 20
        assert min(pids) > 1


@pytest.mark.parametrize("start", [3, 4, 5, 6, 7, 8, 9, 10, 60])
async def test_descriptors_arrive_under_their_numbers_even_when_numbers_collide(
    start: int,
) -> None:
    """Descriptors of PID 1 have just such numbers: a careless dup2 would overwrite its sources."""
    code = (
        "import os, sys\nfor number in map(int, sys.argv[1:]): os.write(number, b'%d.' % number)\n"
    )
    numbers = [start + offset for offset in (5, 3, 4, 0, 1, 2)]
    files = {number: os.memfd_create("netlab-test") for number in numbers}
    try:
        async with open_sandbox([segment("wire")]) as sandbox:
            process = await sandbox.launch(
                python(code, *map(str, numbers)),
                descriptors=files,
                taps={start + 6: "wire.0", start + 7: "wire.1"},
            )
            assert await process.wait() == 0
        written = {number: os.pread(file, 100, 0) for number, file in files.items()}
        assert written == {number: b"%d." % number for number in numbers}
    finally:
        for file in files.values():
            os.close(file)


async def test_one_descriptor_can_be_given_under_several_numbers() -> None:
    async with open_sandbox([]) as sandbox:
        assert await run(sandbox, ["sh", "-c", "echo 2 >&2; echo 7 >&7"], 2, 7) == "2\n7\n"


async def test_a_program_gets_what_it_was_given_and_no_more() -> None:
    code = (
        "import os\n"
        "listed = sorted(map(int, os.listdir('/proc/self/fd')))\n"
        "print(*(n for n in listed if os.path.exists(f'/proc/self/fd/{n}')))"
    )
    async with open_sandbox([segment("lan", 30)]) as sandbox:
        assert await run(sandbox, python(code), 9) == "0 1 2 9\n"


async def test_standard_descriptors_are_the_null_device_unless_given() -> None:
    code = "import os; print(*(os.readlink(f'/proc/self/fd/{n}') for n in (0, 2)))"
    async with open_sandbox([]) as sandbox:
        assert await run(sandbox, python(code)) == "/dev/null /dev/null\n"


async def test_programs_have_no_privileges_over_the_lab() -> None:
    code = (
        "status = dict(l.split(':\\t') for l in open('/proc/self/status') if ':\\t' in l)\n"
        "print(*(status[key].strip() for key in ('CapEff', 'CapPrm', 'CapInh', 'NoNewPrivs')))"
    )
    async with open_sandbox([segment("wire")]) as sandbox:
        effective, permitted, inherited, sealed = (await run(sandbox, python(code))).split()
        # CAP_DAC_OVERRIDE alone: to open the files that root opens.
        assert int(effective, 16) & ~0b10 == int(permitted, 16) & ~0b10 == 0
        assert (int(inherited, 16), sealed) == (0, "1")
        attempt = "ip link set wire.0 down 2>/dev/null && echo done || echo refused"
        assert await run(sandbox, ["sh", "-c", attempt]) == "refused\n"


async def test_programs_see_only_the_labs_processes() -> None:
    code = "import os; print(*(n for n in os.listdir('/proc') if n.isdigit()), os.getpid())"
    async with open_sandbox([]) as sandbox:
        listed = (await run(sandbox, python(code))).split()
        assert set(listed) == {"1", listed[-1]}


async def test_signal_handling_and_limits_are_what_a_fresh_program_expects() -> None:
    code = (
        "status = dict(l.split(':\\t') for l in open('/proc/self/status') if ':\\t' in l)\n"
        "print(*(status[key].strip() for key in ('SigBlk', 'SigIgn')))\n"
        "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
    try:
        async with open_sandbox([]) as sandbox:
            blocked, ignored, limit = (await run(sandbox, python(code))).split()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    # Python itself ignores SIGPIPE and SIGXFSZ.
    usual = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1
    assert (int(blocked, 16), int(ignored, 16), limit) == (0, usual, "1000")


REASONS: dict[str, tuple[list[str], str]] = {
    "a program that is not there": (["no-such-program"], "No such file or directory"),
    "a path that is not there": (["/no/such/program", "-x"], "No such file or directory"),
    "a folder": (["/tmp"], "Permission denied"),
    "a null byte": (["true", "a\0b"], "null byte"),
    "nothing": ([], "no name"),
    "an empty name": ([""], "no name"),
    "an argument that is too long": (["true", "x" * 200_000], "Argument list too long"),
}


@pytest.mark.parametrize("name", REASONS)
async def test_a_program_that_cannot_be_started_says_why(name: str) -> None:
    argv, reason = REASONS[name]
    async with open_sandbox([]) as sandbox:
        with pytest.raises(LaunchError, match=reason) as caught:
            await sandbox.launch(argv, descriptors={})
        if argv:
            assert argv[0] in (caught.value.evidence or "")
        # It goes on all the same.
        process = await sandbox.launch(["true"], descriptors={})
        assert await process.wait() == 0


async def test_impossible_descriptor_numbers_are_refused() -> None:
    async with open_sandbox([segment("wire")]) as sandbox:
        with pytest.raises(LaunchError, match="given twice"):
            await sandbox.launch(["true"], descriptors={3: 0}, taps={3: "wire.0"})
        with pytest.raises(LaunchError, match="not negative"):
            await sandbox.launch(["true"], descriptors={-1: 0})
        with pytest.raises(LaunchError, match="at most 250"):
            await sandbox.launch(["true"], descriptors=dict.fromkeys(range(3, 300), 0))
        with pytest.raises(LaunchError, match="could not be started"):
            await sandbox.launch(["true"], descriptors={2**30: 0})
        with pytest.raises(LaunchError, match="not open"):
            await sandbox.launch(["true"], descriptors={3: 2**20})
        await sandbox.verify_wiring()


async def test_as_many_descriptors_as_one_message_carries_arrive() -> None:
    async with open_sandbox([]) as sandbox:
        code = "import os; [os.fstat(number) for number in range(3, 253)]"
        process = await sandbox.launch(python(code), descriptors=dict.fromkeys(range(3, 253), 0))
        assert await process.wait() == 0


async def test_long_command_lines_and_odd_bytes_arrive() -> None:
    words = ["x" * 100_000, "y" * 100_000, "ä€", "\udcff", "a b\n'\"$(echo)"]
    code = "import os, sys; os.write(1, b'|'.join(map(os.fsencode, sys.argv[1:])))"
    async with open_sandbox([]) as sandbox:
        reader, writer = os.pipe()
        process = await sandbox.launch(python(code, *words), descriptors={1: writer})
        os.close(writer)
        text = b""
        async with trio.lowlevel.FdStream(reader) as stream:
            async for part in stream:
                text += part
        assert await process.wait() == 0
    assert text == b"|".join(map(os.fsencode, words))


async def test_a_tap_belongs_to_one_program_and_then_to_the_next() -> None:
    async with open_sandbox([segment("wire")]) as sandbox:
        async with plug(sandbox, "wire.0"):
            with pytest.raises(LaunchError, match=r"tap wire\.0 is in use by process \d+"):
                await sandbox.launch(["true"], descriptors={}, taps={3: "wire.0"})
        async with plug(sandbox, "wire.0") as tap:
            assert is_silent(tap)


async def test_a_machine_that_starts_anew_hears_nothing_of_the_past() -> None:
    async with open_sandbox([segment("wire")]) as sandbox, plug(sandbox, "wire.0") as ours:
        async with plug(sandbox, "wire.1"):
            pass
        os.write(ours, frame(b"while nobody listens"))
        async with plug(sandbox, "wire.1") as theirs:
            os.write(ours, frame(b"now"))
            assert await hear(theirs) == frame(b"now")


async def test_a_machine_starts_on_a_port_that_is_down() -> None:
    async with open_sandbox([segment("wire")]) as sandbox:
        await sandbox.set_port("wire.0", up=False)
        async with plug(sandbox, "wire.0"), plug(sandbox, "wire.1") as theirs:
            assert is_silent(theirs)


async def test_orphans_are_reaped() -> None:
    async with open_sandbox([]) as sandbox:
        process = await sandbox.launch(["sh", "-c", "sleep 0 & exit 3"], descriptors={})
        assert await process.wait() == 3
        # The kernel tells a parent of each death once; PID 1 answers after it has looked.
        with watch(sandbox.pid) as namespace, trio.fail_after(SOON):
            while len(namespace.processes()) > 2:
                await sandbox.counters()


async def test_many_programs_start_and_end_at_once() -> None:
    statuses: dict[int, int] = {}

    async def one(sandbox: Sandbox, status: int) -> None:
        process = await sandbox.launch(["sh", "-c", f"exit {status}"], descriptors={})
        statuses[status] = await process.wait()

    async with open_sandbox([]) as sandbox, trio.open_nursery() as nursery:
        for status in range(40):
            nursery.start_soon(one, sandbox, status)
    assert statuses == {status: status for status in range(40)}


async def test_a_launch_that_is_cancelled_leaves_no_program() -> None:
    async with open_sandbox([]) as sandbox:
        with watch(sandbox.pid) as namespace:
            await abandon(sandbox, partial(sandbox.launch, ["sleep", "60"], descriptors={}))
            # Done after the launch, which was asked for first.
            await sandbox.counters()
            with trio.fail_after(SOON):
                while len(namespace.processes()) > 2:
                    await sandbox.counters()


async def test_after_the_scope_every_call_says_that_it_has_ended() -> None:
    async with open_sandbox([segment("wire")]) as sandbox:
        process = await sandbox.launch(["sleep", "60"], descriptors={})
    for call in (sandbox.counters, sandbox.verify_wiring, process.wait, sandbox.wait_exit):
        with pytest.raises(SandboxError, match="the sandbox has ended"):
            await call()
    with pytest.raises(SandboxError, match="the sandbox has ended"):
        await sandbox.launch(["true"], descriptors={})
    with pytest.raises(SandboxError, match="the sandbox has ended"):
        await process.send_signal(15)
