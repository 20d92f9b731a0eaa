"""`netlab image`: build, list, show and remove images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netlab.cli.frame import add_verb, make_app
from netlab.cli.options import Format, FormatOption, YesOption
from netlab.cli.output import say, write_json, write_table
from netlab.errors import UsageError

if TYPE_CHECKING:
    from netlab.image.store import Image, Progress

app = make_app("Build, list, show and remove images: kernel and initial RAM disk of a guest.")

_MIB = 1 << 20


def _complete_image(incomplete: str) -> list[str]:
    from netlab.image.store import open_store

    return sorted({
        image.name for image in open_store().list() if image.name.startswith(incomplete)
    })


ImageArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The image's name.", autocompletion=_complete_image)
]


@add_verb(
    app,
    examples=(
        ("netlab image build", "the micro image, if it is not there"),
        ("netlab image build micro-aarch64", "the same for another architecture"),
        ("netlab image build micro --rebuild", "again, with today's packages"),
    ),
    codes=(0, 2, 3, 4, 130),
)
def build(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Which image: micro, micro-aarch64 or debian.")
    ] = "micro",
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Although it is there: with refreshed packages.")
    ] = False,
    output: FormatOption = Format.table,
) -> None:
    """Build an image from distribution packages, without root; at once when it is there."""
    import trio

    from netlab.image.store import open_store

    store = open_store()

    async def ensure() -> Image:
        return await store.ensure(name, rebuild=rebuild, progress=_tell)

    image = trio.run(ensure)
    if output is Format.json:
        write_json(describe(image))
    else:
        say(f"{image.name}: {image.digest[:12]}, {image.size / _MIB:.1f} MiB")


@add_verb(
    app,
    name="list",
    examples=(
        ("netlab image list", "a table"),
        ("netlab image list -f json", "a list, for programs"),
    ),
    codes=(0, 4),
)
def list_images(output: FormatOption = Format.table) -> None:
    """List the images in the store."""
    from netlab.image.store import open_store

    images = open_store().list()
    if output is Format.json:
        write_json([describe(image) for image in images])
    elif images:
        write_table(
            ("name", "digest", "arch", "size", "built"),
            [
                (each.name, each.digest[:12], each.arch, f"{each.size / _MIB:.1f} MiB", each.built)
                for each in images
            ],
        )
    else:
        say("no images; `netlab image build` makes one, and `netlab up` what it needs")


@add_verb(
    app,
    examples=(
        ("netlab image show micro", "files, kernel command line, packages"),
        ("netlab image show micro -f json", "for programs"),
    ),
    codes=(0, 2, 4),
)
def show(name: ImageArgument, output: FormatOption = Format.table) -> None:
    """Show one image: where its files are and which packages it is made of."""
    from netlab.image.store import open_store

    record = describe(open_store().get(name))
    if output is Format.json:
        write_json(record)
        return
    packages: list[str] = record.pop("packages")
    write_table(("what", "value"), list(record.items()))
    print(f"\npackages ({len(packages)}):")
    for package in packages:
        print(f"  {package}")


@add_verb(
    app,
    name="rm",
    examples=(
        ("netlab image rm micro", "asks first"),
        ("netlab image rm micro --yes", "does not ask"),
    ),
    codes=(0, 2, 4),
)
def remove(name: ImageArgument, yes: YesOption = False) -> None:
    """Remove an image; machines that run from it go on, but cannot be started again."""
    from netlab.image.store import open_store

    store = open_store()
    image = store.get(name)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"image rm would remove {name}", hint="--yes says that you mean it")
        typer.confirm(f"Remove {name} ({image.size / _MIB:.1f} MiB)?", abort=True, err=True)
    store.remove(name)
    say(f"{name}: removed")


def describe(image: Image) -> dict[str, Any]:
    """Return an image as JSON has it."""
    fields = (
        "name", "digest", "arch", "kernel", "packed_kernel", "initrd", "append", "size", "built",
        "packages",
    )  # fmt: skip
    values = {field: getattr(image, field) for field in fields}
    return {
        key: str(value) if isinstance(value, Path) else list(value) if key == "packages" else value
        for key, value in values.items()
    }


def _tell(progress: Progress) -> None:
    say(str(progress))
