"""`netlab schema`: the JSON schema of topologies."""

from __future__ import annotations

from netlab.cli.files import write_text
from netlab.cli.frame import add_verb, make_app
from netlab.cli.options import OutputOption

app = make_app()


@add_verb(
    app,
    examples=(
        ("netlab schema -o netlab.schema.json", "write it beside the topologies"),
        ("netlab schema | jq '.properties | keys'", "look at it"),
    ),
    codes=(0, 2),
)
def schema(
    output: OutputOption = None,
) -> None:
    """Write the JSON schema of topologies, with a description of every field.

    An editor with a YAML language server completes and checks a topology whose first line is
    `# yaml-language-server: $schema=netlab.schema.json`.
    """
    import json

    from netlab.topology.schema import json_schema

    write_text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", output)
