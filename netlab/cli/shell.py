"""`netlab shell`: a Python prompt with a lab's nodes as names."""

from __future__ import annotations

from typing import Annotated

import typer

from netlab.cli.frame import add_verb, make_app
from netlab.cli.labs import find_client
from netlab.cli.options import LabNameArgument

app = make_app()


@add_verb(
    app,
    examples=(
        ("netlab shell ring", "a prompt: `await r1.succeed('ip route')`"),
        ("netlab shell ring < look.py", "run Python that awaits, and return how it went"),
    ),
    codes={
        0: "left with Ctrl-D or exit(); from a pipe: it ran to its end",
        1: "from a pipe: an exception was raised; or what exit() says",
        2: "no such lab",
        4: "the lab process does not answer",
        130: "from a pipe: interrupted",
    },
)
def shell(
    name: LabNameArgument = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Python's own prompt, although IPython is installed.")
    ] = False,
) -> int:
    """Speak with a lab in Python: nodes are names, and `await` stands anywhere.

    Names are `lab`, `link(a, b)`, `trio` and every node's, where what is no letter or digit is
    `_`; two nodes that would share one are `lab["1a"]` and `lab["2a"]`. The prompt is IPython's
    where that is installed (`pip install 'netlab-vm[shell]'`). Ctrl-C ends what is awaited and
    comes back to the prompt; Ctrl-D leaves, and the lab goes on. `netlab help testing` lists what
    labs and nodes can do.
    """
    client = find_client(name)
    # Imported here, late: a wrong name needs no event loop to be told.
    from netlab.cli.prompt import run_prompt

    return run_prompt(client.folders, plain=plain)
