"""The traps of the NixOS test driver, one by one, and what netlab does in their place.

Each row of :data:`TRAPS` is proved on real guests; rows that can share a boot do. The page
``netlab help nixos`` shows the same rows.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import trio.lowlevel

import netlab
from netlab import open_lab, resolve
from netlab.errors import (
    AgentError,
    CheckError,
    CommandError,
    ConditionError,
    HostError,
    MachineDiedError,
    MachineError,
    NetlabError,
    NotReadyError,
    WaitError,
)
from netlab.lab.folders import LabFolders
from netlab.lab.lab import Lab
from netlab.scopes import open_background, open_tasks
from netlab.testing import LabDriver
from netlab.testing.conditions import Parts
from netlab.testing.script import ScriptResult, make_script, run_script
from netlab.topology.load import loads
from tests.testing.conftest import LIMIT, live

PAGE = (Path(netlab.__file__).parent / "docs/nixos.md").read_text()

PROPERTIES = {
    *("standard error", "standard input", "timeout", "death in a command", "background jobs"),
    *("size of output", "concurrency", "partial send", "conditions", "decoding"),
    *("end of a reply", "exit status"),
}
"""What is peculiar about that driver's way to run a command."""

TIMING = {
    *("three times", "inner timeout", "events", "console pace", "copy collisions"),
    *("is_up", "leak", "shutdown", "cables", "size of a copy"),
}
"""What its verbs do beside that."""

THEMES = {
    *("slow boot", "open output", "dead QEMU", "console waits", "interactive", "reports"),
    *("no KVM", "macOS", "VDE", "no snapshots", "no pcap", "no impairments", "addressing"),
    *("iteration", "containers", "OCR", "other guests"),
}
"""What its users complain about."""

ALIVE = "name: alive\nnodes: {a: {id: 1, vlans: 7, memory: 512, display: std}}\n"
PAIR = "name: pair\nnodes: {a: {id: 1, vlans: 5}, b: {id: 2, vlans: 5}}\nlinks: ['a -- b']\n"
STUCK = "name: stuck\nnodes: {a: {id: 1, run: ['until test -e /tmp/go; do sleep 0.2; done']}}\n"

