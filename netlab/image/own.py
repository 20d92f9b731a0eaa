"""Images of the user's own: what is added to an image of netlab's, as its recipe."""

from __future__ import annotations

import base64
import hashlib
import json
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from netlab.errors import ImageError
from netlab.image.cpio import Entry
from netlab.image.recipe import Recipe, find_recipe
from netlab.image.system import SystemRecipe
from netlab.image.unpack import MERGED, normalise
from netlab.plan.catalogue import IMAGES, stored_name
from netlab.plan.images import content_digest
from netlab.plan.model import ImageFilePlan, ImagePlan
from netlab.topology.reading import UnreadableError
from netlab.topology.trees import TreeEntry, read_tree

_RUN_TIME = frozenset(("libpam0g", "perl"))
"""What micro takes for installed, as only scripts of its own packages need it, and what programs of
others need: it comes along with whatever depends on it."""

_KINDS = {"file": stat.S_IFREG, "folder": stat.S_IFDIR}


@dataclass(frozen=True, slots=True)
class OwnRecipe:
    """An image of the user's own, for one architecture.

    Attributes:
        plan: What it is; paths in it are absolute.
        arch: The guest's architecture, as QEMU names it.
    """

    plan: ImagePlan
    arch: str

    @property
    def name(self) -> str:
        """Its name in the store."""
        return stored_name(self.plan.name, self.arch)

    def digest(self) -> str:
        """Return a SHA-256 over all that it is made of but for packages; no file is read."""
        values = [find_recipe(self._base).digest(), content_digest(self.plan)]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()

    @property
    def _base(self) -> str:
        return stored_name(self.plan.base, self.arch)

    def read(self) -> Recipe | SystemRecipe:
        """Return the whole recipe, with the files that it names.

        Raises:
            ImageError: A file is not there any more, or is not what it was.
        """
        base, plan = find_recipe(self._base), self.plan
        entries = tuple(entry for file in plan.files for entry in _read(file, plan))
        append = f"{base.append} {plan.append}".strip()
        packages = (*base.packages, *(one for one in plan.packages if one not in base.packages))
        if isinstance(base, SystemRecipe):
            return replace(
                base,
                name=self.name,
                base=plan.base,
                packages=packages,
                files=tuple(replace(one, path=_merged(one.path)) for one in entries),
                run=plan.run,
                append=append,
            )
        named = {package.partition("=")[0] for package in plan.packages} | _RUN_TIME
        return replace(
            base,
            name=self.name,
            base=plan.base,
            packages=packages,
            present=tuple(name for name in base.present if name not in named),
            added=plan.packages,
            modules=(*base.modules, *plan.modules),
            files=tuple(replace(one, path=normalise(one.path)) for one in entries),
            append=append,
        )


def own_recipes(images: Iterable[ImagePlan]) -> dict[str, OwnRecipe]:
    """Return images by their names in the store, for every architecture that their bases have."""
    recipes = [OwnRecipe(plan, arch) for plan in images for arch in IMAGES[plan.base].architectures]
    return {recipe.name: recipe for recipe in recipes}


def _read(file: ImageFilePlan, plan: ImagePlan) -> list[Entry]:
    path = file.path.lstrip("/")
    if file.source is None:
        data = base64.b64decode(file.content) if file.encoding == "base64" else None
        content = file.content.encode() if data is None else data
        return [Entry(path=path, mode=stat.S_IFREG | (file.mode or 0), data=content)]
    try:
        tree = read_tree(Path(file.source))
    except UnreadableError as error:
        raise ImageError(f"{plan.file}: {file.source} {error.message}") from error
    if tree.digest != file.digest:
        raise ImageError(
            f"{plan.file}: {file.source} is not any more what it was",
            hint="it has changed since the recipe was read: do the same again",
        )
    return [_entry(path, one, file.mode) for one in tree.entries]


def _entry(path: str, found: TreeEntry, mode: int | None) -> Entry:
    where = f"{path}/{found.path}".rstrip("/")
    if found.kind == "link":
        return Entry(path=where, mode=stat.S_IFLNK | 0o777, data=found.target.encode())
    bits = found.mode if mode is None else mode
    return Entry(path=where, mode=_KINDS[found.kind] | bits, data=found.content)


def _merged(path: str) -> str:
    """Return a path as Debian has it: /bin and its like are links there, and have to stay that."""
    first, slash, rest = path.partition("/")
    return f"usr/{path}" if first in MERGED and slash and rest else path
