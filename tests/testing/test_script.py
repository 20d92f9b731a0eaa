"""Scripts for the NixOS test driver, unmodified, on real guests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from netlab import open_lab, resolve
from netlab.errors import (
    ConditionError,
    InputError,
    MachineDiedError,
    NotOfferedError,
    SandboxError,
)
from netlab.lab.lab import Lab
from netlab.testing import LabDriver
from netlab.testing.facade.refused import SYMBOLS
from netlab.testing.script import make_script, run_script, run_script_file
from netlab.topology.load import loads
from tests.testing.test_facade import OTHERS

pytestmark = pytest.mark.machines

SCRIPTS = Path(__file__).parent / "scripts"
NAMES = {*OTHERS, *SYMBOLS}
ONE = "name: one\nnodes: {machine: {vlans: 1}}\n"
LINE = """
name: line
nodes:
  r1: {routes: [default via 10.1.2.2]}
  r2: {run: ['echo 1 >/proc/sys/net/ipv4/ip_forward']}
  r3: {routes: [default via 10.2.3.1]}
links:
  - {endpoints: [r1, r2], subnet: 10.1.2.0/24}
  - {endpoints: [r2, r3], subnet: 10.2.3.0/24}
"""

SU = """#!/bin/sh
# su -l USER -s /bin/sh -c COMMAND
[ "$1 $3 $4 $5" = "-l -s /bin/sh -c" ] && exec /bin/sh -c "$6"
"""

SYSTEMCTL = """#!/bin/sh
# What systemd's answers about a unit that is active and one that has failed.
case "$*" in
    *show*good*) echo ActiveState=active; echo SubState=running ;;
    *show*) echo ActiveState=failed ;;
    *) echo "$@" ;;
