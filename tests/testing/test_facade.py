"""The synchronous facade without machines: its surface, its threads, its durations."""

from __future__ import annotations

import inspect
import math
import os
import re
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

import netlab
from netlab.errors import InputError, NotOfferedError
from netlab.testing.facade.conditions import Conditions, PollingCondition
from netlab.testing.facade.durations import accept_old_names, to_seconds
from netlab.testing.facade.logging import Log
from netlab.testing.facade.machine import Machine
from netlab.testing.facade.refused import MACHINE, SYMBOLS
from netlab.testing.facade.shell import ShellCommand
from netlab.testing.facade.symbols import Driver, pythonize
from netlab.testing.script import load_script, make_script

VERBS = {
    "start": "(allow_reboot=False)",
    "connect": "()",
    "is_up": "()",
    "execute": "(command, check_return=True, check_output=True, timeout=900)",
    "succeed": "(*commands, timeout=None)",
    "fail": "(*commands, timeout=None)",
    "wait_until_succeeds": "(command, timeout=900)",
    "wait_until_fails": "(command, timeout=900)",
    "sleep": "(duration)",
    "systemctl": "(q, user=None)",
    "wait_for_unit": "(unit, user=None, timeout=900)",
    "get_unit_info": "(unit, user=None)",
    "get_unit_property": "(unit, property, user=None)",
    "require_unit_state": "(unit, require_state='active')",
    "start_job": "(jobname, user=None)",
    "stop_job": "(jobname, user=None)",
    "wait_for_job": "(jobname)",
    "wait_for_file": "(filename, timeout=900)",
    "wait_for_open_port": "(port, addr='localhost', timeout=900)",
    "wait_for_closed_port": "(port, addr='localhost', timeout=900)",
    "wait_for_open_unix_socket": "(addr, is_datagram=False, timeout=900)",
    "get_tty_text": "(tty)",
    "wait_until_tty_matches": "(tty, regexp, timeout=900)",
    "dump_tty_contents": "(tty)",
    "send_key": "(key, delay=0.01, log=True)",
    "send_chars": "(chars, delay=0.01)",
    "send_console": "(chars)",
    "wait_for_console_text": "(regex, timeout=None)",
    "get_console_log": "()",
    "screenshot": "(filename)",
    "get_screen_text": "()",
    "get_screen_text_variants": "()",
    "wait_for_text": "(regex, timeout=900)",
    "send_monitor_command": "(command)",
    "wait_for_qmp_event": "(event_filter, timeout=600)",
    "shutdown": "()",
    "wait_for_shutdown": "(timeout=None)",
    "crash": "()",
    "reboot": "()",
    "block": "()",
    "unblock": "()",
    "forward_port": "(host_port=8080, guest_port=80)",
    "copy_from_host": "(source, target)",
    "copy_from_host_via_shell": "(source, target)",
    "copy_from_machine": "(source, target_dir='')",
    "copy_from_vm": "(source, target_dir='')",
    "nested": "(msg, attrs=None)",
    "log": "(msg)",
}
"""Every verb of a machine that the NixOS driver has and netlab offers, as that driver takes it."""

PROPERTIES = {"name", "pid", "qmp_client", "out_dir"}

OTHERS = {
    *(
        "machines",
        "machine",
        "machines_qemu",
        "machines_nspawn",
        "Machine",
        "start_all",
        "join_all",
    ),
    *("subtest", "retry", "polling_condition", "log", "driver", "vlans", "vlan1", "t", "os"),
    *("serial_stdout_on", "serial_stdout_off"),
}
"""Every other name that a script finds, with a vlan's as an example."""

PAGE = (Path(netlab.__file__).parent / "docs/nixos.md").read_text()


def show(function: Callable[..., object]) -> str:
    """Names, order and defaults of a method's parameters."""
    parameters = [
        each.replace(annotation=inspect.Parameter.empty)
        for each in inspect.signature(function).parameters.values()
        if each.name != "self"
    ]
    return str(inspect.Signature(parameters))


@pytest.mark.parametrize(("name", "signature"), VERBS.items())
def test_a_verb_takes_what_the_nixos_driver_s_takes(name: str, signature: str) -> None:
    assert show(getattr(Machine, name)) == signature


def test_a_verb_is_offered_or_refused() -> None:
    public = {name for name in dir(Machine) if not name.startswith("_")}
    assert public - set(VERBS) - PROPERTIES == {"run_monitor"}
    assert set(MACHINE) & set(VERBS) == set()


@pytest.mark.parametrize("name", MACHINE)
def test_a_verb_that_is_refused_names_what_to_do(name: str) -> None:
    machine = object.__new__(Machine)
    with pytest.raises(NotOfferedError, match=rf"netlab does not offer {name} \(") as caught:
        getattr(machine, name)
    assert caught.value.hint == MACHINE[name]
    assert caught.value.exit_code == 2


