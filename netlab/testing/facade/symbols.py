"""The names that a script finds: its machines, and what it does with all of them."""

from __future__ import annotations

import os
import re
import time
import unittest
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, final

from netlab.errors import CheckError, InputError, NotOfferedError
from netlab.testing.conditions import Part
from netlab.testing.facade.base import Session
from netlab.testing.facade.conditions import Conditions
from netlab.testing.facade.imports import make_builtins
from netlab.testing.facade.machine import Machine
from netlab.testing.facade.portal import ScriptEnded
from netlab.testing.facade.refused import SYMBOLS
from netlab.testing.facade.watch import Record
from netlab.testing.lab import LabDriver


def pythonize(name: str) -> str:
    """Return a node's name as Python can write it: what is no letter or digit becomes ``_``."""
    return re.sub(r"^[^A-Za-z_]|[^A-Za-z0-9_]", "_", name)


class Assertions(unittest.TestCase):
    """The ``t`` of a script: unittest's assertions, which fail as everything else does."""

    failureException = CheckError


@final
class Vlan:
    """A vlan of the lab.

    Attributes:
        nr: Its number.
    """

    def __init__(self, nr: int) -> None:
        self.nr = nr

    def __repr__(self) -> str:
        return f"<vlan {self.nr}>"


@final
class Driver:
    """The ``driver`` of a script.

    Attributes:
        machines: The lab's nodes, in the plan's order.
        vlans: The lab's vlans.
        log: What the script tells.
        logger: The same.
        out_dir: The folder for what the script copies out.
        parts: The subtests so far.
        polling_condition: Makes a condition of a function.
        retry: Calls a function until it is done.
    """

    def __init__(self, session: Session, machines: Sequence[Machine]) -> None:
        self.machines = list(machines)
        self.vlans = [Vlan(each.vlan) for each in session.lab.plan.segments if each.vlan]
        self.log = self.logger = session.log
        self.out_dir: Path = session.out
        self.parts: list[Part] = []
        conditions = Conditions(session.portal)
        self.polling_condition = conditions.polling_condition
        self.retry = conditions.retry

    def start_all(self) -> None:
        """Let all machines boot that are off, and do not wait for them."""
        for machine in self.machines:
            machine.start()

    def join_all(self) -> None:
        """Wait until all machines are off."""
        for machine in self.machines:
            machine.wait_for_shutdown()

    @contextmanager
    def subtest(self, name: str) -> Generator[None]:
        """Name a part of the script; when it fails, the script does."""
        began = time.monotonic()
        failure: Exception | None = None
        try:
            with self.log.nested(f"subtest: {name}"):
                yield
        except Exception as error:
            failure = error
            raise
        except ScriptEnded:
            failure = InterruptedError("the script was ended")
            raise
        finally:
            seconds = time.monotonic() - began
            self.parts.append(Part(name=name, seconds=seconds, failure=failure))


def make_symbols(
    lab: LabDriver, session: Session, records: Mapping[str, Record]
) -> tuple[Driver, dict[str, Any]]:
    """Return the driver and everything that a script finds by name.

    Machines win over everything else, as they do in the NixOS driver.

    Raises:
        InputError: Two nodes have the same name in Python.
    """
    machines = [Machine(session, node, records[node.name]) for node in lab]
    driver = Driver(session, machines)
    symbols: dict[str, Any] = {
        "__builtins__": make_builtins(),
        "__name__": "__main__",
        "start_all": driver.start_all,
        "join_all": driver.join_all,
        "subtest": driver.subtest,
        "retry": driver.retry,
        "polling_condition": driver.polling_condition,
        "machines": driver.machines,
        "machines_qemu": driver.machines,
        "machines_nspawn": [],
        "vlans": driver.vlans,
        "driver": driver,
        "log": session.log,
        "os": os,
        "t": Assertions(),
        "Machine": Machine,
        "serial_stdout_on": partial(_set_serial, session, records, on=True),
        "serial_stdout_off": partial(_set_serial, session, records, on=False),
        **{name: partial(_refuse, name) for name in SYMBOLS},
        **{f"vlan{vlan.nr}": vlan for vlan in driver.vlans},
    }
    if len(machines) == 1:
        symbols["machine"] = machines[0]
    return driver, symbols | _by_name(machines)


def _by_name(machines: Sequence[Machine]) -> dict[str, Machine]:
    named: dict[str, Machine] = {}
    for machine in machines:
        name = pythonize(machine.name)
        if name in named:
            raise InputError(
                f"nodes {named[name].name} and {machine.name} are both called {name} in a script",
                hint="rename one of them",
            )
        named[name] = machine
    return named


def _set_serial(session: Session, records: Mapping[str, Record], *, on: bool) -> None:
    for name, record in records.items():
        record.serial = partial(_tell_serial, session, name) if on else None


def _tell_serial(session: Session, name: str, line: str) -> None:
    session.log.log_serial(line, name)


def _refuse(name: str, /, *_arguments: object, **_named: object) -> NoReturn:
    raise NotOfferedError(name, SYMBOLS[name])
