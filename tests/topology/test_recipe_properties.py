"""What an image is called by: what its recipe says, whatever that is, and nothing beside it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.image.own import OwnRecipe
from netlab.plan.catalogue import IMAGES
from netlab.plan.images import plan_image
from netlab.topology.recipe_file import load_recipe

PROPERTY = settings(max_examples=40, deadline=None, database=None)

WORDS = st.text("abcdefghijklmnopqrstuvwxyz", max_size=6).map("xx{}".format)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=12)
MODES = st.sampled_from(["0600", "0644", "0755", "4755"])
FILES = TEXTS | st.fixed_dictionaries({"text": TEXTS, "mode": MODES})
LISTS = {"packages": WORDS, "run": WORDS, "modules": WORDS}
ONLY = {"debian": "run", "micro": "modules"}
"""Which of the lists a base alone has."""


@st.composite
def recipes(draw: Callable[[st.SearchStrategy[Any]], Any]) -> dict[str, Any]:
    """Return a recipe that is right, with a file and a folder from beside it."""
    base = draw(st.sampled_from(sorted(ONLY)))
    files = draw(st.dictionaries(WORDS.map("/srv/own/{}".format), FILES, max_size=4))
    kept = ("packages", ONLY[base])
    lists = {key: draw(st.lists(LISTS[key], unique=True, max_size=4)) for key in kept}
    named = {"/srv/file": {"from": "file", "mode": draw(MODES)}, "/srv/tree": {"from": "tree"}}
    append = {"append": draw(WORDS)}
    return {"name": draw(WORDS), "base": base, "files": {**files, **named}, **lists, **append}


@contextmanager
def written(recipe: dict[str, Any], content: bytes, file: str = "a.image.yaml") -> Generator[Path]:
    """Write a recipe, as JSON is YAML, and what it names; a folder of its own has them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tree").mkdir()
        for path in (folder / "file", folder / "tree/inside"):
            path.write_bytes(content)
            path.chmod(0o640)
        (folder / file).write_text(json.dumps(recipe, ensure_ascii=False))
        yield folder / file


def digests(path: Path) -> tuple[str, ...]:
    """Return the image's name, and what the store knows it by for each architecture."""
    plan = plan_image(load_recipe(path), path.name)
    return plan.name, *(OwnRecipe(plan, arch).digest() for arch in IMAGES[plan.base].architectures)


def shuffled(recipe: dict[str, Any], random: Random) -> dict[str, Any]:
    """Return a recipe with its keys in another order, and those of its files, and of each."""
    items = list(recipe.items())
    random.shuffle(items)
    return {key: _inside(value, random) for key, value in items}


def _inside(value: object, random: Random) -> object:
    return shuffled(cast("dict[str, Any]", value), random) if isinstance(value, dict) else value


@given(recipes(), st.binary(max_size=20), st.randoms(use_true_random=False), st.integers(0, 2**31))
@PROPERTY
def test_how_and_where_and_when_a_recipe_is_written_is_no_part_of_an_image(
    recipe: dict[str, Any], content: bytes, random: Random, when: int
) -> None:
    other = {**shuffled(recipe, random), "memory": "300"}
    with written(recipe, content) as one, written(other, content, "b.image.yml") as two:
        two.write_text(f"# a comment\n{two.read_text()}\n\n# and another\n")
        for path in (two, two.parent / "file", two.parent / "tree/inside", two.parent / "tree"):
            os.utime(path, (when, when))
        assert digests(one) == digests(two)


@given(recipes(), st.binary(max_size=20))
@PROPERTY
def test_an_image_is_another_for_every_architecture(recipe: dict[str, Any], content: bytes) -> None:
    with written(recipe, content) as path:
        found = digests(path)
    assert len(set(found)) == len(found)


def changes(recipe: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return every small change of what a recipe says, by what it changes."""
    base = recipe["base"]
    other = "debian" if base == "micro" else "micro"
    found: dict[str, dict[str, Any]] = {
        "name": {"name": f"{recipe['name']}x"},
        "base": {"base": other, ONLY[base]: []},
        "append": {"append": f"{recipe['append']}x"},
        "a file more": {"files": {**recipe["files"], "/srv/more": ""}},
    }
    for key in ("packages", ONLY[base]):
        values = recipe[key]
        found[f"{key}: one more"] = {key: [*values, "yy"]}
        found |= {
            f"{key}: without {one}": {key: [*values[:one], *values[one + 1 :]]}
            for one in range(len(values))
        }
        if len(values) > 1:
            found[f"{key}: the order"] = {key: values[::-1]}
    for path, file in recipe["files"].items():
        said = {"text": file} if isinstance(file, str) else file
        rest = {name: one for name, one in recipe["files"].items() if name != path}
        found[f"{path}: gone"] = {"files": rest}
        found[f"{path}: called otherwise"] = {"files": {**rest, f"{path}x": file}}
        if "text" in said:
            found[f"{path}: text"] = {"files": {**rest, path: {**said, "text": f"{said['text']}x"}}}
        if "mode" in said or "text" in said:
            found[f"{path}: mode"] = {"files": {**rest, path: {**said, "mode": "0711"}}}
    return found


@given(recipes(), st.binary(max_size=20), st.data())
@PROPERTY
def test_a_recipe_that_says_anything_else_is_another_image(
    recipe: dict[str, Any], content: bytes, data: st.DataObject
) -> None:
    possible = changes(recipe)
    change = possible[data.draw(st.sampled_from(sorted(possible)))]
    with written(recipe, content) as one, written({**recipe, **change}, content) as two:
        assert not set(digests(one)) & set(digests(two))


@given(recipes(), st.binary(max_size=20), st.data())
@PROPERTY
def test_a_file_with_any_other_byte_or_permission_is_another_image(
    recipe: dict[str, Any], content: bytes, data: st.DataObject
) -> None:
    with written(recipe, content) as path:
        before = digests(path)
        changed = path.parent / data.draw(st.sampled_from(["file", "tree/inside"]))
        if data.draw(st.booleans()):
            at = data.draw(st.integers(0, len(content)))
            changed.write_bytes(content[:at] + b"\x00" + content[at:])
        else:
            changed.chmod(0o640 ^ (1 << data.draw(st.integers(0, 8))))
        assert not set(before) & set(digests(path))
