"""Images of the user's own: of real packages in a small repository, with a real mmdebstrap."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from netlab.errors import ImageError, UnknownNameError
from netlab.image import recipe as recipes
from netlab.image.contents import select
from netlab.image.entries import folder, text
from netlab.image.own import OwnRecipe
from netlab.image.progress import Progress
from netlab.image.recipe import DEBIAN, MICRO, Recipe
from netlab.image.store import Image, Store, open_store
from netlab.image.system import SystemRecipe
from netlab.plan.files import anchor_image
from netlab.plan.images import plan_image
from netlab.topology.recipe_file import load_recipe
from tests.image.conftest import (
    TINY,
    Repository,
    make_elf,
    make_kernel,
    make_tree,
    tiny_files,
)
from tests.image.disks import read_disk

HOST_PROGRAMS = ("/bin/sh", "/bin/rm", "/bin/cat", "/bin/ls")
"""Programs of this host that the small system has: a shell runs the commands of its recipe."""


def save(where: Path, content: str, name: str = "web.image.yaml") -> Path:
    where.mkdir(exist_ok=True)
    (where / name).write_text(content)
    return where / name


def own(path: Path, store: Store) -> tuple[Store, str]:
    """Return a store that knows a recipe, and the image's name there."""
    plan = anchor_image(plan_image(load_recipe(path), path.name), str(path.parent))
    return store.with_images((plan,)), plan.name


async def build(path: Path, store: Store) -> Image:
    store, name = own(path, store)
    return await store.ensure(name)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "cache" / "images")