def test_the_page_has_every_verb_with_its_parameters() -> None:
    rows = {row.strip("| ").partition(" | ")[0] for row in PAGE.splitlines() if row[:3] == "| `"}
    shown = {cell.strip("`") for row in rows for cell in row.split("`, `")}
    verbs = {f"{name}{signature}" for name, signature in VERBS.items()}
    assert sorted((verbs | PROPERTIES) - shown) == []
    bare = {each.partition("(")[0] for each in shown}
    others = bare - set(VERBS) - PROPERTIES - OTHERS
    assert sorted(others) == sorted({**MACHINE, **SYMBOLS})
    assert sorted(OTHERS - bare) == ["machines_nspawn", "machines_qemu"]


def test_the_page_says_what_to_do_as_the_errors_do() -> None:
    for name, alternative in {**MACHINE, **SYMBOLS}.items():
        assert f"| `{name}` | {alternative} |" in PAGE


def test_the_page_s_scripts_are_python() -> None:
    first, _second = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert make_script(first).text == first


def test_the_driver_takes_what_the_nixos_driver_s_takes() -> None:
    assert show(Driver.start_all) == "()"
    assert show(Driver.join_all) == "()"
    assert show(Driver.subtest) == "(name)"
    assert show(Conditions.retry) == "(fn, timeout=900)"
    assert show(PollingCondition.wait) == "(timeout=900)"
    assert show(Conditions.polling_condition) == "(fun=None, *, interval=2.0, description=None)"
    assert show(Log.nested) == "(message, attributes=None)"


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(3, 3.0), (0.5, 0.5), (timedelta(minutes=2), 120.0), (None, math.inf), (-1, 0.0)],
)
def test_a_duration_is_seconds(given: float | timedelta | None, seconds: float) -> None:
    assert to_seconds(given) == seconds


@pytest.mark.parametrize("given", ["3", True, [3]])
def test_what_is_no_duration_is_refused(given: object) -> None:
    with pytest.raises(TypeError, match="is neither seconds nor a timedelta"):
        to_seconds(given)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="not a number"):
        to_seconds(math.nan)


def test_parameters_go_by_their_old_names() -> None:
    @accept_old_names
    def wait(timeout: int = 1, interval: int = 2) -> tuple[int, int]:
        return timeout, interval

    old = cast("Callable[..., tuple[int, int]]", wait)
    assert old() == (1, 2)
    assert old(timeout_seconds=3, seconds_interval=4) == (3, 4)
    with pytest.raises(TypeError, match="timeout_seconds is the old name of timeout"):
        old(timeout_seconds=3, timeout=4)
    with pytest.raises(TypeError, match="unexpected keyword"):
        old(limit=3)


def test_names_of_nodes_become_names_of_python() -> None:
    assert pythonize("r-1.lan") == "r_1_lan"
    assert pythonize("1st") == "_st"
    assert pythonize("r1") == "r1"


def test_a_script_that_is_not_python_is_an_input_error_with_its_position(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text("good = 1\nif good\n    pass\n")
    with pytest.raises(InputError, match=r"wrong\.py:2:8: expected ':'") as caught:
        load_script(path)
    assert caught.value.evidence == "if good\n       ^"
    assert caught.value.exit_code == 2
    with pytest.raises(InputError, match=r"none\.py: No such file"):
        load_script(tmp_path / "none.py")
    path.write_bytes(b"x = '\xff'\n")
    with pytest.raises(InputError, match="it is not UTF-8"):
        load_script(path)
    with pytest.raises(InputError, match="null bytes"):
        make_script("x\0")
    with pytest.raises(InputError, match=r"script\.py:1:"):
        make_script("await x")


def run_line(line: str, path: str) -> subprocess.CompletedProcess[str]:
    """Run a script's command line on the host; the profile would find what the path hides."""
    words = [each.replace("/etc/profile", "/none") for each in ShellCommand(argv=line).words()]
    return subprocess.run(words, env={"PATH": path}, capture_output=True, text=True, check=False)


def test_a_command_line_is_bash_s_where_there_is_one() -> None:
    path = os.environ["PATH"]
    assert run_line('echo ${BASH_VERSION:+bash}; echo "$PWD"', path).stdout == "bash\n/tmp\n"
    assert run_line("echo $-; set -o | grep pipefail", path).stdout.endswith("on\n")
    assert run_line("echo 'a  b' >&2; false | true; echo no", path).returncode == 1
    assert run_line("echo $UNSET", path).returncode != 0


def test_a_command_line_is_the_shell_s_where_there_is_no_bash(tmp_path: Path) -> None:
    empty = str(tmp_path)
    assert set(run_line("echo $-", empty).stdout) >= {"e", "u"}
    assert run_line("false; echo no", empty).stdout == ""
    assert run_line("echo $UNSET", empty).returncode != 0
    assert run_line("echo 'a  b'; exit 7", empty).stdout == "a  b\n"


def test_a_log_is_indented_by_its_blocks() -> None:
    lines: list[str] = []
    log = Log(lines.append)
    with log.nested("outside"):
        log.info("inside\nand on")
        log.log("said", {"machine": "r1"})
    log.warning("careful")
    assert lines[:4] == ["outside", "  inside", "  and on", "  r1: said"]
    assert lines[4].startswith("(finished: outside, in 0.0")
    assert lines[5:] == ["warning: careful"]
