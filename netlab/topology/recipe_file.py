"""Read the recipe of an image: a file, and the files and folders that it names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path as FilePath

from pydantic import ValidationError

from netlab.errors import Mistake, TopologyError
from netlab.topology.document import Value, parse
from netlab.topology.explain import explain
from netlab.topology.reading import UnreadableError, decode, read_file
from netlab.topology.recipe import BASES, Recipe, check_base, check_files
from netlab.topology.retired import translate
from netlab.topology.source import Mistakes, Path, Source, quote
from netlab.topology.trees import MAXIMUM_BYTES, Tree, read_tree

MAXIMUM_SIZE = 1024 * 1024
"""Largest recipe, in bytes, without the files that it names."""


def load_recipe(path: str | FilePath) -> Recipe:
    """Read a recipe and what it names by ``from``, relative to it.

    Args:
        path: The file; mistakes name it as it is given here.

    Raises:
        TopologyError: Every mistake in it, with its position.
    """
    try:
        return read_recipe(path)
    except UnreadableError as error:
        mistake = Mistake(os.fspath(path), *error.place, "", error.message, error.hint)
        raise TopologyError([mistake]) from None


def loads_recipe(text: str, *, name: str = "<text>") -> Recipe:
    """Read a recipe from text; what it names by ``from`` is not read.

    Args:
        text: YAML.
        name: What mistakes call it.

    Raises:
        TopologyError: Every mistake in it, with its position.
    """
    recipe, mistakes = _examine(text, name)
    return _checked(recipe, mistakes)


def read_recipe(path: str | FilePath) -> Recipe:
    """Read a recipe for somebody who says where a file is named that cannot be read.

    Args:
        path: The file; mistakes name it as it is given here.

    Raises:
        UnreadableError: The file itself cannot be read.
        TopologyError: Every mistake in it, with its position.
    """
    text = decode(read_file(FilePath(path), MAXIMUM_SIZE))
    recipe, mistakes = _examine(text, os.fspath(path))
    return _checked(_with_trees(recipe, FilePath(path).parent, mistakes), mistakes)


def _checked(recipe: Recipe, mistakes: Mistakes) -> Recipe:
    if not mistakes.holds(("base",)):
        check_base(recipe, mistakes)
    check_files(recipe, mistakes)
    mistakes.check()
    return recipe


def _examine(text: str, name: str) -> tuple[Recipe, Mistakes]:
    """Return what of a recipe can be understood, and what is wrong with the rest.

    Raises:
        TopologyError: So much is wrong that nothing is left to be looked at.
    """
    document, mark, found = parse(text, name)
    mistakes = Mistakes(Source(name=name, mark=mark), found)
    if not isinstance(document, dict):
        message = "the file is empty" if document is None else "a recipe is a mapping"
        mistakes.add((), message, "it begins with name: and base:")
        raise mistakes.error()
    value = translate(document, mistakes, mistakes, place="recipe")
    try:
        return Recipe.model_validate(value), mistakes
    except ValidationError as error:
        explain(error, mistakes, model=Recipe)
        paths = [detail["loc"] for detail in error.errors(include_url=False)]
    try:
        return Recipe.model_validate(_without(value, paths)), mistakes
    except ValidationError:
        raise mistakes.error() from None


def _without(document: dict[str, Value], paths: Iterable[Path]) -> dict[str, Value]:
    """Return a recipe without its mistaken parts: the rest is looked at all the same."""
    rest = dict(document)
    for path in paths:
        files = rest.get("files")
        if path[:1] == ("files",) and len(path) > 1 and isinstance(files, dict):
            rest["files"] = {name: file for name, file in files.items() if name != path[1]}
        elif path:
            rest.pop(str(path[0]), None)
    return {"name": "image", "base": BASES[-1], **rest}


def _with_trees(recipe: Recipe, folder: FilePath, mistakes: Mistakes) -> Recipe:
    trees: dict[str, Tree] = {}
    room = MAXIMUM_BYTES
    for path, file in recipe.files.items():
        if file.source is None or file.source in trees:
            continue
        try:
            trees[file.source] = read_tree(folder / file.source, room)
            room -= trees[file.source].size
        except UnreadableError as error:
            place = ("files", path, "from")
            mistakes.add(place, f"{quote(file.source)}: {error.message}", error.hint)
    return recipe.with_trees(trees)
