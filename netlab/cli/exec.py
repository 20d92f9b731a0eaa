"""`netlab exec`: a command in a node, or in several at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer

from netlab.cli.candidates import complete_nodes
from netlab.cli.failure import INTERRUPTED
from netlab.cli.frame import add_verb, make_app
from netlab.cli.labs import choose_nodes, find_client, split_node
from netlab.cli.options import (
    FilterOption,
    Format,
    FormatOption,
    LongTopologyOption,
    NameOption,
    WorkersOption,
    parse_variables,
)
from netlab.cli.output import write_json
from netlab.cli.selection import is_pattern
from netlab.errors import NetlabError, UsageError
from netlab.lab.client import Client, Result

app = make_app()

SIGNALLED = 128
"""Added to a signal's number, as shells do."""

_EXPORT = (
    *("/bin/sh", "-c"),
    'n=$1; shift; while [ "$n" -gt 0 ]; do export "$1"; shift; n=$((n - 1)); done; exec "$@"',
    "sh",
)
"""Sets so many variables for a program; `env` would take an odd name for its own option."""

NodeArgument = Annotated[
    str,
    typer.Argument(
        metavar="NODE",
        help="The node, LAB/NODE, or a pattern such as r[1-3]; left out with --all and "
        "--node-filter.",
        autocompletion=complete_nodes,
    ),
]

CommandArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[--] COMMAND", help="The command and its arguments.", show_default=False
    ),
]

AllOption = Annotated[bool, typer.Option("--all", help="In every node.")]

InputOption = Annotated[
    bool, typer.Option("-i", "--stdin", help="Give our standard input to the command.")
]

TerminalOption = Annotated[
    bool,
    typer.Option(
        "-t",
        "--tty",
        help="Run it on a terminal, ours: every key is the command's, Ctrl-C too; Ctrl-] ends it.",
    ),
]

StreamOption = Annotated[
    bool,
    typer.Option(
        "--stream",
        help="Pass our input on as it goes, too; its two outputs become one.",
    ),
]

