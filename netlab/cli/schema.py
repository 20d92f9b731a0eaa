"""`netlab schema`: the JSON schema of topologies, and of images' recipes."""

from __future__ import annotations

from typing import Annotated

import typer

from netlab.cli.files import write_text
from netlab.cli.frame import add_verb, make_app
from netlab.cli.options import OutputOption

app = make_app()


@add_verb(
    app,
    examples=(
        ("netlab schema -o netlab.schema.json", "write it beside the topologies"),
        ("netlab schema --image -o image.schema.json", "that of images' recipes"),
        ("netlab schema | jq '.properties | keys'", "look at it"),
    ),
    codes=(0, 2),
)
def schema(
    output: OutputOption = None,
    image: Annotated[
        bool, typer.Option("--image", help="That of images' recipes, in place of topologies'.")
    ] = False,
) -> None:
    """Write the JSON schema of topologies or recipes, with a description of every field.

    An editor with a YAML language server completes and checks a file whose first line is
    `# yaml-language-server: $schema=netlab.schema.json`.
    """
    import json

    from netlab.topology.schema import json_schema, recipe_schema

    found = recipe_schema() if image else json_schema()
    write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", output)