PER_ROW = 60.0
"""Seconds after which a row hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap:
    """A trap.

    Attributes:
        name: What it is about.
        there: What the NixOS driver does.
        here: What netlab does.
        proof: Shows that on a lab; it has a folder of its own.
        covers: Which of the names above it answers.
    """

    name: str
    there: str
    here: str
    proof: Callable[[LabDriver, Path], Awaitable[None]]
    covers: tuple[str, ...]


@contextmanager
def told(kind: type[NetlabError], pattern: str) -> Generator[None]:
    """Expect an error; that there is none fails the row and not the whole table."""
    try:
        yield
    except kind as error:
        said = f"{error}\n{error.evidence}"
    else:
        raise AssertionError(f"no {kind.__name__} was raised")
    assert re.search(pattern, said), said


async def run(lab: LabDriver, text: str, folder: Path | None = None) -> ScriptResult:
    return await run_script(make_script(text), lab, timeout=PER_ROW, out=folder)


async def kill(lab: LabDriver, node: str) -> None:
    pid = lab[node].node.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


# One guest that is well.


async def standard_error(lab: LabDriver, _folder: Path) -> None:
    outcome = await lab["a"].execute("echo out; echo err >&2")
    assert (outcome.stdout, outcome.stderr) == ("out\n", "err\n")
    with told(CommandError, "exited with status 4: why"):
        await lab["a"].succeed("echo why >&2; exit 4")


async def standard_input(lab: LabDriver, _folder: Path) -> None:
    assert (await lab["a"].execute("cat; echo end")).stdout == "end\n"
    assert (await lab["a"].execute("cat", input="typed")).stdout == "typed"
    assert await lab["a"].succeed("echo in step") == "in step\n"


async def hung_guest(lab: LabDriver, _folder: Path) -> None:
    async with lab["a"].paused():
        with told(WaitError, "`true` did not end within 1 s: the machine is paused"):
            await lab["a"].succeed("true", timeout=1)
    assert await lab["a"].succeed("echo back") == "back\n"


async def three_times(lab: LabDriver, _folder: Path) -> None:
    began = trio.current_time()
    with told(WaitError, "did not succeed within 1 s"):
        await lab["a"].wait_until_succeeds("sleep 51; false", timeout=1)
    # That it is three seconds there is what the row is about.
    assert trio.current_time() - began < 3
    await lab["a"].wait_until_fails("pidof sleep")


async def inner_timeout(lab: LabDriver, _folder: Path) -> None:
    with told(WaitError, "port 81 at localhost was not open within 1 s: nobody listens"):
        await lab["a"].wait_for_open_port(81, timeout=1)
    async with lab["a"].paused():
        with told(WaitError, "port 81 at localhost was not open within 1 s: the machine is paused"):
            await lab["a"].wait_for_open_port(81, timeout=1)


async def background_job(lab: LabDriver, _folder: Path) -> None:
    with told(AgentError, "keeps its output open.*redirect the output"):
        await lab["a"].succeed("sleep 52 & exit 0")
    await lab["a"].succeed("sleep 52 >/dev/null 2>&1 & exit 0")
    await lab["a"].succeed("killall sleep")


async def size_of_output(lab: LabDriver, _folder: Path) -> None:
    size = 0

    def count(_name: str, data: bytes) -> None:
        nonlocal size
        size += len(data)

    await lab["a"].execute("head -c 17000000 /dev/zero", output=count)
    assert size == 17_000_000
    with told(CommandError, "printed more than .* 16 MiB"):
        await lab["a"].execute("head -c 17000000 /dev/zero")


async def concurrency(lab: LabDriver, _folder: Path) -> None:
    """The one ends only if the other runs at the same time; and many get each its own answer."""
    await lab["a"].succeed("mkfifo /tmp/between")
    found: dict[int, str] = {}

    async def ask(number: int) -> None:
        found[number] = await lab["a"].succeed(f"cat /tmp/between; echo {number}")

    async with open_tasks() as tasks:
        tasks.start_soon(ask, -1)
        await lab["a"].succeed("echo met >/tmp/between")
    assert found == {-1: "met\n-1\n"}
    await lab["a"].succeed("rm /tmp/between; touch /tmp/between")
    async with open_tasks() as tasks:
        for number in range(8):
            tasks.start_soon(ask, number)
    assert {number: found[number] for number in range(8)} == {n: f"{n}\n" for n in range(8)}


async def partial_send(lab: LabDriver, _folder: Path) -> None:
    """More than a socket holds, so that it has to be sent in parts."""
    data = os.urandom(3 << 20)
    outcome = await lab["a"].execute("sha256sum", input=data)
    assert outcome.stdout.split()[0] == hashlib.sha256(data).hexdigest()


async def conditions(lab: LabDriver, _folder: Path) -> None:
    async def holds() -> bool:
        return (await lab["a"].look("test -e /tmp/holds")).status == 0

    await lab["a"].succeed("touch /tmp/holds; (sleep 1; rm /tmp/holds) >/dev/null 2>&1 &")
    with told(ConditionError, "it holds: it does not hold any more"):
        async with lab.polling_condition(holds, interval=0.1, description="it holds"):
            await lab["a"].wait_for_console_text("this never comes")


async def decoding(lab: LabDriver, _folder: Path) -> None:
    outcome = await lab["a"].execute(r"printf '\303'; head -c 4095 /dev/zero; printf '\244\377'")
    assert outcome.raw.stdout == b"\303" + bytes(4095) + b"\244\377"
    assert outcome.stdout[-1] == "\N{REPLACEMENT CHARACTER}"


async def end_of_a_reply(lab: LabDriver, _folder: Path) -> None:
    """What is printed anywhere else in the guest does not get between."""
    noise = r"while :; do printf 'A\n\303\n7\n' >/dev/console; done"
    async with open_background() as tasks:
        tasks.start_soon(lab["a"].execute, noise)
        for number in range(5):
            outcome = await lab["a"].execute(f"echo; echo {number}; exit {number}")
            assert (outcome.status, outcome.stdout) == (number, f"\n{number}\n")


async def exit_status(lab: LabDriver, _folder: Path) -> None:
    """A script for that driver finds its rules, a test of netlab's the shell's own."""
    assert await lab["a"].succeed("false | true; echo on") == "on\n"
    assert (await lab["a"].execute("kill -9 $$")).status == -signal.SIGKILL
    text = "machine.fail('false | true')\nmachine.fail('false; true')\nmachine.fail('echo $NONE')"
    assert str(await run(lab, text)).startswith("passed")


async def console_pace(lab: LabDriver, _folder: Path) -> None:
    """Two hundred lines: more than the row's seconds, if each took one."""
    await lab["a"].succeed("for i in $(seq 200); do echo line $i; done >/dev/ttyS0")
    for number in (1, 2, 200):
        found = await lab["a"].wait_for_console_text(rf"line {number}$", timeout=30)
        assert found == f"line {number}"


