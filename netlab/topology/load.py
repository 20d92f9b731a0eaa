"""Read a topology: a file, and the files that it names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import cast

from pydantic import ValidationError

from netlab.errors import Mistake, TopologyError
from netlab.topology.contents import Content
from netlab.topology.document import Value, parse
from netlab.topology.explain import explain
from netlab.topology.model import Settings, Topology
from netlab.topology.names import check_lab_name
from netlab.topology.partial import mistaken_links, prune
from netlab.topology.reading import UnreadableError, decode, read_file
from netlab.topology.recipe import Recipe, is_recipe
from netlab.topology.recipe_file import read_recipe
from netlab.topology.retired import translate
from netlab.topology.source import Mistakes, Path, Source, WrongError, quote
from netlab.topology.variables import substitute

MAXIMUM_SIZE = 4 * 1024 * 1024
"""Largest topology, in bytes; 4,096 nodes written out with 20 lines each take a tenth."""

MAXIMUM_FILE = 8 * 1024 * 1024
"""Largest file that a topology may name, in bytes: it is carried in the plan."""

MAXIMUM_FILES = 64 * 1024 * 1024
"""Most bytes in all files that a topology names."""

_NONE: Mapping[str, str] = {}


def load(path: str | FilePath, *, variables: Mapping[str, str] = _NONE) -> Topology:
    """Read a topology file and the files that it names, relative to it.

    Args:
        path: The file; mistakes name it as it is given here.
        variables: Values for ``${name}`` that win over the file's own.

    Raises:
        TopologyError: Every mistake in it, with its position.
    """
    return _checked(examine(path, variables=variables))


def examine(path: str | FilePath, *, variables: Mapping[str, str] = _NONE) -> Topology:
    """Read a topology file as far as that can be done: its mistaken parts are left out.

    What is left is for :func:`netlab.plan.resolve.resolve`, which finds the mistakes that the
    topology makes as a whole and raises them together with those that are known already.

    Args:
        path: The file; mistakes name it as it is given here.
        variables: Values for ``${name}`` that win over the file's own.

    Raises:
        TopologyError: So much is wrong that nothing is left to be looked at.
    """
    topology = _examine_text(_read_text(path), os.fspath(path), variables)
    folder = FilePath(path).parent
    return _with_recipes(_with_files(topology, folder), folder)


def read_name(path: str | FilePath) -> str:
    """Read the name that a topology file gives its lab; other mistakes in it do not matter.

    Args:
        path: The file; mistakes name it as it is given here.

    Raises:
        TopologyError: It cannot be read, or has no name that could be a lab's.
    """
    file = os.fspath(path)
    value, mark, found = parse(_read_text(path), file)
    mistakes = Mistakes(Source(name=file, mark=mark), found)
    mistakes.check()
    entries = value if isinstance(value, dict) else {}
    name = entries.get("name")
    if not isinstance(name, str):
        mistakes.add((), "the file gives its lab no name", "say which lab with --name")
        raise mistakes.error()
    wanted = {"name": name, "vars": entries.get("vars")}
    filled = substitute(wanted, _NONE, mistakes)
    mistakes.check()
    assert isinstance(filled, dict)
    try:
        return check_lab_name(str(filled["name"]))
    except WrongError as wrong:
        mistakes.add(("name",), wrong.message, wrong.hint)
        raise mistakes.error() from None


def loads(text: str, *, name: str = "<text>", variables: Mapping[str, str] = _NONE) -> Topology:
    """Read a topology from text; files that it names by ``from`` are not read.

    Args:
        text: YAML.
        name: What mistakes call it.
        variables: Values for ``${name}`` that win over the text's own.

    Raises:
        TopologyError: Every mistake in it, with its position.
    """
    return _checked(_examine_text(text, name, variables))


def _checked(topology: Topology) -> Topology:
    if topology.mistakes:
        raise TopologyError(topology.mistakes)
    return topology


def _examine_text(text: str, name: str, variables: Mapping[str, str]) -> Topology:
    value, mark, found = parse(text, name)
    source = Source(name=name, mark=mark)
    mistakes, warnings = Mistakes(source, found), Mistakes(source)
    if not isinstance(value, dict):
        message = "the file is empty" if value is None else "a topology is a mapping"
        mistakes.add((), message, "it begins with name: and nodes:")
        raise mistakes.error()
    if "${" in text or variables:
        value = cast("dict[str, Value]", substitute(value, variables, mistakes))
    value = translate(value, mistakes, warnings)
    try:
        topology = Topology.model_validate(value, context=source)
    except ValidationError as error:
        explain(error, mistakes)
        topology = _validate_rest(value, error, source)
    if topology is None:
        raise mistakes.error()
    return topology.with_mistakes(mistakes.all()).with_warnings(warnings.all())


def _validate_rest(
    value: dict[str, Value], error: ValidationError, source: Source
) -> Topology | None:
    """Return the topology without what pydantic complains of, or None if that is not one."""
    paths = [detail["loc"] for detail in error.errors(include_url=False)]
    rest = prune(value, paths)
    if rest is None:
        return None
    try:
        topology = Topology.model_validate(rest, context=source)
    except ValidationError:
        return None
    return topology.without_links(mistaken_links(paths))


def _read_text(path: str | FilePath) -> str:
    try:
        return decode(read_file(FilePath(path), MAXIMUM_SIZE))
    except UnreadableError as error:
        mistake = Mistake(os.fspath(path), *error.place, "", error.message, error.hint)
        raise TopologyError([mistake]) from None


def _with_files(topology: Topology, folder: FilePath) -> Topology:
    mistakes = Mistakes(topology.source, topology.mistakes)
    contents: dict[str, bytes] = {}
    refused: dict[str, UnreadableError] = {}
    room = MAXIMUM_FILES
    for path, file in _files(topology):
        name = file.source
        if name is None:
            continue
        if name not in contents and name not in refused:
            try:
                contents[name] = _read_named(folder / name, room)
                room -= len(contents[name])
            except UnreadableError as error:
                refused[name] = error
        if name in refused:
            error = refused[name]
            mistakes.add((*path, "from"), f"{quote(name)}: {error.message}", error.hint)
    return topology.with_files(contents).with_mistakes(mistakes.all())


def _read_named(path: FilePath, room: int) -> bytes:
    try:
        return read_file(path, min(MAXIMUM_FILE, room))
    except UnreadableError as error:
        if room >= MAXIMUM_FILE or not error.message.startswith("is larger than"):
            raise
        message = f"is larger than {MAXIMUM_FILES >> 20} MiB with all before it"
        raise UnreadableError(message, "put what is large into an image") from None


def _with_recipes(topology: Topology, folder: FilePath) -> Topology:
    mistakes = Mistakes(topology.source, topology.mistakes)
    found: list[Mistake] = []
    recipes: dict[str, Recipe | None] = {}
    for place, name in _images(topology):
        if name in recipes or not is_recipe(name):
            continue
        try:
            recipes[name] = read_recipe(folder / name)
        except UnreadableError as error:
            recipes[name] = None
            mistakes.add(place, f"{quote(name)}: {error.message}", error.hint)
        except TopologyError as error:
            recipes[name] = None
            found += error.mistakes
    return topology.with_recipes(recipes).with_mistakes((*mistakes.all(), *found))


def _owners(topology: Topology) -> Iterator[tuple[Path, Settings]]:
    yield ("defaults",), topology.defaults
    yield from ((("groups", name), group) for name, group in topology.groups.items())
    yield from ((("nodes", name), node) for name, node in topology.nodes.items())


def _images(topology: Topology) -> Iterator[tuple[Path, str]]:
    for owner, settings in _owners(topology):
        if settings.image is not None:
            yield (*owner, "image"), settings.image
        for index, disk in enumerate(settings.disks or ()):
            if disk.netboot is not None:
                yield (*owner, "disks", index, "netboot"), disk.netboot


def _files(topology: Topology) -> Iterator[tuple[Path, Content]]:
    for owner, settings in _owners(topology):
        for path, file in (settings.files or {}).items():
            yield (*owner, "files", path), file
        for name, credential in (settings.credentials or {}).items():
            yield (*owner, "credentials", name), credential
        for key in ("user_data", "network_config"):
            content: Content | None = getattr(settings.cloud_init, key, None)
            if content is not None:
                yield (*owner, "cloud_init", key), content
