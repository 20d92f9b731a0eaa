"""`netlab validate`: every mistake of topology files, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from netlab.cli.candidates import complete_files
from netlab.cli.frame import add_verb, make_app
from netlab.cli.options import Format, FormatOption, SetOption, TopologyOption, parse_variables
from netlab.cli.output import say, write_json
from netlab.cli.topologies import find_topology
from netlab.errors import Mistake, TopologyError, UsageError

app = make_app()


@add_verb(
    app,
    examples=(
        ("netlab validate", "the topology in the working directory"),
        ("netlab validate labs/*.yaml", "several files, all mistakes of all of them"),
        ("netlab validate ring.yaml -f json", "mistakes and warnings as JSON, for programs"),
    ),
    codes={0: "every file is right", 2: "a file has mistakes, each printed with its position"},
)
def validate(
    topologies: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TOPOLOGY]...",
            help="Topology files; when left out, the one in the working directory.",
            autocompletion=complete_files,
            show_default=False,
        ),
    ] = None,
    topology: TopologyOption = None,
    settings: SetOption = None,
    output: FormatOption = Format.table,
) -> int:
    """Check topology files: load and plan them, and report every mistake with its position.

    What is understood and should be written otherwise is a warning.
    """
    variables = parse_variables(settings)
    mistakes: list[Mistake] = []
    warnings: list[Mistake] = []
    for given in [*(topologies or ()), *([topology] if topology else ())] or [None]:
        try:
            warnings += _check(find_topology(given), variables)
        except TopologyError as error:
            mistakes += error.mistakes
        except UsageError as error:
            if given is None:
                raise
            mistakes.append(Mistake(given, 0, 0, "", error.message, error.hint or ""))
    if output is Format.json:
        write_json([*_records(mistakes, "mistake"), *_records(warnings, "warning")])
    elif mistakes:
        raise TopologyError(mistakes)
    return TopologyError.exit_code if mistakes else 0


def _check(path: Path, variables: dict[str, str]) -> list[Mistake]:
    """Say that a file is right, and what should be written otherwise; return that."""
    from netlab.plan.resolve import resolve
    from netlab.topology.load import examine
    from netlab.topology.source import Mistakes

    topology = examine(path, variables=variables)
    placed = Mistakes(topology.source)
    plan = resolve(topology, placed=placed)
    known = [*topology.warnings, *placed.all()]
    known += _others(path, known, plan.warnings)
    for warning in known:
        say(str(warning))
    say(f"{path}: {len(plan.nodes)} nodes, {len(plan.segments)} segments")
    return known


def _others(path: Path, placed: list[Mistake], warnings: tuple[str, ...]) -> list[Mistake]:
    """Return the planner's other warnings: they are of the whole, and have no position."""
    known = {warning.text for warning in placed}
    return [Mistake(str(path), 0, 0, "", text) for text in warnings if text not in known]


def _records(found: list[Mistake], severity: str) -> list[dict[str, Any]]:
    return [
        {"severity": severity}
        | {field: getattr(one, field) for field in Mistake.__dataclass_fields__}
        for one in found
    ]