async def events(lab: LabDriver, _folder: Path) -> None:
    """One that came earlier than another is still there when the other has been waited for."""
    text = """
machine.qmp_client.send("stop")
machine.qmp_client.send("cont")
for name in ("RESUME", "STOP"):
    machine.wait_for_qmp_event(lambda event: event["event"] == name, timeout=10)
with t.assertRaisesRegex(Exception, "QEMU told no such event within"):
    machine.wait_for_qmp_event(lambda event: False, timeout=1)
"""
    assert str(await run(lab, text)).startswith("passed")


async def reports(lab: LabDriver, _folder: Path) -> None:
    parts = Parts()
    with parts.subtest("one", go_on=True):
        await lab["a"].succeed("false")
    with parts.subtest("two", go_on=True):
        await lab["a"].succeed("sleep 1")
    with parts.subtest("three", go_on=True):
        await lab["a"].fail("true")
    with told(CheckError, r"2 of 3 parts failed(.|\n)*one: a: `false`(.|\n)*three: a: `true`"):
        parts.check()
    assert parts.done[1].seconds >= 1


async def interactive(lab: LabDriver, _folder: Path) -> None:
    async with lab["a"].open_stream("read name; echo hello $name; exit 3") as stream:
        await stream.send_all(b"netlab\n")
        assert await stream.receive() == b"hello netlab\n"
        assert await stream.receive() == b""
        assert stream.status == 3
    assert await lab["a"].succeed("echo in step") == "in step\n"


async def misread_screen(lab: LabDriver, _folder: Path) -> None:
    await lab["a"].succeed("printf '\\nlI1| O0\\n' >/dev/tty1")
    assert await lab["a"].wait_for_screen_text("^lI1. O0$") == "lI1| O0"


async def other_guests(lab: LabDriver, _folder: Path) -> None:
    assert await lab["a"].succeed("ls -d /nix /run/current-system 2>/dev/null || exit 0") == ""
    assert str(await run(lab, "assert machine.succeed('hostname') == 'a\\n'")).startswith("passed")


async def iteration(lab: LabDriver, _folder: Path) -> None:
    text = "print(machine.succeed('cat /proc/sys/kernel/random/boot_id'))"
    before = await lab["a"].succeed("cat /proc/sys/kernel/random/boot_id")
    for _ in range(2):
        assert str(await run(lab, text)).startswith("passed")
    assert await lab["a"].succeed("cat /proc/sys/kernel/random/boot_id") == before


async def silent_emulation(lab: LabDriver, _folder: Path) -> None:
    said = [event.message for event in lab.lab.events if event.kind == "accel"]
    assert said
    assert all(re.match(r"(kvm|tcg): .+", message) for message in said)


