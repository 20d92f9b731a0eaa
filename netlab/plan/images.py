"""Images of the user's own: what is in them, and what the planner knows of them.

An image is called by its name and by what it is made of, ``web@0123456789ab``: two recipes that say
the same are one image, wherever they lie, and one that is edited is another.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from dataclasses import asdict, replace

from netlab.plan.catalogue import IMAGES, MISTAKEN, ImageFacts
from netlab.plan.contents import encode
from netlab.plan.model import ImageFilePlan, ImagePlan
from netlab.topology.recipe import ImageFile, Recipe
from netlab.topology.source import Mistakes, Path, quote

_DIGITS = 12
"""Of an image's digest in its name: 2^48 of one name are more than anybody builds."""

_MEMORY = 256
"""MiB where nothing is said: how large an image in memory is, is known when it is built."""

_TEXT_MODE = 0o644


def is_known(image: str) -> bool:
    """Whether an image is one of netlab's, or has a recipe that could be read."""
    return image in IMAGES or "@" in image


def name_of(image: str) -> str:
    """Return what people call an image."""
    return image.partition("@")[0]


def plan_image(recipe: Recipe, file: str) -> ImagePlan:
    """Return an image as its recipe says it.

    Args:
        recipe: With everything that it names.
        file: The recipe's file, as the topology says it.
    """
    folder = posixpath.dirname(file)
    # A folder is before what is named inside it, in whatever order they are written.
    files = sorted(recipe.files.items())
    plan = ImagePlan(
        name=recipe.name,
        file=file,
        base=recipe.base,
        packages=recipe.packages,
        files=tuple(_file(path, one, recipe, folder) for path, one in files),
        run=recipe.run,
        modules=recipe.modules,
        append=recipe.append,
    )
    return replace(plan, name=f"{recipe.name}@{content_digest(plan)[:_DIGITS]}")


def content_digest(plan: ImagePlan) -> str:
    """Return the SHA-256 of all that an image is made of but for its base, in hexadecimal.

    Where its files lie is no part of it: their contents and permissions are.
    """
    files = [{**asdict(one), "source": None} for one in plan.files]
    values = {**asdict(plan), "name": name_of(plan.name), "file": "", "files": files}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _file(path: str, file: ImageFile, recipe: Recipe, folder: str) -> ImageFilePlan:
    if file.source is not None:
        source = posixpath.join(folder, file.source)
        digest = recipe.trees[file.source].digest
        return ImageFilePlan(
            path=path, mode=file.mode, content="", encoding="utf-8", source=source, digest=digest
        )
    content, encoding = encode((file.text or "").encode())
    mode = _TEXT_MODE if file.mode is None else file.mode
    return ImageFilePlan(
        path=path, mode=mode, content=content, encoding=encoding, source=None, digest=None
    )


def find_own(file: str, place: Path, mistakes: Mistakes) -> tuple[str, ImageFacts]:
    """Return the name of an own image, and what is known of it: of a mistaken one, nothing.

    Args:
        file: Its recipe's file, as the topology says it.
        place: Where it does.
        mistakes: Told of a recipe that was not read; those in one are known already.
    """
    recipe = mistakes.source.recipes.get(file)
    if recipe is not None:
        facts = IMAGES[recipe.base]
        facts = replace(facts, memory=recipe.memory or max(facts.memory, _MEMORY))
        return plan_image(recipe, file).name, facts
    if file not in mistakes.source.recipes:
        hint = "load the topology from its file"
        mistakes.add(place, f"the recipe {quote(file)} was not read", hint)
    return file, MISTAKEN
