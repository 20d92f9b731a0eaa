"""`netlab disk`: the disks that stay when their labs go."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netlab.cli.frame import add_verb, make_app
from netlab.cli.options import Format, FormatOption, YesOption
from netlab.cli.output import say, write_json, write_table
from netlab.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from netlab.machine.kept import KeptDisk

app = make_app("List and remove the disks that stay when their labs go (`persist: true`).")

_MIB = 1 << 20


def _list() -> list[KeptDisk]:
    from netlab.machine.kept import kept_folder, list_kept

    return list_kept(kept_folder())


def _complete_disk(incomplete: str) -> list[str]:
    return [disk.name for disk in _list() if disk.name.startswith(incomplete)]


@add_verb(
    app,
    name="list",
    examples=(
        ("netlab disk list", "a table"),
        ("netlab disk list -f json", "a list, for programs"),
    ),
    codes=(0,),
)
def list_disks(output: FormatOption = Format.table) -> None:
    """List the disks that stay, and say which of them a lab uses now."""
    from netlab.machine.kept import is_used

    disks = _list()
    if output is Format.json:
        write_json([describe(disk) | {"used": is_used(disk)} for disk in disks])
    elif disks:
        write_table(
            ("disk", "size", "used", "over"),
            [
                (
                    disk.name,
                    f"{disk.size / _MIB:.1f} MiB",
                    "yes" if is_used(disk) else "no",
                    disk.base or "nothing",
                )
                for disk in disks
            ],
        )
    else:
        say("no disks; `persist: true` on a disk of a node makes one when its lab is up")


@add_verb(
    app,
    name="rm",
    examples=(
        ("netlab disk rm office/server/data", "one; asks first"),
        ("netlab disk rm office --yes", "all of a lab's; does not ask"),
    ),
    codes=(0, 2, 3),
)
def remove(
    name: Annotated[
        str,
        typer.Argument(
            metavar="LAB[/NODE[/SERIAL]]",
            help="The disk, or all of a node or of a lab.",
            autocompletion=_complete_disk,
        ),
    ],
    yes: YesOption = False,
) -> None:
    """Remove disks with all that is on them; one that a lab uses is refused."""
    from netlab.machine.kept import remove_kept

    disks = [disk for disk in _list() if f"{disk.name}/".startswith(f"{name}/")]
    if not disks:
        raise UnknownNameError(f"no disk {name!r} is kept", hint="see `netlab disk list`")
    if not yes:
        names = ", ".join(disk.name for disk in disks)
        if not sys.stdin.isatty():
            raise UsageError(f"disk rm would remove {names}", hint="--yes says that you mean it")
        typer.confirm(f"Remove {names} with all that is on them?", abort=True, err=True)
    for disk in disks:
        remove_kept(disk)
        say(f"{disk.name}: removed")


def describe(disk: KeptDisk) -> dict[str, Any]:
    """Return a disk as JSON has it."""
    return {**asdict(disk), "path": str(disk.path)}