WELL = (
    Trap(
        name="standard error",
        there="goes to the console and is not returned",
        here="returned apart, and part of a failure's message",
        proof=standard_error,
        covers=("standard error",),
    ),
    Trap(
        name="a command that reads",
        there="eats the driver's next line",
        here="reads nothing, or what `input=` gives",
        proof=standard_input,
        covers=("standard input",),
    ),
    Trap(
        name="a guest that hangs",
        there="keeps the time itself, so the driver hangs too",
        here="the host keeps the time, and says that the guest is paused or does not answer",
        proof=hung_guest,
        covers=("timeout",),
    ),
    Trap(
        name="waiting three times as long",
        there="an attempt gets the whole timeout, and one more comes behind it",
        here="one deadline for all attempts; the one that runs is ended with it",
        proof=three_times,
        covers=("three times",),
    ),
    Trap(
        name="a time of its own inside a wait",
        there="waiting for a port asks with 900 seconds a look, whatever the timeout is",
        here="a look has no time but the wait's",
        proof=inner_timeout,
        covers=("inner timeout",),
    ),
    Trap(
        name="a daemon that keeps the output open",
        there="the command never ends",
        here="an error within two to four seconds that says what to redirect",
        proof=background_job,
        covers=("background jobs", "open output"),
    ),
    Trap(
        name="much output",
        there="all of it comes through a console, encoded, at the end",
        here="as it comes with `output=`; without, more than 16 MiB is an error",
        proof=size_of_output,
        covers=("size of output",),
    ),
    Trap(
        name="commands side by side",
        there="one at a time; threads get each other's answers",
        here="as many as you like, each with its own answer",
        proof=concurrency,
        covers=("concurrency",),
    ),
    Trap(
        name="a large request",
        there="may be sent in part",
        here="sent whole",
        proof=partial_send,
        covers=("partial send",),
    ),
    Trap(
        name="conditions while a console is waited for",
        there="are not looked at",
        here="are, and end the wait",
        proof=conditions,
        covers=("conditions",),
    ),
    Trap(
        name="bytes that are no text",
        there="cut in the wrong place they are an error, or become other data",
        here="returned as they are in `raw`; what is no UTF-8 is replaced in the text",
        proof=decoding,
        covers=("decoding",),
    ),
    Trap(
        name="a line that somebody else prints",
        there="ends a reply early, and every later one is out of step",
        here="does not come near: answers are numbered, and travel on a channel of their own",
        proof=end_of_a_reply,
        covers=("end of a reply",),
    ),
    Trap(
        name="a pipe's status",
        there="strict shell options, which a script relies on",
        here="the same for such scripts; netlab's own verbs leave the shell as it is",
        proof=exit_status,
        covers=("exit status",),
    ),
    Trap(
        name="a console that prints fast",
        there="a line a second is looked at",
        here="all that was printed is looked at, as it comes",
        proof=console_pace,
        covers=("console pace", "console waits"),
    ),
    Trap(
        name="QEMU's events in another order",
        there="those that do not match are dropped, and each gives the wait all its time again",
        here="they stay for who waits for them later; one timeout for the whole wait",
        proof=events,
        covers=("events",),
    ),
    Trap(
        name="the second subtest that fails",
        there="is never run",
        here="`go_on=True` runs them all, and reports each with its time",
        proof=reports,
        covers=("reports",),
    ),
    Trap(
        name="a program that is spoken with",
        there="by the driver's one shell, which it may put out of step",
        here="by a stream of its own: `open_stream`, `netlab exec -t`",
        proof=interactive,
        covers=("interactive",),
    ),
    Trap(
        name="text on the screen",
        there="is guessed by OCR",
        here="is read from the console's memory; only what is drawn is guessed",
        proof=misread_screen,
        covers=("OCR",),
    ),
    Trap(
        name="guests that are no NixOS",
        there="lack the shell that the driver speaks with",
        here="need QEMU's guest agent and a `/bin/sh`",
        proof=other_guests,
        covers=("other guests",),
    ),
    Trap(
        name="a script that is changed",
        there="boots everything again",
        here="runs again on the lab that is up",
        proof=iteration,
        covers=("iteration",),
    ),
    Trap(
        name="emulation in the place of KVM",
        there="is silent, and ten times slower",
        here="is an event with its reason; `accel: kvm` insists",
        proof=silent_emulation,
        covers=("no KVM",),
    ),
)

# Two guests and what is between them.


async def cables(lab: LabDriver, _folder: Path) -> None:
    first, second = (each.name for each in lab["a"].node.plan.interfaces)
    await lab["a"].block(first)
    assert not (await lab["a"].interface(first).guest()).carrier
    assert (await lab["a"].interface(second).guest()).carrier
    await lab["a"].unblock(first)
    await lab.assert_reachable("a", "b")


async def impairments(lab: LabDriver, _folder: Path) -> None:
    async with lab.link("a:eth2", "b").down(), lab.vlan(5).down():
        with told(CheckError, "a does not reach b"):
            await lab.assert_reachable("a", "b")
    names = " ".join(each.name for each in lab["a"].node.plan.interfaces)
    await lab["a"].succeed(f"for i in {names}; do tc qdisc add dev $i root netem loss 100%; done")
    with told(CheckError, "a does not reach b"):
        await lab.assert_reachable("a", "b")
    await lab["a"].succeed(f"for i in {names}; do tc qdisc del dev $i root; done")
    await lab.assert_reachable("a", "b")