EnvironmentOption = Annotated[
    list[str] | None,
    typer.Option("-e", "--env", metavar="NAME=VALUE", help="Set a variable of its environment."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What runs, where.

    Attributes:
        nodes: In which nodes.
        argv: The command line, run as it is: no shell in between.
        stdin: What it reads.
        environment: Additions to its environment.
        several: Whether a node's name goes before each of its lines.
    """

    nodes: tuple[str, ...]
    argv: tuple[str, ...]
    stdin: bytes
    environment: dict[str, str]
    several: bool


@add_verb(
    app,
    examples=(
        ("netlab exec r1 -- ip -br addr", "in one node of the only lab that is up"),
        ("netlab exec ring/r1 -- ping -c1 r4", "in a node of the lab `ring`"),
        ("netlab exec 'r[1-3]' -- birdc show route", "in several, each line with its node"),
        ("netlab exec --all -f json -- uname -r", "in all nodes, as JSON"),
        ("netlab exec r1 -- sh -c 'dmesg | tail -5'", "through the guest's shell"),
        ("netlab exec -i r1 -- sh < setup.sh", "with our standard input"),
        ("tail -f list | netlab exec --stream r1 -- cat", "with our input as it comes"),
        ("netlab exec -it r1 -- sh", "on a terminal; Ctrl-] leaves and ends it"),
    ),
    codes={
        0: "the command ended well in every node",
        1: "or any other: the command's own status; 128 and the number if a signal ended it",
        2: "no such lab or node (or the command's own 2)",
        4: "the node is not ready or its machine failed (or the command's own 4)",
        130: "interrupted, or left with Ctrl-]: the command in the guest is ended",
    },
    name="exec",
    interspersed=False,
)
def execute(
    node: NodeArgument,
    words: CommandArgument = None,
    name: NameOption = None,
    topology: LongTopologyOption = None,
    node_filter: FilterOption = None,
    everywhere: AllOption = False,
    stdin: InputOption = False,
    terminal: TerminalOption = False,
    stream: StreamOption = False,
    environment: EnvironmentOption = None,
    max_workers: WorkersOption = None,
    output: FormatOption = Format.table,
) -> int:
    """Run a command in a node and return its status; its output stays apart on our two streams."""
    patterns = ["*"] if everywhere else node_filter
    argv = words or []
    if patterns is None:
        name, node = split_node(node, name)
        patterns = [node]
        argv = argv[1:] if argv[:1] == ["--"] else argv
    else:
        argv = [node, *argv]
    if not argv:
        raise UsageError("no command is given", hint="netlab exec NODE -- COMMAND...")
    client = find_client(name, topology)
    several = len(patterns) > 1 or is_pattern(patterns[0])
    if terminal or stream:
        option = "-t" if terminal else "--stream"
        _check_single(option, several=several, output=output)
        return _run_live(client, patterns[0], argv, parse_variables(environment, "-e"), terminal)
    command = Command(
        nodes=choose_nodes(client, patterns) if several else tuple(patterns),
        argv=tuple(argv),
        stdin=sys.stdin.buffer.read() if stdin else b"",
        environment=parse_variables(environment, "-e"),
        several=several,
    )
    return _run_all(client, command, max_workers, output)


def _check_single(option: str, *, several: bool, output: Format) -> None:
    """Refuse several programs, JSON, and a terminal where there is none.

    Raises:
        UsageError: It cannot be.
    """
    if several:
        raise UsageError(f"{option}: it is for one node")
    if output is Format.json:
        raise UsageError(f"{option}: what is passed on cannot be written as JSON")
    if option == "-t" and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "-t: standard input and output have to be a terminal", hint="-i is enough for pipes"
        )


def _run_live(
    client: Client, node: str, argv: list[str], environment: dict[str, str], terminal: bool
) -> int:
    # Imported here: what is not spoken with needs no event loop.
    import trio

    from netlab.lab.attach import run_on_pipes, run_on_terminal

    settings = [f"{name}={value}" for name, value in environment.items()]
    words = (*_EXPORT, str(len(settings)), *settings, *argv) if settings else tuple(argv)
    run = run_on_terminal if terminal else run_on_pipes
    status = trio.run(run, client.folders, node, words)
    return INTERRUPTED if status is None else status


def _run_all(client: Client, command: Command, workers: int | None, output: Format) -> int:
    if output is Format.table and not command.several:
        return _run_telling(client, command)
    outcomes = _run_side_by_side(client, command, workers)
    if output is Format.json:
        return _write_json(outcomes)
    return max(_print(node, outcome) for node, outcome in outcomes)


def _run_telling(client: Client, command: Command) -> int:
    """Run it in one node and pass on what it prints as it comes."""
    streams = {"stdout": sys.stdout, "stderr": sys.stderr}

    def write(name: str, data: bytes) -> None:
        # Bytes as the guest wrote them; what the caller does with them is theirs.
        streams[name].buffer.write(data)
        streams[name].flush()

    (node,) = command.nodes
    result = client.execute(
        node, command.argv, stdin=command.stdin, environment=command.environment, output=write
    )
    _warn(node, result)
    return _status(result)


def _run_side_by_side(
    client: Client, command: Command, max_workers: int | None
) -> Iterator[tuple[str, Result | NetlabError]]:
    """Run it in all nodes, several at once; yield outcomes in the order of the nodes."""
    run = partial(_run, client, command)
    if len(command.nodes) == 1:
        yield command.nodes[0], run(command.nodes[0])
        return
    # Imported here: one node needs no threads.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers or min(32, len(command.nodes))) as workers:
        yield from zip(command.nodes, workers.map(run, command.nodes), strict=True)


def _run(client: Client, command: Command, node: str) -> Result | NetlabError:
    try:
        return client.execute(
            node, command.argv, stdin=command.stdin, environment=command.environment
        )
    except NetlabError as error:
        if command.several:
            return error  # the other nodes' output is not lost by it
        raise


def _status(outcome: Result | NetlabError) -> int:
    if isinstance(outcome, NetlabError):
        return outcome.exit_code
    return outcome.status if outcome.status >= 0 else SIGNALLED - outcome.status


def _print(node: str, outcome: Result | NetlabError) -> int:
    if isinstance(outcome, NetlabError):
        from netlab.cli.failure import render

        print(render(outcome), file=sys.stderr)
        return _status(outcome)
    for stream, data in ((sys.stdout, outcome.stdout), (sys.stderr, outcome.stderr)):
        for line in data.decode(errors="replace").splitlines():
            print(f"{node}: {line}", file=stream)
    _warn(node, outcome)
    return _status(outcome)


def _warn(node: str, result: Result) -> None:
    if result.incomplete is not None:
        print(f"warning: {node}: {result.incomplete}", file=sys.stderr)


def _write_json(outcomes: Iterator[tuple[str, Result | NetlabError]]) -> int:
    records: list[dict[str, object]] = []
    for node, outcome in outcomes:
        record: dict[str, object] = {"node": node, "status": _status(outcome)}
        if isinstance(outcome, NetlabError):
            record["error"] = str(outcome)
        else:
            record["stdout"] = outcome.stdout.decode(errors="replace")
            record["stderr"] = outcome.stderr.decode(errors="replace")
            record["incomplete"] = outcome.incomplete
        records.append(record)
    write_json(records)
    return max(_status_of(record) for record in records)


def _status_of(record: dict[str, object]) -> int:
    return int(str(record["status"]))
