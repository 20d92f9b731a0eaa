"""Events, errors as records, capacity."""

import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing
from starlette.responses import JSONResponse

from netlab import errors
from netlab.errors import (
    AgentCommandError,
    CapacityError,
    MachineDiedError,
    NetlabError,
    leaves,
)
from netlab.lab.capacity import (
    DISPLAY,
    OVERHEAD,
    check_capacity,
    memory_available,
    memory_needed,
)
from netlab.lab.events import EventLog, open_event_log
from netlab.lab.folders import promises_folder
from netlab.lab.promises import memory_promised, open_promise
from netlab.lab.records import from_record, to_record
from netlab.plan.codec import to_json
from netlab.plan.model import FirmwarePlan, NodePlan, Plan
from netlab.scopes import open_tasks

NODE = NodePlan(
    name="r1",
    id=1,
    id_given=True,
    image="micro",
    arch="x86_64",
    accel="auto",
    cpus=1,
    memory=128,
    display="none",
    wire="exact",
    uuid="00000000-0000-0000-0000-000000000000",
    interfaces=(),
    loopback=(),
    routes=(),
    files=(),
    run=(),
)
PLAN = Plan(lab="lab", topology="lab", nodes=(NODE,), segments=(), hosts=(), warnings=())


async def test_a_late_follower_reads_every_event_from_the_beginning() -> None:
    file = io.StringIO()
    log = EventLog(file)
    log.record("node", "boots", node="r1", state="booting")
    async with log.open_follow() as events:
        log.record("node", "is ready", node="r1", state="ready")
        seen = [await anext(events), await anext(events)]
    assert [event.state for event in seen] == ["booting", "ready"]
    assert [json.loads(line)["state"] for line in file.getvalue().splitlines()] == [
        "booting",
        "ready",
    ]


async def test_a_follower_that_left_is_forgotten() -> None:
    log = EventLog()
    async with log.open_follow():
        pass
    log.record("lab", "goes on")
    assert [event.message for event in log] == ["goes on"]


async def test_a_follower_that_leaves_does_not_disturb_who_records() -> None:
    log = EventLog()

    async def record() -> None:
        while True:
            log.record("node", "something")
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(record)
        for _follower in range(20):
            async with log.open_follow() as events:
                await anext(events)
        nursery.cancel_scope.cancel()


def test_an_error_survives_the_way_over_the_control_api() -> None:
    error = MachineDiedError("r1", ["qemu"], 1, "no memory")
    copy = from_record(json.loads(json.dumps(to_record(error))))
    assert type(copy) is MachineDiedError
    assert (copy.message, copy.hint, copy.evidence) == (error.message, error.hint, error.evidence)


@pytest.mark.parametrize("name", ["TopologyError", "MissingProgramError", "QMPCommandError"])
def test_classes_that_make_their_own_message_keep_it_on_the_way(name: str) -> None:
    copy = from_record({"class": name, "message": "as it was", "hint": "h", "evidence": None})
    assert type(copy) is getattr(errors, name)
    assert str(copy) == "as it was (h)"


def test_an_error_of_no_known_class_is_still_an_error() -> None:
    assert isinstance(from_record({"class": "OSError", "message": "x"}), NetlabError)


def test_a_foreign_error_is_told_by_its_representation() -> None:
    assert to_record(ValueError("x"))["message"] == "ValueError('x')"


def test_leaves_of_nested_groups_are_found_in_order() -> None:
    one, two, three = ValueError(), KeyError(), OSError()
    assert leaves(ExceptionGroup("a", [one, ExceptionGroup("b", [two]), three])) == [
        one,
        two,
        three,
    ]


async def test_a_single_failure_in_a_task_scope_is_raised_as_itself() -> None:
    async def fail() -> None:
        raise KeyError("deep")

    async def wait_in_scope() -> None:
        async with open_tasks() as tasks:
            tasks.start_soon(fail)
            await trio.sleep_forever()

    with pytest.raises(KeyError, match="deep"):
        await wait_in_scope()


async def test_two_failures_in_a_task_scope_stay_a_group() -> None:
    async def fail(error: Exception) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise error

    async def fail_twice() -> None:
        async with open_tasks() as tasks:
            tasks.start_soon(fail, KeyError())
            tasks.start_soon(fail, OSError())
            await trio.testing.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()

    with pytest.raises(ExceptionGroup) as caught:
        await fail_twice()
    assert {type(leaf) for leaf in leaves(caught.value)} == {KeyError, OSError}


async def test_cancelling_from_outside_passes_through_a_task_scope() -> None:
    with trio.CancelScope() as scope:
        async with open_tasks():
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


def test_a_plan_that_fits_is_let_through() -> None:
    check_capacity(PLAN, 128 + OVERHEAD)


def test_a_plan_that_does_not_fit_is_refused_with_both_figures() -> None:
    big = replace(PLAN, nodes=(replace(NODE, memory=4000),))
    with pytest.raises(CapacityError, match=f"need {4000 + OVERHEAD} MiB.*4000 MiB are available"):
        check_capacity(big, 4000)


def test_a_display_takes_memory_of_its_own() -> None:
    shown = replace(PLAN, nodes=(replace(NODE, display="virtio"),))
    with pytest.raises(CapacityError, match=f"need {128 + OVERHEAD + DISPLAY} MiB"):
        check_capacity(shown, 128 + OVERHEAD)


@pytest.mark.parametrize(("arch", "flashes"), [("x86_64", 4), ("aarch64", 128)])
def test_uefi_takes_the_memory_of_its_flashes(arch: str, flashes: int) -> None:
    uefi = FirmwarePlan(kind="uefi", code=None, vars=None)
    plan = replace(PLAN, nodes=(replace(NODE, arch=arch, firmware=uefi),))
    assert memory_needed(plan) == memory_needed(PLAN) + flashes


