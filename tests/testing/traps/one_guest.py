"""What is proved on one guest that is well."""

from __future__ import annotations

import hashlib
import os
import re
import signal
from pathlib import Path

import trio

from netlab import open_lab, resolve
from netlab.errors import (
    AgentCommandError,
    AgentError,
    CheckError,
    CommandError,
    ConditionError,
    NetlabError,
    WaitError,
)
from netlab.lab.access import NodeAccess
from netlab.lab.lab import Lab
from netlab.scopes import open_background, open_tasks
from netlab.testing import LabDriver
from netlab.testing.conditions import Parts
from netlab.topology.load import loads
from tests.testing.traps.trap import Trap, run, told

TOPOLOGY = "name: alive\nnodes: {a: {id: 1, vlans: 7, memory: 512, display: std}}\n"


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
    """This one is no NixOS and has no bash; what is needed is told where it is not there."""
    for path in ("/nix", "/run/current-system", "/bin/bash"):
        await lab["a"].fail(f"test -e {path}")
    assert str(await run(lab, "assert machine.succeed('hostname') == 'a\\n'")).startswith("passed")
    shell = (await lab["a"].succeed("readlink -f /bin/sh")).strip()
    await lab["a"].succeed("mv /bin/sh /bin/sh.away")
    try:
        with told(AgentCommandError, "/bin/sh"):
            await lab["a"].succeed("true")
        assert await lab["a"].succeed(["hostname"]) == "a\n"
    finally:
        await lab["a"].succeed(["mv", "/bin/sh.away", "/bin/sh"])
    assert (await lab["a"].succeed("readlink -f /bin/sh")).strip() == shell


async def iteration(lab: LabDriver, _folder: Path) -> None:
    text = "print(machine.succeed('cat /proc/sys/kernel/random/boot_id'))"
    before = await lab["a"].succeed("cat /proc/sys/kernel/random/boot_id")
    for _ in range(2):
        assert str(await run(lab, text)).startswith("passed")
    assert await lab["a"].succeed("cat /proc/sys/kernel/random/boot_id") == before


async def silent_emulation(lab: LabDriver, _folder: Path) -> None:
    """What is said is what QEMU does; and who insists on KVM gets it, or nothing."""
    (said,) = [event.message for event in lab.lab.events if event.kind == "accel"]
    found = re.fullmatch(r"(kvm|tcg): (.+)", said)
    assert found is not None, said
    assert await uses_kvm(lab["a"].node) == (found[1] == "kvm")
    insisting = resolve(loads("name: insisting\nnodes: {a: {accel: kvm}}\n"))
    try:
        async with open_lab(insisting) as other:
            # A guest under a KVM that does not work may stand still for ever: QEMU says what it is.
            await wait_for_the_end_of_its_start(other)
            assert await uses_kvm(other["a"])
    except NetlabError as error:
        assert found[1] == "tcg"
        said = f"{error}\n{error.evidence}"
        assert re.search(r"asks for KVM, and|QEMU did not start(.|\n)*-accel kvm", said), said


async def wait_for_the_end_of_its_start(lab: Lab) -> None:
    """Wait until QEMU runs.

    Raises:
        NetlabError: It does not.
    """
    async with lab.events.open_follow() as events:
        async for event in events:
            if event.state == "failed":
                await lab.wait_ready()
            if event.state == "booting" and "QEMU runs" in event.message:
                return


async def uses_kvm(node: NodeAccess) -> bool:
    match await node.qmp("query-kvm"):
        case {"enabled": bool(enabled)}:
            return enabled
        case answer:
            raise AssertionError(answer)


TRAPS = (
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
