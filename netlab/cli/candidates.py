"""What options and arguments can be: files, running labs, their nodes.

Used by completion only, and nothing is asked of a lab: names come from the folders of the labs.
"""

from __future__ import annotations

import contextlib

import typer

from netlab.cli.complete import FILES
from netlab.cli.labs import read_nodes


def complete_files() -> list[str]:
    """Offer files: the shell knows best how."""
    return [FILES]


def complete_labs(incomplete: str) -> list[tuple[str, str]]:
    """Offer the labs that are up."""
    return [(name, "lab that is up") for name in _running() if name.startswith(incomplete)]


def complete_nodes(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Offer the nodes of the lab that is meant, or of every one, as LAB/NODE where it matters."""
    from netlab.lab.folders import lab_folders

    running = _running()
    chosen = ctx.params.get("name")
    wanted = [name for name in running if chosen in {None, name}]
    found: list[tuple[str, str]] = []
    for name in wanted:
        with contextlib.suppress(Exception):
            for node in read_nodes(lab_folders(name)):
                qualified = len(wanted) > 1 or "/" in incomplete
                value = f"{name}/{node}" if qualified else node
                found.append((value, f"node of {name}"))
    return [pair for pair in found if pair[0].startswith(incomplete)]


def complete_places(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Offer files, and nodes with the colon that goes before a path of theirs."""
    nodes = [(f"{node}:", meaning) for node, meaning in complete_nodes(ctx, incomplete)]
    return [(FILES, ""), *nodes]


def _running() -> list[str]:
    from netlab.lab.folders import is_alive, list_labs

    return [folders.lab for folders in list_labs() if is_alive(folders)]