esac
"""


@asynccontextmanager
async def open_booting(text: str = ONE) -> AsyncGenerator[LabDriver]:
    """Open a lab whose nodes boot: a script waits for what it needs."""
    async with open_lab(resolve(loads(text))) as lab:
        yield LabDriver(lab)


async def test_a_script_with_the_common_verbs_runs_unmodified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("systemctl", SYSTEMCTL), ("su", SU)):
        await trio.Path(tmp_path / name).write_text(text)
        await trio.Path(tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PROGRAMS", str(tmp_path))
    told: list[str] = []
    async with open_booting(LINE) as lab:
        result = await run_script_file(SCRIPTS / "network.py", lab, out=tmp_path, tell=told.append)
    assert result.exit_code == 0, str(result)
    assert len(result.parts) == 11
    assert str(result).splitlines()[-1].startswith("passed: ")
    assert (tmp_path / "folder/sent").read_text() == "text\n"
    assert any(line.startswith("r1 # ") and "told" in line for line in told)
    assert told[-4:-1] == ["all is well", "and so", "  r1: say I"]


async def test_a_script_uses_the_screen_the_keyboard_and_a_forwarded_port(tmp_path: Path) -> None:
    text = "name: one\nnodes: {machine: {display: std}}\n"
    async with open_booting(text) as lab:
        result = await run_script_file(SCRIPTS / "screen.py", lab, out=tmp_path)
    assert result.exit_code == 0, str(result)
    assert (tmp_path / "shown.png").read_bytes().startswith(b"\x89PNG")


async def test_a_screen_that_is_not_there_is_told() -> None:
    async with open_booting() as lab:
        result = await run_script(make_script("machine.screenshot('x')"), lab)
    assert "machine has no display (set `display: std` in the topology)" in str(result)
    assert result.exit_code == 2


async def test_what_fails_is_told_by_the_lines_of_the_script() -> None:
    async with open_booting() as lab:
        result = await run_script_file(SCRIPTS / "subtests.py", lab)
        path = SCRIPTS / "subtests.py"
        assert re.sub(r"\d+\.\d\d s", "X s", str(result)) == (
            "passed: one passes (X s)\n"
            "failed: one fails (X s)\n"
            f"failed: {path} (X s)\n"
            "machine: `echo why >&2; exit 4` exited with status 4: why\n"
            f'  {path}:9: check("why")\n'
            f'  {path}:2 in check: machine.succeed(f"echo {{word}} >&2; exit 4")\n'
            "    why"
        )
        assert result.exit_code == 1
        for text, message, code in (
            ("assert machine.name == 'x'", "AssertionError: assert machine.name == 'x'", 1),
            ("undefined", "NameError: name 'undefined' is not defined", 1),
            ("log.error('this is wrong')", "this is wrong", 1),
            ("t.assertEqual(1, 2)", "1 != 2", 1),
            (
                "import nothing_of_the_sort",
                "ModuleNotFoundError: No module named 'nothing_of_the_sort'",
                1,
            ),
            ("exit(3)", "it ended by exit(3)", 1),
            ("exit(['why'])", "it ended by exit(['why'])", 1),
            ("machine.copy_from_host('/none', '/x')", "/none: there is no such file or folder", 2),
            ("machine.frobnicate()", "AttributeError: a machine has no verb 'frobnicate'", 1),
        ):
            result = await run_script(make_script(text), lab)
            assert result.failure is not None
            assert (result.failure.message, result.exit_code) == (message, code)
            assert [place.source for place in result.failure.places] == [text]
        assert (await run_script(make_script("import sys; sys.exit()"), lab)).exit_code == 0


async def test_what_is_not_offered_names_what_to_do() -> None:
    async with open_booting() as lab:
        result = await run_script_file(SCRIPTS / "refused.py", lab)
        assert result.exit_code == 2
        assert (
            str(result)
            .splitlines()[1]
            .startswith("netlab does not offer wait_for_x (look at the screen with screenshot()")
        )
        names = make_script(
            "assert set(globals()) - {'__builtins__', '__name__'} == " + repr(NAMES)
        )
        assert str(await run_script(names, lab)).startswith("passed")
        for name, alternative in SYMBOLS.items():
            result = await run_script(make_script(f"{name}('x', name='y')"), lab)
            assert result.failure is not None
            assert isinstance(result.failure.error, NotOfferedError)
            assert result.failure.error.alternative == alternative


async def test_a_machine_that_dies_ends_the_verb_that_waits() -> None:
    async with open_booting("name: two\nnodes: {machine: {}, other: {}}\n") as lab:
        result = await run_script_file(SCRIPTS / "killed.py", lab, timeout=60)
        failure = result.failure
        assert failure is not None
        assert isinstance(failure.error, MachineDiedError)
        assert failure.message == "machine: QEMU was killed by SIGKILL"
        assert [place.line for place in failure.places] == [7]
        assert result.parts[0].seconds < 2.5
        assert result.exit_code == 4
        assert "qemu-system" in str(result)
        # A console that is waited for, and a machine that was not told to end.
        dies = (
            "import signal\nother.connect()\nos.kill(other.pid, signal.SIGKILL)\n"
            "other.wait_for_console_text('never')"
        )
        result = await run_script(make_script(dies), lab, timeout=60)
        assert result.failure is not None
        assert result.failure.message == "other: QEMU was killed by SIGKILL"
        result = await run_script(make_script("other.execute('true')"), lab, timeout=60)
        assert result.failure is not None
        assert result.exit_code == 4


INTERRUPTED = """
import sys, trio
from netlab import open_lab, resolve
from netlab.testing import LabDriver
from netlab.testing.script import make_script, run_script
from netlab.topology.load import loads

async def main():
    async with open_lab(resolve(loads(sys.argv[1]))) as live:
        lab = LabDriver(live)
        await lab.wait_ready()
        print(live.nodes["machine"].pid, flush=True)
        script = make_script(sys.argv[2])
        print(await run_script(script, lab, tell=lambda line: print(line, flush=True)))

