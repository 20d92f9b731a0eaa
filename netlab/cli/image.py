"""`netlab image`: build, list, show and remove images, those of netlab and own ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netlab.cli.frame import add_verb, make_app
from netlab.cli.options import Format, FormatOption, YesOption
from netlab.cli.output import say, write_json, write_table
from netlab.errors import TopologyError, UsageError

if TYPE_CHECKING:
    from netlab.image.store import Image, Progress, Store
    from netlab.plan.model import ImagePlan

app = make_app("Build, list, show and remove images: what guests boot from.")

_MIB = 1 << 20


def _complete_image(incomplete: str) -> list[str]:
    from netlab.image.store import open_store

    return sorted({
        image.name for image in open_store().list() if image.name.startswith(incomplete)
    })


ImageArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="The image's name, or the recipe of an own one.",
        autocompletion=_complete_image,
    ),
]

_ArchOption = Annotated[
    str | None,
    typer.Option("--arch", metavar="ARCH", help="For which architecture, such as aarch64."),
]


@add_verb(
    app,
    examples=(
        ("netlab image build", "the micro image, if it is not there"),
        ("netlab image build micro-aarch64", "the same for another architecture"),
        ("netlab image build micro --rebuild", "again, with today's packages"),
        ("netlab image build web.image.yaml", "an own image, by its recipe"),
    ),
    codes=(0, 2, 3, 4, 130),
)
def build(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[NAME]",
            help="Which image: micro, debian, or a recipe, NAME.image.yaml.",
        ),
    ] = "micro",
    arch: _ArchOption = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Although it is there: with refreshed packages.")
    ] = False,
    output: FormatOption = Format.table,
) -> None:
    """Build an image from distribution packages, without root; at once when it is there."""
    from netlab.cli.interrupts import run_interruptibly

    store, stored = find_image(name, arch)

    async def ensure() -> Image:
        return await store.ensure(stored, rebuild=rebuild, progress=_tell)

    image = run_interruptibly(ensure)
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
def show(
    name: ImageArgument, arch: _ArchOption = None, output: FormatOption = Format.table
) -> None:
    """Show one image: where its files are and which packages it is made of."""
    store, stored = find_image(name, arch)
    record = describe(store.get(stored))
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
        ("netlab image rm web.image.yaml", "what this recipe says now"),
    ),
    codes=(0, 2, 4),
)
def remove(name: ImageArgument, arch: _ArchOption = None, yes: YesOption = False) -> None:
    """Remove an image; labs that are up keep it until they go."""
    store, stored = find_image(name, arch)
    image = store.get(stored)
    if not yes:
        size = f"{image.size / _MIB:.1f} MiB"
        _confirm(f"image rm would remove {image.name}", f"Remove {image.name} ({size})?")
    store.remove(image.name)
    say(f"{image.name}: removed")


@add_verb(
    app,
    examples=(
        ("netlab image prune", "asks first"),
        ("netlab image prune --yes", "does not ask"),
    ),
    codes=(0, 2, 4),
)
def prune(yes: YesOption = False) -> None:
    """Remove what nobody needs any more.

    That is: images whose recipes are not there any more or say something else now, what images
    were before their last build, downloaded disks and packages. What labs that are up were started
    from stays, and what disks that stay are layers over.
    """
    from netlab.image.store import open_store
    from netlab.machine.kept import kept_folder, list_kept

    store = open_store()
    stale = [image.name for image in store.list() if image.recipe and not _is_current(image)]
    if not yes:
        what = "".join(f"{name}, " for name in stale)
        what += "what images were before, and downloads"
        _confirm(f"image prune would remove {what}", f"Remove {what}?")
    kept = [Path(disk.base) for disk in list_kept(kept_folder()) if disk.base is not None]
    freed = store.prune(stale, kept)
    for name in stale:
        say(f"{name}: removed")
    say(f"{freed / _MIB:.1f} MiB freed")


def _confirm(refusal: str, question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(refusal, hint="--yes says that you mean it")
    typer.confirm(question, abort=True, err=True)


def find_image(name: str, arch: str | None = None) -> tuple[Store, str]:
    """Return the store with an image's recipe, and the image's name there.

    Args:
        name: The image's name, or the file of its recipe.
        arch: Its architecture; the usual one when None.

    Raises:
        TopologyError: All that is wrong with the recipe.
        UsageError: There is no such image for the architecture.
    """
    from netlab.image.store import open_store
    from netlab.plan.catalogue import IMAGES, USUAL_ARCH, stored_name
    from netlab.topology.recipe import is_recipe

    store, base = open_store(), name
    if is_recipe(name):
        plan = _plan_recipe(Path(name))
        store, name, base = store.with_images((plan,)), plan.name, plan.base
    facts = IMAGES.get(base)
    if arch is not None and facts is not None and arch not in facts.architectures:
        known = " and ".join(facts.architectures)
        raise UsageError(f"{name} is for {known}, not {arch!r}")
    return store, stored_name(name, arch or USUAL_ARCH)


def _plan_recipe(path: Path) -> ImagePlan:
    from netlab.plan.files import anchor_image
    from netlab.plan.images import plan_image
    from netlab.topology.recipe_file import load_recipe

    return anchor_image(plan_image(load_recipe(path), str(path)), str(Path.cwd()))


def _is_current(image: Image) -> bool:
    """Whether an image is what its recipe says now."""
    from netlab.plan.catalogue import stored_name

    try:
        return stored_name(_plan_recipe(Path(image.recipe)).name, image.arch) == image.name
    except TopologyError:
        return False


def describe(image: Image) -> dict[str, Any]:
    """Return an image as JSON has it."""
    fields = (
        "name", "digest", "arch", "base", "recipe", "kernel", "packed_kernel", "initrd", "disk",
        "append", "memory", "size", "built", "packages",
    )  # fmt: skip
    values = {field: getattr(image, field) for field in fields}
    return {
        key: str(value) if isinstance(value, Path) else list(value) if key == "packages" else value
        for key, value in values.items()
    }


def _tell(progress: Progress) -> None:
    say(str(progress))