async def tags(lab: LabDriver, _folder: Path) -> None:
    for number, node in enumerate(lab, 1):
        name = node.node.plan.interfaces[-1].name
        await node.succeed(
            f"ip link add link {name} name tagged type vlan id 9 &&"
            f" ip address add 10.99.0.{number}/24 dev tagged && ip link set tagged up"
        )
    await lab["a"].wait_until_succeeds("ping -c1 -W1 10.99.0.2")
    for node in lab:
        await node.succeed("ip link delete tagged")


async def captures(lab: LabDriver, folder: Path) -> None:
    async with lab.vlan(5).capture() as capture:
        await lab["a"].execute("arping -c1 -I eth1 192.168.5.2 || ping -c1 -W1 192.168.5.2")
    assert capture.frames
    written = capture.write(folder / "vlan.pcap")
    assert written.stat().st_size > sum(len(frame.data) for frame in capture.frames)


async def addressing(lab: LabDriver, _folder: Path) -> None:
    alone = resolve(loads(PAIR.replace("a: {id: 1, vlans: 5}, ", "").partition("links")[0]))
    (b,) = alone.nodes
    (kept,) = (each.addresses for each in b.interfaces)
    assert kept in [each.addresses for each in lab["b"].node.plan.interfaces]
    macs = [each.mac for node in lab for each in node.node.plan.interfaces]
    assert len(set(macs)) == len(macs) == 4
    for interface in lab["b"].node.plan.interfaces:
        seen = await lab["b"].interface(interface.name).guest()
        assert seen.mac == interface.mac
        assert set(interface.addresses) <= set(seen.addresses)


async def long_paths(_lab: LabDriver, folder: Path) -> None:
    deep = folder / ("x" * 120)
    await trio.Path(deep).mkdir()
    with told(HostError, "longer than a socket's path may be.*shorter lab name"):
        LabFolders("pair", deep / "run", deep / "state").make()


async def same_names(lab: LabDriver, folder: Path) -> None:
    for node in lab:
        await node.succeed(f"mkdir /root/logs; echo {node.name} >/root/logs/log")
        await node.copy_from("/root/logs", folder / f"logs-{node.name}")
        await node.copy_from("/root/logs/log", folder / f"log-{node.name}")
        await node.copy_from("/root/logs/log", folder / f"log-{node.name}")
    assert (folder / "logs-a/log").read_text() == (folder / "log-a").read_text() == "a\n"
    assert (folder / "logs-b/log").read_text() == (folder / "log-b").read_text() == "b\n"
    with told(NetlabError, "there is a folder already"):
        await lab["b"].copy_from("/root/logs", folder / "logs-a")


async def side_channel(lab: LabDriver, _folder: Path) -> None:
    await lab["a"].succeed("mkdir -p /tmp/shared; touch /tmp/shared/from-a")
    assert await lab["b"].succeed("find / -xdev -name from-a") == ""
    assert await lab["b"].succeed("grep -E ' (9p|virtiofs) ' /proc/mounts || exit 0") == ""


async def size_of_a_copy(lab: LabDriver, folder: Path) -> None:
    data = os.urandom(3 << 20)
    await trio.Path(folder / "big").write_bytes(data)
    text = f"a.copy_from_host_via_shell({str(folder / 'big')!r}, '/root/big')"
    assert str(await run(lab, text)).startswith("passed")
    shown = await lab["a"].succeed("sha256sum /root/big")
    assert shown.split()[0] == hashlib.sha256(data).hexdigest()


# Machines that end, the last rows of the pair.


async def death_in_a_command(lab: LabDriver, _folder: Path) -> None:
    async def kill_it() -> None:
        await lab["a"].wait_for_console_text("began")
        await kill(lab, "a")

    async with open_tasks() as tasks:
        tasks.start_soon(kill_it)
        with told(MachineDiedError, r"a: QEMU was killed by SIGKILL(.|\n)*qemu-system"):
            await lab["a"].succeed("echo began >/dev/console; sleep 53")


