"""`netlab test`: start a lab, look at its checks, run its Python tests, take it down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netlab.cli.candidates import complete_files
from netlab.cli.failure import INTERRUPTED, report
from netlab.cli.frame import add_verb, make_app
from netlab.cli.options import (
    DEFAULT_TIMEOUT,
    AccelOption,
    Format,
    FormatOption,
    NewNameOption,
    OvercommitOption,
    SetOption,
    TimeoutOption,
    TopologyArgument,
    TopologyOption,
    WorkersOption,
    check_timeout,
    make_options,
    parse_variables,
)
from netlab.cli.output import say, write_json, write_table
from netlab.cli.topologies import find_topology, load_checks
from netlab.errors import UsageError

if TYPE_CHECKING:
    from netlab.cli.reports.outputs import Outputs
    from netlab.cli.session import Session
    from netlab.plan.checklist import PlannedCheck

app = make_app()


OnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Only checks of these names (a glob, or a part of the name), no tests; repeatable.",
    ),
]
NoPythonOption = Annotated[
    bool, typer.Option("--no-python", help="Do not run the Python tests in tests/.")
]
JUnitOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write JUnit's XML, for CI.", autocompletion=complete_files),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE.html",
        help="Write a page about it.",
        autocompletion=complete_files,
    ),
]
ArtifactsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Keep the evidence of what fails, a folder each.",
        autocompletion=complete_files,
    ),
]
ScriptOption = Annotated[
    Path | None,
    typer.Option(
        "--script",
        metavar="FILE.py",
        help="Run a script for the NixOS test driver, in place of checks and Python tests.",
        autocompletion=complete_files,
    ),
]
ListOption = Annotated[bool, typer.Option("--list", help="Only say what would be run.")]


@add_verb(
    app,
    examples=(
        ("netlab test", "the topology in the working directory"),
        ("netlab test ring.yaml", "its checks, then tests/ beside it"),
        ("netlab test ring.yaml --list", "say what would be run"),
        ("netlab test ring.yaml --only 'r1*'", "only checks whose names begin with r1"),
        ("netlab test ring.yaml --report ring.html", "a page about it"),
        ("netlab test ring.yaml --script test.py", "a NixOS testScript on it"),
    ),
    codes={
        0: "everything passed",
        1: "a check, a test or the script failed",
        2: "nothing to run, or mistakes in the topology, the tests or the script",
        3: "the host lacks something: nothing was started",
        4: "a machine or netlab itself failed",
        130: "interrupted: the lab is gone, the reports say how far it came",
    },
)
def run_test(
    argument: TopologyArgument = None,
    topology: TopologyOption = None,
    name: NewNameOption = None,
    settings: SetOption = None,
    only: OnlyOption = None,
    no_python: NoPythonOption = False,
    junit: JUnitOption = None,
    page: ReportOption = None,
    artifacts: ArtifactsOption = None,
    script_file: ScriptOption = None,
    list_only: ListOption = False,
    max_workers: WorkersOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    accel: AccelOption = None,
    overcommit: OvercommitOption = False,
    output: FormatOption = Format.table,
) -> int:
    """Start a lab, look at the checks of its topology, take it down, and run tests/ beside it."""
    check_timeout(timeout)
    path = find_topology(argument, topology)
    variables = parse_variables(settings)
    plan, checks = load_checks(path, variables=variables, lab=name)
    checks = _select(checks, only or ())
    _check_script(script_file, choosing=bool(only or no_python))
    # Imported here: what a mistake in the file needs least.
    from netlab.cli.reports.outputs import Outputs
    from netlab.cli.session import Session

    options = make_options(accel, max_workers, overcommit)
    session = Session(
        plan=plan, options=options, timeout=timeout, checks=checks, tests=None, folder=artifacts
    )
    if script_file is not None:
        session = _with_script(session, script_file)
    elif not (no_python or only):
        session = _with_tests(session, path, variables)
    if list_only:
        return _list(session, output)
    return _run(session, Outputs(junit=junit, page=page, artifacts=artifacts, format=output), path)


def _check_script(path: Path | None, *, choosing: bool) -> None:
    if path is not None and choosing:
        raise UsageError("--script runs a script alone: --only and --no-python mean nothing to it")


def _nothing(path: Path) -> UsageError:
    hint = "write checks: into it (`netlab help topology`), or tests/ beside it"
    return UsageError(f"{path}: there is nothing to run", hint=hint)


def _select(checks: Sequence[PlannedCheck], only: Sequence[str]) -> Sequence[PlannedCheck]:
    """Return the checks that any pattern means; all of them if there is no pattern.

    Raises:
        UsageError: A pattern means none.
    """
    for pattern in only:
        if not any(_matches(check.name, pattern) for check in checks):
            names = "; ".join(check.name for check in checks)
            raise UsageError(f"no check is called {pattern!r}", hint=f"the checks: {names or '-'}")
    return [
        check
        for check in checks
        if not only or any(_matches(check.name, pattern) for pattern in only)
    ]


def _matches(name: str, pattern: str) -> bool:
    name, pattern = name.lower(), pattern.lower()
    if any(letter in pattern for letter in "*?"):
        return fnmatchcase(name, pattern.replace("[", "[[]"))
    return pattern in name


def _with_script(session: Session, path: Path) -> Session:
    """Have a script run in place of all else."""
    # Imported here: most runs have none. Loaded before the lab: what is not Python starts nothing.
    from netlab.testing.script import load_script

    return replace(session, checks=(), script=load_script(path))


def _with_tests(session: Session, path: Path, variables: Mapping[str, str]) -> Session:
    """Have the Python tests beside a topology run too, if there are any."""
    # Imported here, as a script is.
    from netlab.cli.pythontests import find_tests

    accel = session.options.accel
    tests = find_tests(path, session.folder, variables=variables, accel=accel)
    return replace(session, tests=tests)


def _list(session: Session, output: Format) -> int:
    rows = [(check.name, check.kind, f"{check.file}:{check.line}") for check in session.checks]
    if session.tests is not None:
        rows += [(file.name, "python", str(file)) for file in session.tests.files()]
    if session.script is not None:
        rows.append((session.script.name, "script", session.script.name))
    columns = ("name", "kind", "place")
    if output is Format.json:
        write_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        write_table(columns, rows)
    return 0


def _run(session: Session, outputs: Outputs, path: Path) -> int:
    if not (session.checks or session.tests or session.script):
        raise _nothing(path)
    # Imported here: help and lists need none of it.
    from netlab.cli.journal import Journal
    from netlab.cli.reports.lines import open_lines
    from netlab.cli.session import run

    for warning in session.plan.warnings:
        say(f"{path}: {warning}")
    outputs.prepare()
    with open_lines(outputs.stream) as lines:
        journal = Journal(
            lab=session.plan.lab, topology=str(path), checks=session.checks, lines=lines
        )
        failure = run(session, journal)
    code = journal.code() if failure is None else report(failure)
    try:
        outputs.write(journal.record(), session.plan)
    except UsageError as error:
        code = max(code, report(error))
    if not journal.results:
        raise _nothing(path)
    if journal.interrupted:
        say(f"netlab: interrupted: {journal.interrupted}")
    return code if code == INTERRUPTED else max(code, journal.code())
