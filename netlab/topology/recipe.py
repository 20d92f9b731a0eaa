"""What may be written in the recipe of an image: the user's model, a description on every field.

A recipe is a file of its own beside the topologies that name it, ``NAME.image.yaml``. Its values
are what it says: it has no variables, for ``${…}`` in its commands is the shell's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, PrivateAttr

from netlab.topology.contents import Content
from netlab.topology.forms import Entries, Several, also_text
from netlab.topology.links import Model
from netlab.topology.names import check_image_name, find_within
from netlab.topology.scalars import GuestPath, Memory, Mode, Name, Text, choice
from netlab.topology.source import Mistakes, Path, WrongError, quote
from netlab.topology.trees import Tree

BASES = ("micro", "debian")
"""The images that others can be made of."""

_SUFFIXES = (".image.yaml", ".image.yml")

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.](=[0-9][A-Za-z0-9.+~:-]*)?")
"""A package's name and perhaps its version: Debian Policy, 5.6.1 and 5.6.12."""

_MODULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")

_NOT_HERE = {
    "micro": ("dev", "init", "proc", "sys", "etc/fstab", "etc/inittab", "usr/lib/netlab"),
    "debian": ("dev", "proc", "sys", "run", "etc/fstab", "etc/machine-id"),
}
"""Where no file of a recipe's can be: what starts the guest, and what others lie over."""

_COMMAND_LINE = 1024
"""Bytes that a recipe may add to the kernel's command line, which takes 2,048 on x86."""


def is_recipe(name: str) -> bool:
    """Whether what stands for an image is the file of a recipe, and no name."""
    return name.endswith(_SUFFIXES)


def _package(text: str) -> str:
    if not _PACKAGE.fullmatch(text):
        hint = "write its name, or NAME=VERSION"
        raise WrongError(f"{quote(text)} cannot be a Debian package", hint)
    return text


def _module(text: str) -> str:
    if not _MODULE.fullmatch(text):
        raise WrongError(f"{quote(text)} cannot be a kernel module's name")
    return text


def _command(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise WrongError("there is no command to run")
    return text


def _append(text: str) -> str:
    if len(text) > _COMMAND_LINE or not (text.isascii() and text.isprintable()):
        hint = f"at most {_COMMAND_LINE} characters of ASCII on one line"
        raise WrongError(f"{quote(text)} cannot be on a kernel's command line", hint)
    return text.strip()


class ImageFile(Content):
    """A file that an image has: plain text, or where it comes from."""

    model_config = ConfigDict(json_schema_extra=also_text("The file's text."))

    source: Text | None = Field(
        default=None,
        alias="from",
        description="A file, or a folder with all that is in it, relative to the recipe.",
    )
    mode: Mode | None = Field(
        default=None,
        description=(
            "Its permission bits in octal, such as 0755; those of the file that it comes from when "
            "left out, or 0644."
        ),
    )


class Recipe(Model):
    """An image, as its author wrote it."""

    name: Annotated[Name, AfterValidator(check_image_name)] = Field(
        description="The image's name: at most 32 lower-case letters, digits and hyphens."
    )
    base: Annotated[str, *choice(*BASES)] = Field(
        description="The image that it is made of: micro (packages are unpacked), or debian."
    )
    packages: Annotated[tuple[Annotated[Name, AfterValidator(_package)], ...], Several()] = Field(
        default=(),
        description="Debian packages, which bring along what they depend on: NAME or NAME=VERSION.",
    )
    files: Annotated[dict[GuestPath, ImageFile], Entries()] = Field(
        default={},
        description="Files by absolute path: text, or {from, mode}. They belong to root.",
    )
    run: Annotated[tuple[Annotated[Text, AfterValidator(_command)], ...], Several()] = Field(
        default=(),
        description=(
            "Shell commands, run in order as root in the image while it is built, once packages "
            "and files are there; debian only."
        ),
    )
    modules: Annotated[tuple[Annotated[Name, AfterValidator(_module)], ...], Several()] = Field(
        default=(),
        description="More modules of the kernel, for modprobe; micro only: debian has all.",
    )
    append: Annotated[Text, AfterValidator(_append)] = Field(
        default="", description="Words to add to the kernel's command line."
    )
    memory: Memory | None = Field(
        default=None,
        description="The memory of its nodes where nothing is said, in MiB or as 1 GiB.",
    )

    _trees: Mapping[str, Tree] = PrivateAttr(default_factory=dict[str, Tree])

    @property
    def trees(self) -> Mapping[str, Tree]:
        """What is at the paths that it names by ``from``."""
        return self._trees

    def with_trees(self, trees: Mapping[str, Tree]) -> Recipe:
        """Return the same recipe with what is at the paths that it names by ``from``."""
        copy = self.model_copy()
        copy._trees = dict(trees)  # noqa: SLF001 (a copy of ourselves)
        return copy


def check_base(recipe: Recipe, mistakes: Mistakes) -> None:
    """Find what the base of a recipe cannot do."""
    if recipe.base == "micro" and recipe.run:
        message = "nothing is run while an image of micro is built: packages are only unpacked"
        mistakes.add(("run",), message, "write base: debian", key=True)
    if recipe.base == "debian" and recipe.modules:
        message = "debian has every module of its kernel already"
        mistakes.add(("modules",), message, "leave it out", key=True)


def check_files(recipe: Recipe, mistakes: Mistakes) -> None:
    """Find files of a recipe that are in each other's way, or in the base's."""
    within = find_within(recipe.files)
    for path, file in recipe.files.items():
        place = ("files", path)
        tree = recipe.trees.get(file.source or "")
        folder = tree is not None and not tree.is_file
        if folder and file.mode is not None:
            message = "what is in a folder has the permissions that it has there"
            mistakes.add((*place, "mode"), message, "leave mode out")
        inside = within.get(path)
        if inside is not None and not folder:
            message = f"{quote(path)} is a file, and {quote(inside)} needs it to be a folder"
            mistakes.add(place, message, key=True)
        _check_places(recipe.base, path, tree, mistakes)


def _check_places(base: str, path: str, tree: Tree | None, mistakes: Mistakes) -> None:
    start = path.strip("/")
    inside = [one.path for one in tree.entries if one.kind != "folder"] if tree else [""]
    for each in inside:
        found = f"{start}/{each}".rstrip("/")
        for taken in _NOT_HERE[base]:
            if found == taken or found.startswith(f"{taken}/"):
                place: Path = ("files", path)
                message = f"{quote('/' + found)} cannot be given: {base} needs its own /{taken}"
                mistakes.add(place, message, key=True)
                return