async def death_in_a_console_wait(lab: LabDriver, _folder: Path) -> None:
    async with open_tasks() as tasks:
        tasks.start_soon(kill, lab, "b")
        with told(MachineDiedError, "b: QEMU was killed by SIGKILL"):
            await lab["b"].wait_for_console_text("this never comes")


async def death_and_the_monitor(lab: LabDriver, _folder: Path) -> None:
    with told(MachineError, "b: QEMU was killed by SIGKILL"):
        await lab["b"].qmp("query-status")
    result = await run(lab, "b.wait_for_qmp_event(lambda event: False)")
    assert result.failure is not None
    assert isinstance(result.failure.error, MachineDiedError), str(result)


async def up_or_not(lab: LabDriver, _folder: Path) -> None:
    text = "assert not b.is_up()\nb.connect()\nassert b.is_up()\nb.crash()\nassert not b.is_up()"
    assert str(await run(lab, text)).startswith("passed")


async def stale_state(lab: LabDriver, _folder: Path) -> None:
    await lab["b"].start()
    await lab["b"].succeed("touch /root/mark /tmp/mark /etc/mark")
    await lab["b"].crash()
    await lab["b"].start()
    assert await lab["b"].succeed("find / -xdev -name mark") == ""


async def shutdown(lab: LabDriver, _folder: Path) -> None:
    """It has a limit: this guest cannot power off."""
    await lab["b"].pause()
    await live(lab["b"]).shutdown(grace=1)
    assert lab["b"].node.pid is None
    with told(NotReadyError, "b is stopped"):
        await lab["b"].succeed("true")


PAIRED = (
    Trap(
        name="pulling a cable",
        there="that of the second card, whichever it is",
        here="any by its name, or all; a link as a whole",
        proof=cables,
        covers=("cables",),
    ),
    Trap(
        name="links that are bad",
        there="no verb; `tc` in the guests",
        here="links go down and up; delay and loss are `tc` in the guests too (`micro` has it)",
        proof=impairments,
        covers=("no impairments",),
    ),
    Trap(
        name="tagged frames",
        there="lost in a VDE switch, unless it is a hub",
        here="carried by the kernel's bridge as they are",
        proof=tags,
        covers=("VDE",),
    ),
    Trap(
        name="captures",
        there="none, but for options smuggled to QEMU",
        here="`capture()` on every link and vlan",
        proof=captures,
        covers=("no pcap",),
    ),
    Trap(
        name="addresses",
        there="come from a node's rank: one node more changes the others'",
        here="come from a node's `id`; hardware addresses are unique on every link",
        proof=addressing,
        covers=("addressing",),
    ),
    Trap(
        name="long paths",
        there="of sockets are cut or refused by whoever meets them first",
        here="are refused before anything starts, with what to shorten",
        proof=long_paths,
        covers=("addressing",),
    ),
    Trap(
        name="files of one name from two machines",
        there="meet in one folder, and a folder cannot be copied twice",
        here="`copy_from` is told what they are called; a folder that is there is an error",
        proof=same_names,
        covers=("copy collisions",),
    ),
    Trap(
        name="a folder that all machines share",
        there="lets them see each other beside the network",
        here="does not exist",
        proof=side_channel,
        covers=("copy collisions",),
    ),
    Trap(
        name="a large file over the shell",
        there="is one argument, and too long",
        here="goes like any other, at any size",
        proof=size_of_a_copy,
        covers=("size of a copy",),
    ),
    Trap(
        name="QEMU dies in a command",
        there="a broken pipe, or a number that cannot be read; nobody says that QEMU has ended",
        here="an error at once, with QEMU's status, command line and last output",
        proof=death_in_a_command,
        covers=("death in a command", "dead QEMU"),
    ),
    Trap(
        name="QEMU dies while a console is waited for",
        there="the wait goes on for ever",
        here="the same error at once",
        proof=death_in_a_console_wait,
        covers=("console waits", "dead QEMU"),
    ),
    Trap(
        name="QEMU dies and its monitor is asked",
        there="the driver spins",
        here="the same error at once, also while an event is waited for",
        proof=death_and_the_monitor,
        covers=("dead QEMU",),
    ),
    Trap(
        name="whether a machine is up",
        there="is remembered, and not looked at",
        here="is so when it is ready, and not when it has ended",
        proof=up_or_not,
        covers=("is_up",),
    ),
    Trap(
        name="what an earlier run has left",
        there="may be used again",
        here="is not there: a machine that is started begins anew",
        proof=stale_state,
        covers=("iteration",),
    ),
    Trap(
        name="a guest that does not power off",
        there="is waited for without limit",
        here="its QEMU is ended after a while",
        proof=shutdown,
        covers=("shutdown",),
    ),
)


