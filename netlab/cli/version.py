"""`netlab version`: netlab's version and those of what it stands on."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from netlab import __version__
from netlab.cli.frame import add_verb, make_app
from netlab.cli.options import Format, FormatOption
from netlab.cli.output import write_json, write_table

app = make_app()

LIBRARIES = ("trio", "pyroute2", "pydantic", "typer", "starlette", "hypercorn", "httpx")


@add_verb(
    app,
    examples=(
        ("netlab version", "for people and bug reports"),
        ("netlab version -f json", "for programs"),
        ("netlab --version", "one line, at once"),
    ),
    codes=(0,),
)
def version(output: FormatOption = Format.table) -> None:
    """Show the version of netlab, of Python and of the libraries it stands on."""
    versions = {"netlab": __version__, "python": sys.version.split()[0]}
    versions |= {name: _library(name) for name in LIBRARIES}
    if output is Format.json:
        write_json(versions)
    else:
        write_table(("what", "version"), list(versions.items()))


def _library(name: str) -> str:
    try:
        return installed_version(name)
    except PackageNotFoundError:
        return "missing"