def test_the_cgroups_limit_counts_when_it_is_lower(tmp_path: Path) -> None:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 2097152 kB\n")
    (proc / "self/cgroup").write_text("0::/user/lab\n")
    (cgroups / "user/lab").mkdir(parents=True)
    assert memory_available(proc, cgroups) == 2048
    (cgroups / "user/lab/memory.max").write_text("max\n")
    (cgroups / "user/lab/memory.current").write_text("5\n")
    (cgroups / "user/memory.max").write_text(f"{512 << 20}\n")
    (cgroups / "user/memory.current").write_text(f"{12 << 20}\n")
    assert memory_available(proc, cgroups) == 500


def test_a_host_without_cgroup_version_2_is_measured_by_the_kernels_estimate() -> None:
    assert memory_available() > 0


async def test_what_other_labs_were_promised_is_not_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    proc = tmp_path / "proc"
    pid = os.getpid()
    async with open_promise(PLAN, wait=False):
        assert memory_promised(proc) == 128 + OVERHEAD
        # A process that uses more than that has been given what it was promised.
        for number, pages, children in ((pid, 10, "4712"), (4712, 25600, "")):
            (proc / f"{number}/task/{number}").mkdir(parents=True)
            (proc / f"{number}/statm").write_text(f"99999 {pages} 0 1 0 1 0\n")
            (proc / f"{number}/task/{number}/children").write_text(children)
        assert memory_promised(proc) == 28 + OVERHEAD
        async with open_promise(PLAN, wait=False):
            assert memory_promised(proc) == 28 + OVERHEAD + 128 + OVERHEAD
    assert memory_promised(proc) == 0


@pytest.fixture
def _room_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this host have memory for PLAN once, and nobody else know of it."""
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr("netlab.lab.promises.memory_available", lambda: 128 + OVERHEAD + 1)
    monkeypatch.setattr("netlab.lab.promises.memory_used", lambda _proc, _pid: 0)  # pyright: ignore


@pytest.mark.usefixtures("_room_for_one")
async def test_a_lab_waits_until_another_has_ended_if_it_may() -> None:
    order: list[str] = []
    first, refused = trio.Event(), trio.Event()

    async def begin() -> None:
        await first.wait()
        with pytest.raises(CapacityError, match="are available"):
            await open_promise(PLAN, wait=False).__aenter__()
        refused.set()
        async with open_promise(PLAN, wait=True):
            order.append("second")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(begin)
        async with open_promise(PLAN, wait=True):
            first.set()
            await refused.wait()
            await trio.testing.wait_all_tasks_blocked()
            order.append("first")
    assert order == ["first", "second"]
    # A lab that dies keeps no promise.
    died = promises_folder() / "4711-dead"
    died.write_text('{"pid": 4711, "needed": 1000}')
    assert memory_promised() == 0
    assert not died.exists()


HOLDER = """
import sys, trio
from netlab.lab import promises
from netlab.lab.promises import open_promise
from netlab.plan.codec import from_json

promises.memory_available = lambda: 10_000

async def main():
    async with open_promise(from_json(sys.argv[1]), wait=False):
        print("promised", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def start_holder() -> subprocess.Popen[str]:
    """Start a process that has memory promised until it ends."""
    words = (sys.executable, "-c", HOLDER, to_json(PLAN))
    holder = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder.stdout as stdout:
        assert stdout.readline() == "promised\n"
    return holder


@pytest.mark.usefixtures("_room_for_one")
async def test_a_lab_waits_for_one_of_another_process_however_that_ends() -> None:
    holder = start_holder()
    with pytest.raises(CapacityError):
        await open_promise(PLAN, wait=False).__aenter__()

    async def end() -> None:
        await trio.testing.wait_all_tasks_blocked()
        holder.kill()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            async with open_promise(PLAN, wait=True):
                assert holder.wait() == -signal.SIGKILL


@pytest.mark.usefixtures("_room_for_one")
async def test_a_lab_that_ends_while_another_looks_whether_there_is_room_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    holder = start_holder()

    def end_and_check(plan: Plan, available: int) -> None:
        holder.kill()
        holder.wait()
        check_capacity(plan, available)

    monkeypatch.setattr("netlab.lab.promises.check_capacity", end_and_check)
    with trio.fail_after(20):
        async with open_promise(PLAN, wait=True):
            assert holder.returncode == -signal.SIGKILL


async def test_a_promise_that_is_just_being_written_is_not_taken_for_a_dead_labs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr("netlab.lab.promises.memory_used", lambda _proc, _pid: 0)  # pyright: ignore
    looked: list[int] = []
    write = os.write

    def write_and_look(descriptor: int, data: bytes) -> int:
        count = write(descriptor, data)
        if b"needed" in data:
            looked.append(memory_promised())
        return count

    monkeypatch.setattr("os.write", write_and_look)
    async with open_promise(PLAN, wait=False):
        assert looked == [128 + OVERHEAD]
        assert memory_promised() == 128 + OVERHEAD


@pytest.mark.parametrize("said", ["\ud800", "one\u2028two\x85three", "é"])
def test_whatever_a_guest_says_is_one_line_of_the_log_and_an_answer(
    tmp_path: Path, said: str
) -> None:
    error = AgentCommandError({"execute": "guest-exec"}, {"error": {"desc": said}})
    with open_event_log(tmp_path / "events") as log:
        log.record("node", str(error), node="r1", state="failed")
    (line,) = (tmp_path / "events").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["message"] == error.message
    answer = JSONResponse({"error": to_record(error)})
    assert json.loads(bytes(answer.body))["error"]["message"] == error.message