# A guest that does not get ready.


async def slow_boot(lab: LabDriver, _folder: Path) -> None:
    assert isinstance(lab.lab, Lab)
    async with lab.lab.events.open_follow() as followed:
        async for event in followed:
            if event.state == "configuring":
                break
    with told(WaitError, "a is not ready after 1 s; it is configuring: .*`run` commands"):
        await lab["a"].wait_ready(timeout=1)
    await live(lab["a"]).machine.agent.execute(("touch", "/tmp/go"))
    await lab["a"].wait_ready()


async def leak(_lab: LabDriver, _folder: Path) -> None:
    """Left in the middle of the start, at a moment when QEMU runs and nobody has spoken to it."""
    pids: list[int] = []

    async def fail_half_way() -> None:
        async with open_lab(resolve(loads("name: half\nnodes: {a: {id: 1}}\n"))) as lab:
            while (pid := lab["a"].pid) is None:
                await trio.lowlevel.checkpoint()
            pids.append(pid)
            raise HostError("half-way")

    with told(HostError, "half-way"):
        await fail_half_way()
    assert not await trio.Path(f"/proc/{pids[0]}").exists()


UNREADY = (
    Trap(
        name="a guest that never gets ready",
        there="is waited for without a word, for minutes or for ever",
        here="an error at the deadline that says how far it got and what it waits for",
        proof=slow_boot,
        covers=("slow boot",),
    ),
    Trap(
        name="a start that fails half-way",
        there="leaves its QEMU behind",
        here="leaves nothing: machines end with the block of their lab, however it is left",
        proof=leak,
        covers=("leak",),
    ),
)

TRAPS = WELL + PAIRED + UNREADY

NOT_HERE = {
    "macOS": "netlab runs on Linux: its bridges and namespaces are the kernel's",
    "containers": "nodes are machines with kernels of their own; a micro guest boots in seconds",
    "no snapshots": "netlab has none either",
}
"""What netlab does not answer, and why."""


@pytest.mark.machines
@pytest.mark.parametrize(
    ("topology", "rows"),
    [
        pytest.param(ALIVE, WELL, id="one guest"),
        pytest.param(PAIR, PAIRED, id="two guests"),
        pytest.param(STUCK, UNREADY, id="a guest that is not ready"),
    ],
)
async def test_netlab_does_not_fall_into_the_trap(
    topology: str, rows: tuple[Trap, ...], tmp_path: Path
) -> None:
    async with open_lab(resolve(loads(topology))) as opened:
        lab = LabDriver(opened, timeout=LIMIT)
        if topology != STUCK:
            await lab.wait_ready()
        for number, trap in enumerate(rows):
            folder = tmp_path / str(number)
            await trio.Path(folder).mkdir()
            with lab.subtest(trap.name, go_on=True):
                with trio.move_on_after(PER_ROW) as scope:
                    await trap.proof(lab, folder)
                assert not scope.cancelled_caught, "it did not end"
    failures = [f"{part.name}: {part.failure!r}" for part in lab.parts.done if part.failure]
    assert not failures, "\n".join(failures)
    assert len(lab.parts.done) == len(rows)


def test_every_trap_that_is_known_is_in_one_of_both_tables() -> None:
    covered = {name for trap in TRAPS for name in trap.covers}
    assert covered & set(NOT_HERE) == set()
    assert sorted(covered | set(NOT_HERE)) == sorted(PROPERTIES | TIMING | THEMES)
    names = [trap.name for trap in TRAPS]
    assert len(set(names)) == len(names)


def test_the_page_shows_both_tables() -> None:
    section = PAGE.partition("## Traps that are not here\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    expected = [f"| {trap.name} | {trap.there} | {trap.here} |" for trap in TRAPS]
    reasons = [f"| {name} | {reason} |" for name, reason in NOT_HERE.items()]
    assert rows == ["| | there | here |", *expected, "| | why not |", *reasons]
