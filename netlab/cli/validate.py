"""`netlab validate`: every mistake of topology files, and nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from netlab.cli.candidates import complete_files
from netlab.cli.frame import add_verb, make_app
from netlab.cli.options import Format, FormatOption, SetOption, TopologyOption, parse_variables
from netlab.cli.output import say, write_json
from netlab.cli.topologies import find_topology, load_plan
from netlab.errors import Mistake, TopologyError, UsageError

app = make_app()


@add_verb(
    app,
    examples=(
        ("netlab validate", "the topology in the working directory"),
        ("netlab validate labs/*.yaml", "several files, all mistakes of all of them"),
        ("netlab validate ring.yaml -f json", "mistakes as JSON, for programs"),
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
    """Check topology files: load and plan them, and report every mistake with its position."""
    variables = parse_variables(settings)
    mistakes: list[Mistake] = []
    for given in [*(topologies or ()), *([topology] if topology else ())] or [None]:
        try:
            path = find_topology(given)
            plan = load_plan(path, variables=variables)
        except TopologyError as error:
            mistakes += error.mistakes
        except UsageError as error:
            if given is None:
                raise
            mistakes.append(Mistake(given, 0, 0, "", error.message, error.hint or ""))
        else:
            say(f"{path}: {len(plan.nodes)} nodes, {len(plan.segments)} segments")
    if output is Format.json:
        write_json([
            {field: getattr(mistake, field) for field in Mistake.__dataclass_fields__}
            for mistake in mistakes
        ])
    elif mistakes:
        raise TopologyError(mistakes)
    return TopologyError.exit_code if mistakes else 0
