"""`netlab down`: end labs, and clear what dead ones left."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from netlab.cli.frame import add_verb, make_app
from netlab.cli.labs import choose_name
from netlab.cli.options import LabArgument, NameOption, TopologyOption, YesOption
from netlab.cli.output import say
from netlab.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from netlab.lab.folders import LabFolders

app = make_app()


@add_verb(
    app,
    examples=(
        ("netlab down", "the only lab that is up"),
        ("netlab down ring.yaml", "the lab that the file describes"),
        ("netlab down ring", "by its name; the file is not needed"),
        ("netlab down --all --yes", "all labs of this user, without asking"),
    ),
    codes={
        0: "it is down; also when it was not up",
        2: "several labs are up and none is named",
        4: "the lab could not be ended",
    },
)
def down(
    argument: LabArgument = None,
    topology: TopologyOption = None,
    name: NameOption = None,
    everything: Annotated[bool, typer.Option("-a", "--all", help="All labs of this user.")] = False,
    yes: YesOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
) -> None:
    """Take a lab down: its machines, links, disks and logs are gone when it returns.

    Disks with `persist: true` stay; `netlab disk rm` removes them.
    """
    from netlab.lab.folders import list_labs

    if argument and topology:
        raise UsageError(f"two topologies are given: {argument} and --topo {topology}")
    labs = list_labs() if everything else _choose(choose_name(name, argument or topology))
    if not labs:
        say("no lab is up")
        return
    if dry_run:
        for folders in labs:
            say(f"{folders.lab}: would be taken down")
        return
    if everything and not yes:
        _confirm(labs)
    for folders in labs:
        _take_down(folders)


def _choose(name: str | None) -> list[LabFolders]:
    from netlab.lab.folders import is_alive, lab_folders, list_labs

    if name is not None:
        return [lab_folders(name)]
    labs = list_labs()
    # What lives comes first; what died is only cleared when nothing else can be meant.
    found = [folders for folders in labs if is_alive(folders)] or labs
    if len(found) > 1:
        raise UnknownNameError(
            "several labs are here: " + ", ".join(folders.lab for folders in found),
            hint="say which with --name, or --all",
        )
    return found


def _confirm(labs: list[LabFolders]) -> None:
    names = ", ".join(folders.lab for folders in labs)
    if not sys.stdin.isatty():
        raise UsageError(f"down --all would take down {names}", hint="--yes says that you mean it")
    typer.confirm(f"Take down {names}?", abort=True, err=True)


def _take_down(folders: LabFolders) -> None:
    from netlab.lab.client import Client, clear
    from netlab.lab.folders import is_alive
    from netlab.machine.kept import kept_folder, list_kept

    if is_alive(folders):
        Client(folders).down()
        say(f"{folders.lab}: down")
        clear(folders)  # nothing, unless the lab process had to be killed
    elif clear(folders):
        say(f"{folders.lab}: was not up; what it left is cleared")
    else:
        say(f"{folders.lab}: is not up")
    kept = [disk.name for disk in list_kept(kept_folder()) if disk.lab == folders.lab]
    if kept:
        say(f"{', '.join(kept)} stays; `netlab disk rm {folders.lab}` removes it")