trio.run(main)
"""


def test_an_interrupted_script_takes_its_lab_along() -> None:
    script = "try:\n    machine.wait_until_fails('true')\nfinally:\n    print('left', flush=True)"
    argv = (sys.executable, "-c", INTERRUPTED, ONE, script)
    with subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # Whoever runs the tests may have us ignore Ctrl-C, as shells do in the background.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        assert "wait_until_fails" in run.stdout.readline()
        run.send_signal(signal.SIGINT)
        rest = run.stdout.read()
    assert "left" in rest
    assert "failed" not in rest
    assert run.returncode == -signal.SIGINT
    assert not Path(f"/proc/{pid}").exists()


async def test_a_lab_that_dies_ends_the_script() -> None:
    waits = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def tell(line: str) -> None:
        if "wait_for_console_text" in line:
            token.run_sync_soon(waits.set)

    async def run() -> None:
        async with open_booting() as lab:

            async def kill() -> None:
                await waits.wait()
                assert isinstance(lab.lab, Lab)
                os.kill(lab.lab.sandbox.pid, signal.SIGKILL)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(kill)
                script = make_script("machine.wait_for_console_text('this never comes')")
                await run_script(script, lab, tell=tell)
                await trio.sleep_forever()

    with trio.fail_after(60), pytest.raises(SandboxError):
        await run()


async def test_nodes_that_are_called_the_same_in_python_are_refused() -> None:
    async with open_booting("name: same\nnodes: {1a: {}, 2a: {}}\n") as lab:
        with pytest.raises(InputError, match="nodes 1a and 2a are both called _a in a script"):
            await run_script(make_script(""), lab)


async def test_a_condition_that_breaks_ends_a_wait_for_the_console() -> None:
    async with open_booting() as lab:
        result = await run_script_file(SCRIPTS / "condition.py", lab, timeout=60)
        failure = result.failure
        assert failure is not None
        assert isinstance(failure.error, ConditionError)
        assert failure.message.startswith("the file is there: it does not hold any more: machine: ")
        assert failure.places[-1].source == ('machine.wait_for_console_text("this never comes")')


async def test_timeouts_are_held() -> None:
    told: list[str] = []
    async with open_booting() as lab:
        await lab.wait_ready()
        result = await run_script_file(SCRIPTS / "timeouts.py", lab, tell=told.append)
        assert result.failure is None, str(result)
        errors = [line for line in told if re.match(r"\d+\.\d\d ", line)]
        assert len(errors) == 11
        # Never three times as long; what is more than two seconds is a loaded host's.
        assert [line for line in errors if not 1.4 < float(line.split()[0]) < 4] == []
        assert sum("within 2 s" in line for line in errors) == 9, errors


PAUSED = """
machine.qmp_client.send("stop")
with t.assertRaisesRegex(Exception, "`true` did not end within 1 s: the machine is paused"):
    machine.execute("true", timeout=1)
with t.assertRaisesRegex(Exception, "the machine is paused"):
    machine.fail("true", timeout=1)
machine.qmp_client.send("cont")
machine.succeed("true")
"""


async def test_a_guest_that_hangs_is_no_command_that_is_slow() -> None:
    async with open_booting() as lab:
        await lab.wait_ready()
        result = await run_script(make_script(PAUSED), lab, timeout=60)
        assert result.failure is None, str(result)


async def test_a_script_that_waits_is_cancelled() -> None:
    waits = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def tell(line: str) -> None:
        if "wait_until_succeeds" in line:
            token.run_sync_soon(waits.set)

    script = make_script("try:\n    machine.wait_until_succeeds('false')\nexcept Exception: pass")
    async with open_booting() as lab:
        await lab.wait_ready()
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:

                async def run() -> None:
                    await run_script(script, lab, tell=tell)

                nursery.start_soon(run)
                await waits.wait()
                nursery.cancel_scope.cancel()
        # The lab is as it was.
        assert (await run_script(make_script("machine.succeed('true')"), lab)).exit_code == 0


async def test_a_script_is_told_that_it_took_too_long(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    endless = f"import time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.01)\n"
    async with open_booting() as lab:
        await lab.wait_ready()
        result = await run_script(make_script("machine.succeed('sleep 60')"), lab, timeout=1)
        assert result.failure is not None
        assert re.fullmatch(
            r"machine: `sleep 60` did not end within 0\.\d+ s: it still runs",
            result.failure.message,
        )
        result = await run_script(make_script(f"{endless}machine.succeed('true')"), lab, timeout=1)
        assert result.failure is not None
        assert result.failure.message == "the script did not end within 1 s"
        assert result.failure.places[-1].line in {2, 3}
        assert result.exit_code == 1
        gate.touch()