@pytest.fixture
def micro(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The tiny recipe in the place of micro, and a package that it has not."""
    files = {
        "usr/bin/web": make_elf(needed=["libweb.so"]),
        "usr/lib/web/libweb.so": make_elf(needed=["libtiny.so.1"]),
        "usr/share/doc/web/copyright": b"free",
        "etc/web.conf": b"port 80\n",
    }
    repository.publish(more={"web": files})
    tiny = replace(TINY, name="micro")
    monkeypatch.setitem(recipes.RECIPES, "micro", tiny)
    return tiny


def host_files() -> dict[str, bytes]:
    """Return programs of this host with the libraries that they need."""
    listed = subprocess.run(["ldd", *HOST_PROGRAMS], capture_output=True, text=True, check=True)
    words = [word for word in listed.stdout.split() if word.startswith("/") and word[-1] != ":"]
    return {path.strip("/"): Path(path).read_bytes() for path in (*HOST_PROGRAMS, *words)}


@pytest.fixture
def loader(store: Store) -> None:
    """The boot loader of the user's store: the small repository has none."""
    folder = trio.run(open_store().ensure_loader).core.parent
    for name in ("objects", "refs"):
        (store.folder / name).mkdir(parents=True)
    shutil.copytree(folder, store.folder / "objects" / folder.name)
    shutil.copy(folder.parents[1] / "refs/loader.json", store.folder / "refs")


@pytest.fixture
def debian(loader: None, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> SystemRecipe:
    """A system of a kernel and a shell in the place of debian: seconds in place of a minute."""
    del loader
    files = {
        **host_files(),
        "bin/dpkg": b"#!/bin/sh\nexit 0\n",
        "boot/vmlinuz-1": make_kernel(),
        "boot/initrd.img-1": b"an initial RAM disk",
        "sys/.keep": b"",
        "proc/.keep": b"",
    }
    repository.publish(more={"tiny-system": files})
    tiny = replace(DEBIAN, packages=("tiny-system",), variant="custom", size=64)
    monkeypatch.setitem(recipes.RECIPES, "debian", tiny)
    return tiny


@pytest.mark.usefixtures("debian")
async def test_a_system_has_the_files_of_its_recipe_and_what_its_commands_made(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "own" / "www").mkdir(parents=True)
    (tmp_path / "own/www/index.html").write_text("hello")
    (tmp_path / "own/www/out").symlink_to("../../../etc/shadow")
    path = save(
        tmp_path / "own",
        "name: web\nbase: debian\n"
        'files: {/etc/motd: "hi\\n", /srv/www: {from: www}, /etc/hostname: "web\\n"}\n'
        "run:\n"
        "  - cat /etc/motd /srv/www/index.html >/etc/made\n"
        "  - echo \"$HOME '$0' ${x:-none}\" >>/etc/made\n",
    )
    image = await build(path, store)
    assert (image.base, image.recipe, image.name[:4]) == ("debian", str(path), "web@")
    assert image.disk is not None
    run = read_disk(image.disk, tmp_path)
    assert run("cat /etc/made") == "hi\nhello/root '/netlab-build/1' none\n"
    assert run("cat /etc/hostname") == "web\n"
    assert run("cat /etc/hosts").startswith("127.0.0.1")
    assert "User:     0   Group:     0" in run("stat /srv/www/index.html")
    assert 'Fast link dest: "../../../etc/shadow"' in run("stat /srv/www/out")
    assert "netlab-build" not in run("ls /")


@pytest.mark.usefixtures("debian")
async def test_a_command_that_fails_ends_the_build_with_what_it_printed_and_leaves_nothing(
    store: Store, tmp_path: Path
) -> None:
    lines = "i=0; while [ $i -lt 50 ]; do echo line $i; i=$((i+1)); done; exit 3"
    path = save(tmp_path, f"name: web\nbase: debian\nrun: ['echo before', '{lines}', 'echo after']")
    with pytest.raises(
        ImageError, match=r"web@\w+: run\[1\] ended with exit status 3: i=0; "
    ) as no:
        await build(path, store)
    evidence = (no.value.evidence or "").splitlines()
    assert evidence[0] == "… 20 lines before"
    assert evidence[1:] == [f"line {number}" for number in range(20, 50)]
    assert list((store.folder / "tmp").iterdir()) == []
    assert [path.stem for path in (store.folder / "refs").iterdir()] == ["loader"]


@pytest.mark.usefixtures("micro")
async def test_whole_packages_are_unpacked_with_what_they_need_and_nothing_is_run(
    repository: Repository, store: Store, tmp_path: Path
) -> None:
    image = await build(save(tmp_path, "name: web\nbase: micro\npackages: web"), store)
    assert image.packages == ("tiny-tools=1.0", "tiny-words=1.0", "web=1.0")
    assert (image.base, image.memory) == ("micro", 1)
    assert not (repository.folder / "ran").exists()


def test_of_a_whole_package_all_is_taken_but_what_people_read() -> None:
    package = {
        "usr/bin/web": make_elf(needed=["libweb.so"]),
        "usr/lib/web/libweb.so": make_elf(needed=["libtiny.so.1"]),
        "usr/share/doc/web/copyright": b"free",
    }
    tiny = {path.replace("lib/mod", "usr/lib/mod"): data for path, data in tiny_files().items()}
    tree = make_tree({**tiny, "usr/bin/busybox": tiny["bin/busybox"], "usr/bin/tool": b""})
    whole = make_tree(package) | {"var/log/web": folder("var/log/web")}
    contents = select(tree | make_tree(package), TINY, whole)
    paths = {entry.path for entry in contents.entries}
    assert {"usr/bin/web", "usr/lib/web/libweb.so", "var/log/web"} < paths
    assert "usr/lib/x86_64-linux-gnu/libtiny.so.1" in paths
    assert not any("share/doc" in path for path in paths)
    # Whole pages.
    assert contents.added % 4096 == 0
    assert contents.added >= 3 * 4096


def test_a_file_in_the_place_of_a_folder_is_refused() -> None:
    tiny = {path.replace("lib/mod", "usr/lib/mod"): data for path, data in tiny_files().items()}
    tree = make_tree({**tiny, "usr/bin/busybox": tiny["bin/busybox"], "usr/bin/tool": b""})
    with pytest.raises(ImageError, match="/etc is a file, and /etc/"):
        select(tree, replace(TINY, files=(text("etc", "no folder"),)))


RECIPE = "name: web\nbase: micro\nfiles: {/etc/motd: hi, /srv/www: {from: www}}\n"


def name_of(where: Path, content: str = RECIPE, file: str = "web.image.yaml") -> str:
    return plan_image(load_recipe(save(where, content, file)), file).name


@pytest.fixture
def www(tmp_path: Path) -> Path:
    """A recipe's folder, with files."""
    (tmp_path / "a/www/deep").mkdir(parents=True)
    (tmp_path / "a/www/index.html").write_text("hello")
    (tmp_path / "a/www/link").symlink_to("index.html")
    return tmp_path / "a"


CHANGES: dict[str, Callable[[Path], object]] = {
    "a byte": lambda where: (where / "www/index.html").write_text("hellp"),
    "permissions": lambda where: (where / "www/index.html").chmod(0o600),
    "a folder's permissions": lambda where: (where / "www/deep").chmod(0o700),
    "a new file": lambda where: (where / "www/new").write_text(""),
    "a new folder": lambda where: (where / "www/empty").mkdir(),
    "a name": lambda where: (where / "www/index.html").rename(where / "www/other"),
    "where a link leads": lambda where: (
        (where / "www/link").unlink(),
        (where / "www/link").symlink_to("other"),
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_in_a_file_changes_the_image(
    www: Path, change: Callable[[Path], object]
) -> None:
    before = name_of(www)
    change(www)
    assert name_of(www) != before


@pytest.mark.parametrize(
    "content",
    [
        RECIPE.replace("hi", "ho"),
        RECIPE.replace("/etc/motd: hi", "/etc/motd: {text: hi, mode: 0600}"),
        RECIPE.replace("/etc/motd", "/etc/motd2"),
        RECIPE.replace("/srv/www", "/srv/web"),
        RECIPE.replace("name: web", "name: wob"),
        RECIPE + "packages: [web]",
        RECIPE + "modules: [web]",
        RECIPE + "append: web",
        RECIPE.replace("micro", "debian"),
        RECIPE.replace("micro", "debian") + "run: [echo]",
    ],
)
def test_what_changes_in_a_recipe_changes_the_image(www: Path, content: str) -> None:
    assert name_of(www, content) != name_of(www)


def test_where_a_recipe_lies_and_how_it_is_written_changes_nothing(
    www: Path, tmp_path: Path
) -> None:
    shutil.copytree(www, tmp_path / "b", symlinks=True)
    lines = RECIPE.splitlines()
    assert name_of(www) == name_of(tmp_path / "b", "\n".join(reversed(lines)), "x.image.yml")
    # What a node gets where nothing is said is no part of it.
    assert name_of(www) == name_of(www, f"{RECIPE}memory: 300")
    (www / "www/index.html").touch()
    assert name_of(www) == name_of(tmp_path / "b")


def test_a_file_that_is_named_wins_over_that_of_a_folder_in_either_order(www: Path) -> None:
    files = ["/srv/www: {from: www}", "/srv/www/index.html: mine"]
    for order in (files, files[::-1]):
        path = save(www, f"name: web\nbase: micro\nfiles: {{{', '.join(order)}}}\n")
        plan = anchor_image(plan_image(load_recipe(path), path.name), str(www))
        entries = OwnRecipe(plan, "x86_64").read().files
        found = {entry.path: entry.data for entry in entries}
        assert found["srv/www/index.html"] == b"mine"


@pytest.mark.usefixtures("micro")
async def test_the_same_content_is_one_image_and_another_of_its_name_is_not_in_its_way(
    store: Store, tmp_path: Path
) -> None:
    content = "name: web\nbase: micro\nfiles: {/etc/motd: hi}"
    first = await build(save(tmp_path / "a", content), store)
    stages: list[Progress] = []
    again, name = own(save(tmp_path / "b", f"{content}\n# the same", "c.image.yaml"), store)
    assert (await again.ensure(name, progress=stages.append)).digest == first.digest
    assert stages == []
    other = await build(save(tmp_path / "b", content.replace("hi", "ho")), store)
    assert other.digest != first.digest
    assert await build(tmp_path / "a/web.image.yaml", store) == first
    assert [image.name for image in store.list()] == sorted([first.name, other.name])
    with pytest.raises(UnknownNameError, match="2 images are called 'web'") as several:
        store.get("web")
    assert first.name in (several.value.hint or "")
    store.remove(other.name)
    assert store.get("web") == first


@pytest.mark.usefixtures("micro")
async def test_of_what_a_recipe_said_before_the_last_stays(store: Store, tmp_path: Path) -> None:
    built = [
        await build(save(tmp_path / "a", f"name: web\nbase: micro\nfiles: {{/x: '{n}'}}"), store)
        for n in range(3)
    ]
    assert {image.name for image in store.list()} == {image.name for image in built[1:]}
    assert [image.kernel.exists() for image in built] == [False, True, True]


@pytest.mark.usefixtures("micro")
async def test_an_image_that_is_in_use_stays_whatever_becomes_of_its_name(
    store: Store, tmp_path: Path
) -> None:
    knowing, name = own(save(tmp_path, "name: web\nbase: micro"), store)
    async with knowing.open_image(name) as image:
        store.prune(stale=[name])
        assert store.get(name) == image
        store.remove(name)
        assert store.list() == ()
        store.prune()
        assert image.kernel.exists()
    store.prune()
    assert not image.kernel.exists()


@pytest.mark.usefixtures("micro")
async def test_pruning_removes_what_nobody_needs_and_no_more(
    repository: Repository, store: Store, tmp_path: Path
) -> None:
    first = await store.ensure("micro")
    repository.publish("2.0")
    second = await store.ensure("micro", rebuild=True)
    gone = await build(save(tmp_path, "name: web\nbase: micro"), store)
    kept = await build(save(tmp_path, "name: wob\nbase: micro", "wob.image.yaml"), store)
    downloads = store.downloads.folder
    downloads.mkdir()
    for name in ("sha256-used", "sha256-base", "sha256-old"):
        (downloads / name).write_bytes(bytes(1000))
    with store.downloads.hold([downloads / "sha256-used", tmp_path / "of the user's"]):
        freed = store.prune([gone.name], [downloads / "sha256-base", kept.kernel])
    assert sorted(path.name for path in downloads.iterdir()) == ["sha256-base", "sha256-used"]
    assert freed >= 1000 + first.size + gone.size
    there = [image.kernel.exists() for image in (first, second, gone, kept)]
    assert there == [False, True, False, True]
    assert store.get("micro") == second
    kept.initrd.unlink()
    store.prune()
    assert [path.stem for path in (store.folder / "refs").iterdir()] == ["micro"]


@pytest.mark.usefixtures("micro")
async def test_files_that_have_changed_since_they_were_read_are_not_built(
    store: Store, www: Path
) -> None:
    knowing, name = own(save(www, RECIPE), store)
    (www / "www/index.html").write_text("later")
    with pytest.raises(ImageError, match="www is not any more what it was"):
        await knowing.ensure(name)
    shutil.rmtree(www / "www")
    with pytest.raises(ImageError, match="there is no such file or folder"):
        await knowing.ensure(name)
    assert store.list() == ()


def test_what_is_named_or_what_programs_run_with_is_not_taken_for_installed(tmp_path: Path) -> None:
    path = save(tmp_path, "name: web\nbase: micro\npackages: [kmod=30, iproute2]")
    made = OwnRecipe(plan_image(load_recipe(path), str(path)), "aarch64").read()
    assert isinstance(made, Recipe)
    assert not {"kmod", "libpam0g"} & set(made.present)
    assert "adduser" in made.present
    assert "perl" not in made.present
    assert made.packages == ("linux-image-cloud-arm64", *MICRO.packages[1:], "kmod=30")
    assert made.name.endswith("-aarch64")
