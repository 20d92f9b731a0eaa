"""`netlab doctor`: what this host lacks, and how to repair it."""

from __future__ import annotations

from dataclasses import asdict

from netlab.cli.frame import add_verb, make_app
from netlab.cli.options import Format, FormatOption
from netlab.cli.output import say, write_json, write_table
from netlab.errors import HostError

app = make_app()


@add_verb(
    app,
    examples=(
        ("netlab doctor", "a table, and a command for everything that is not well"),
        ("netlab doctor -f json", "for programs and bug reports"),
    ),
    codes={
        0: "everything needed is there; there may be warnings",
        3: "something needed is missing; the table says what repairs it",
    },
)
def doctor(output: FormatOption = Format.table) -> int:
    """Check this host: programs, namespaces, devices, memory, folders, images."""
    import trio

    from netlab.cli.checks import check_host

    checks = trio.run(check_host)
    if output is Format.json:
        write_json([asdict(check) for check in checks])
    else:
        write_table(("check", "state", "found"), [(c.name, c.state, c.detail) for c in checks])
        for check in checks:
            if check.fix:
                say(f"{check.name}: {check.fix}")
    missing = any(check.state == "missing" for check in checks)
    return HostError.exit_code if missing else 0
