"""`netlab vma`: Proxmox's backup archives, with the habits of its own tool."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from netlab.cli.candidates import complete_files
from netlab.cli.frame import add_verb, make_app
from netlab.cli.options import Format, FormatOption
from netlab.cli.output import say, write_json, write_table
from netlab.errors import UsageError

if TYPE_CHECKING:
    from netlab.vma.format.header import Header
    from netlab.vma.source import Range

app = make_app(
    "Make, read and check Proxmox backup archives (VMA). `netlab help vma` explains the format."
)

ArchiveArgument = Annotated[
    str,
    typer.Argument(
        metavar="ARCHIVE",
        help="A file, compressed by its suffix (.zst .gz .bz2 .lzo), or - for standard input.",
        autocompletion=complete_files,
    ),
]

NewArchiveArgument = Annotated[
    str,
    typer.Argument(
        metavar="ARCHIVE",
        help="A new file, compressed by its suffix (.zst .gz); or - for standard output.",
    ),
]

DisksArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME=PATH]...", help="Disks: raw images or block devices, by name."),
]

ConfigOption = Annotated[
    list[Path] | None,
    typer.Option(
        "-c", "--config", metavar="FILE", help="A configuration, called like its file; repeatable."
    ),
]

NewDriveOption = Annotated[
    list[str] | None,
    typer.Option("-d", "--drive", metavar="NAME=PATH", help="A disk, too; repeatable."),
]

CompressOption = Annotated[
    str | None, typer.Option(metavar="KIND[:LEVEL]", help="zstd:1 to 19, gzip:1 to 9, or none.")
]


@add_verb(
    app,
    examples=(
        ("netlab vma create a.vma drive-scsi0=disk.raw", "one disk"),
        ("netlab vma create a.vma.zst -c qemu-server.conf drive-scsi0=/dev/vg/disk", "compressed"),
        ("netlab vma create - -d drive-scsi0=disk.raw | ssh pve qmrestore - 100", "to a pipe"),
    ),
    codes={
        0: "the archive is there",
        2: "a name, a size or a file is wrong; nothing was written",
        3: "a disk cannot be read, or the archive not be written; nothing of it is left",
        130: "interrupted; nothing of it is left",
    },
)
def create(
    archive: NewArchiveArgument,
    disks: DisksArgument = None,
    config: ConfigOption = None,
    drive: NewDriveOption = None,
    compress: CompressOption = None,
    uuid: Annotated[
        UUID | None, typer.Option(help="The archive's UUID; a random one by default.")
    ] = None,
    time: Annotated[
        int | None,
        typer.Option(metavar="SECONDS", help="Its time, since the epoch; now by default."),
    ] = None,
) -> None:
    """Make an archive of disks and configurations; zeros and holes take next to no room."""
    from netlab.cli.archiving import create_from
    from netlab.vma.compression import choose_compression

    packed = choose_compression(archive, compress)
    named = _parse_disks([*(disks or ()), *(drive or ())])
    identity = {"uuid": uuid, "created": time}
    given = {key: value for key, value in identity.items() if value is not None}
    create_from(archive, named, config or (), packed, given)


@add_verb(
    app,
    name="list",
    examples=(
        ("netlab vma list vzdump-qemu-100.vma.zst", "configurations and disks"),
        ("zstd -dc backup | netlab vma list -", "from a pipe"),
        ("netlab vma list a.vma -f json", "for programs"),
    ),
    codes=(0, 2, 3),
)
def list_contents(archive: ArchiveArgument, output: FormatOption = Format.table) -> None:
    """List what is in an archive; only its header is read."""
    from netlab.cli.archiving import read_header

    header = read_header(archive)
    if output is Format.json:
        write_json(describe(header))
        return
    rows = [
        *(("config", None, config.name, len(config.data)) for config in header.configs),
        *(
            ("memory" if each.is_saved_state else "disk", each.number, each.name, each.size)
            for each in header.devices
        ),
    ]
    say(f"uuid {header.uuid}, {_format_time(header.created)}")
    write_table(("kind", "number", "name", "bytes"), rows)


@add_verb(
    app,
    examples=(
        ("netlab vma config vzdump-qemu-100.vma.zst", "prints qemu-server.conf"),
        ("netlab vma config a.vma -c qemu-server.fw", "prints another one"),
    ),
    codes=(0, 2, 3),
)
def config(
    archive: ArchiveArgument,
    name: Annotated[
        str, typer.Option("-c", "--config", metavar="NAME", help="Which configuration.")
    ] = "qemu-server.conf",
) -> None:
    """Print a configuration of an archive."""
    from netlab.cli.archiving import print_config

    print_config(archive, name)


@add_verb(
    app,
    examples=(
        ("netlab vma extract a.vma.zst restored", "all of it, into a new folder"),
        ("netlab vma extract a.vma restored -d drive-scsi0", "one disk, and the configurations"),
        ("ssh pve cat a.vma | netlab vma extract - restored", "from a pipe"),
        ("netlab vma extract a.vma - -d drive-scsi0 > disk", "one disk to standard output"),
    ),
    codes={
        0: "all is there",
        2: "the archive is damaged or hostile, or the folder is there; nothing is left",
        3: "a file cannot be read or written; nothing is left",
        130: "interrupted; nothing is left",
    },
)
def extract(
    archive: ArchiveArgument,
    folder: Annotated[
        str,
        typer.Argument(metavar="FOLDER", help="Made by this; or - for one disk of a plain file."),
    ],
    drive: Annotated[
        list[str] | None,
        typer.Option("-d", "--drive", metavar="NAME[,NAME]", help="Only these disks; repeatable."),
    ] = None,
) -> None:
    """Write configurations and disks as files: NAME, and disk-NAME.raw with holes for zeros."""
    from netlab.cli.archiving import extract_disk, extract_to

    names = [name for value in drive or () for name in value.split(",")] or None
    if folder != "-":
        extract_to(archive, Path(folder), names)
    elif names is None or len(names) != 1:
        raise UsageError("standard output takes one disk", hint="-d NAME says which")
    else:
        extract_disk(archive, names[0])


@add_verb(
    app,
    examples=(
        ("netlab vma verify vzdump-qemu-100.vma.zst", "everything that is wrong"),
        ("zstd -dc backup | netlab vma verify - -f json", "from a pipe, for programs"),
    ),
    codes={
        0: "nothing is wrong, but for warnings",
        2: "the archive is damaged; what is wrong is on standard output",
        3: "it cannot be read",
    },
)
def verify(archive: ArchiveArgument, output: FormatOption = Format.table) -> None:
    """Check an archive: every rule of the format, and that every cluster is there once."""
    from netlab.cli.archiving import find_problems

    problems = find_problems(archive)
    wrong = [problem for problem in problems if not problem.warning]
    if output is Format.json:
        fields = ("message", "offset", "extent", "warning")
        write_json([{field: getattr(each, field) for field in fields} for each in problems])
    elif problems:
        write_table(
            ("kind", "problem"),
            [("warning" if each.warning else "error", str(each)) for each in problems],
        )
    found = {0: "nothing is", 1: "one thing is"}.get(len(wrong), f"{len(wrong)} things are")
    say(f"{archive}: {found} wrong")
    if wrong:
        raise typer.Exit(2)


@add_verb(
    app,
    name="map",
    examples=(
        ("netlab vma map a.vma", "which parts of each disk are stored"),
        ("netlab vma map a.vma -d drive-scsi0 -f json", "as `qemu-img map` says it"),
    ),
    codes=(0, 2, 3),
)
def show_map(
    archive: ArchiveArgument,
    drive: Annotated[
        str | None, typer.Option("-d", "--drive", metavar="NAME", help="Only this disk.")
    ] = None,
    output: FormatOption = Format.table,
) -> None:
    """Show which parts of each disk are data and which are zeros."""
    from netlab.cli.archiving import read_map

    sizes, ranges = read_map(archive, drive)
    parts = [(name, *part) for name, found in ranges.items() for part in _parts(found, sizes[name])]
    columns = ("disk", "start", "length", "data")
    if output is Format.json:
        write_json([dict(zip(columns, part, strict=True)) for part in parts])
    else:
        write_table(
            ("disk", "start", "length", "content"),
            [(*rest, "data" if data else "zeros") for *rest, data in parts],
        )


def describe(header: Header) -> dict[str, object]:
    """Return a header as JSON has it."""
    return {
        "uuid": str(header.uuid),
        "created": header.created,
        "configs": [{"name": each.name, "size": len(each.data)} for each in header.configs],
        "disks": [
            {"number": each.number, "name": each.name, "size": each.size} for each in header.devices
        ],
    }


def _parts(ranges: Sequence[Range], size: int) -> list[tuple[int, int, bool]]:
    """Return all of a disk as (start, length, whether it is data)."""
    parts: list[tuple[int, int, bool]] = []
    done = 0
    for each in ranges:
        if each.offset > done:
            parts.append((done, each.offset - done, False))
        parts.append((each.offset, each.length, True))
        done = each.end
    if done < size:
        parts.append((done, size - done, False))
    return parts


def _parse_disks(texts: Sequence[str]) -> dict[str, str]:
    """Return paths by disk name, of ``[format=raw:]NAME=PATH``."""
    disks: dict[str, str] = {}
    for text in texts:
        name, equals, path = text.removeprefix("format=raw:").partition("=")
        if name == "format":
            raise UsageError(
                f"{text}: a disk is raw here", hint="`qemu-img convert -O raw` makes it so"
            )
        if not (name and equals and path):
            raise UsageError(f"{text}: expected NAME=PATH, such as drive-scsi0=disk.raw")
        if name in disks:
            raise UsageError(f"the disk {name} is given twice")
        disks[name] = path
    return disks


def _format_time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s since the epoch"
