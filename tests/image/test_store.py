"""store.py, build.py and apt.py together: real apt, real packages, a small repository."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from netlab.errors import CapacityError, ImageError, MissingProgramError, UnknownNameError
from netlab.image import recipe as recipes
from netlab.image.progress import Progress
from netlab.image.recipe import MICRO, Recipe
from netlab.image.store import Image, Store, open_store
from tests.conftest import install_for_everybody
from tests.image.conftest import Repository, make_repository

BUILD = """
import os, signal, sys, trio
from pathlib import Path
from netlab.image import recipe
from netlab.image.store import open_store
from tests.image.conftest import TINY

recipe.RECIPES["tiny"] = TINY
die_at = sys.argv[2] if len(sys.argv) > 2 else "never"

def tell(progress):
    print(progress.stage, flush=True)
    if progress.stage == die_at:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    image = await open_store(Path(sys.argv[1])).ensure("tiny", progress=tell)
    print(image.digest, flush=True)

trio.run(main)
"""
"""A process that builds, and is killed at a stage if it is told so."""


def _start(store: Store, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(store.folder), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def _bytes(image: Image) -> tuple[bytes, ...]:
    # A kernel that is not packed is kept once.
    files = dict.fromkeys((image.kernel, image.packed_kernel, image.initrd))
    return tuple(file.read_bytes() for file in files)


def _assert_clean(store: Store, objects: int = 0) -> None:
    """Nothing of a build is left but what is complete, and apt's caches."""
    assert list((store.folder / "tmp").iterdir()) == []
    assert len(list((store.folder / "objects").iterdir())) == objects
    assert len(list((store.folder / "refs").iterdir())) <= objects


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "cache" / "images")


@pytest.fixture(autouse=True)
def _repository(repository: Repository, tiny: Recipe) -> None:
    """Every test here has them."""
    del repository, tiny


async def test_an_image_is_built_once_and_found_again(store: Store) -> None:
    stages: list[str] = []
    built = await store.ensure("tiny", progress=lambda progress: stages.append(str(progress)))
    assert any("unpacking" in stage for stage in stages)
    stages.clear()
    assert (
        await store.ensure("tiny", progress=lambda progress: stages.append(str(progress))) == built
    )
    assert stages == []
    assert store.get("tiny") == built
    assert store.list() == (built,)
    assert built.size == sum(map(len, _bytes(built)))
    assert built.packages == ("tiny-tools=1.0", "tiny-words=1.0")
    assert store.folder.stat().st_mode & 0o777 == 0o700
    _assert_clean(store, objects=1)


async def test_nothing_of_a_package_is_run_and_no_hook_of_the_host(
    store: Store, repository: Repository
) -> None:
    await store.ensure("tiny")
    assert not (repository.folder / "ran").exists()
    assert not (repository.folder / "hooked").exists()


async def test_two_builds_of_the_same_packages_are_the_same_bytes(
    store: Store, tmp_path: Path
) -> None:
    first = await store.ensure("tiny")
    second = await open_store(tmp_path / "other").ensure("tiny")
    assert (first.digest, _bytes(first)) == (second.digest, _bytes(second))


async def test_a_changed_recipe_is_another_image(
    store: Store, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await store.ensure("tiny")
    monkeypatch.setitem(recipes.RECIPES, "tiny", replace(tiny, append="quiet"))
    second = await store.ensure("tiny")
    assert (second.append, second.digest == first.digest) == ("quiet", False)


async def test_newer_packages_come_with_a_rebuild_and_only_then(
    store: Store, repository: Repository
) -> None:
    first = await store.ensure("tiny")
    repository.publish("2.0")
    assert await store.ensure("tiny") == first
    second = await store.ensure("tiny", rebuild=True)
    assert second.packages == ("tiny-tools=2.0", "tiny-words=2.0")
    assert store.get("tiny") == second
    # A lab that runs from the first one can still start a node.
    assert first.kernel.exists()
    repository.publish("3.0")
    await store.ensure("tiny", rebuild=True)
    assert not first.kernel.exists()
    _assert_clean(store, objects=2)
    archives = {path.name for path in (store.folder / "apt/archives").glob("*.deb")}
    assert archives == {"tiny-tools_3.0_amd64.deb", "tiny-words_3.0_amd64.deb"}


async def test_a_rebuild_without_news_changes_nothing(store: Store) -> None:
    first = await store.ensure("tiny")
    assert await store.ensure("tiny", rebuild=True) == first
    assert first.kernel.exists()


async def test_lists_that_name_what_the_mirror_has_no_more_are_read_again(
    store: Store, repository: Repository
) -> None:
    await store.ensure("tiny")
    store.remove("tiny")
    repository.publish("2.0")
    image = await store.ensure("tiny")
    assert image.packages == ("tiny-tools=2.0", "tiny-words=2.0")


async def test_a_removed_image_is_built_again(store: Store) -> None:
    first = await store.ensure("tiny")
    store.remove("tiny")
    assert store.list() == ()
    _assert_clean(store)
    assert (await store.ensure("tiny")).digest == first.digest


async def test_a_damaged_image_is_built_again(store: Store) -> None:
    first = await store.ensure("tiny")
    first.initrd.write_bytes(b"cut")
    assert store.list() == ()
    assert (await store.ensure("tiny")).digest == first.digest
    first.initrd.with_name("image.json").write_text("{")
    assert (await store.ensure("tiny")).initrd.read_bytes()[:3] != b"cut"
    _assert_clean(store, objects=1)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"recipe": 1}', '{"recipe":"","digest":"../x","previous":""}']
)
async def test_a_damaged_name_is_made_again(store: Store, text: str) -> None:
    first = await store.ensure("tiny")
    (store.folder / "refs/tiny.json").write_text(text)
    assert store.list() == ()
    assert (await store.ensure("tiny")).digest == first.digest


async def test_tampered_downloads_are_not_used(store: Store) -> None:
    first = await store.ensure("tiny")
    store.remove("tiny")
    for path in (store.folder / "apt/archives").glob("*.deb"):
        path.write_bytes(bytes(path.stat().st_size))
    again = await store.ensure("tiny")
    assert again.digest == first.digest


async def test_a_mirror_that_gives_something_else_is_an_error(
    store: Store, repository: Repository
) -> None:
    package = next(repository.folder.glob("tiny-words*.deb"))
    package.write_bytes(package.read_bytes().replace(b"some\n", b"evil\n"))
    with pytest.raises(ImageError, match="could not fetch") as caught:
        await store.ensure("tiny")
    assert "Hash Sum mismatch" in (caught.value.evidence or "")
    _assert_clean(store)


async def test_a_mirror_that_is_not_there_is_an_error_that_says_what_to_do(
    store: Store, repository: Repository
) -> None:
    shutil.rmtree(repository.folder)
    with pytest.raises(ImageError, match="could not fetch what tiny is built of") as caught:
        await store.ensure("tiny")
    assert "/etc/apt/sources.list" in (caught.value.hint or "")
    assert str(repository.folder) in (caught.value.evidence or "")
    _assert_clean(store)


async def test_a_package_that_no_mirror_has_is_an_error_that_names_it(
    store: Store, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(recipes.RECIPES, "tiny", replace(tiny, packages=("gone-away",)))
    with pytest.raises(ImageError, match="tiny: there is no package gone-away") as caught:
        await store.ensure("tiny")
    assert "Unable to locate package gone-away" in (caught.value.evidence or "")


async def test_a_damaged_package_is_an_error_that_names_it(
    store: Store, repository: Repository
) -> None:
    (repository.folder / "root/tiny-words/1.0/DEBIAN/control").unlink()
    real = shutil.which("dpkg-deb")
    assert real
    folder = repository.folder.parent / "bin"
    folder.mkdir()
    (folder / "dpkg-deb").write_text(
        f'#!/bin/sh\ncase $2 in *words*) echo broken >&2; exit 2;; esac\nexec {real} "$@"\n'
    )
    (folder / "dpkg-deb").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        with pytest.raises(ImageError, match=r"tiny-words_1\.0_amd64\.deb cannot be unpacked"):
            await store.ensure("tiny")
    _assert_clean(store)


@pytest.mark.parametrize("program", ["apt-get", "dpkg-deb"])
async def test_a_missing_program_is_named_with_its_package(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in {"apt-get", "dpkg-deb"} - {program}:
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(MissingProgramError, match=f"{program} is not installed"):
        await store.ensure("tiny")


async def test_an_unknown_name_is_an_error_that_says_what_there_is(store: Store) -> None:
    with pytest.raises(UnknownNameError, match="there are: debian, micro"):
        await store.ensure("mikro")
    for name in ("micro", "../lock", "x" * 999, ""):
        with pytest.raises(UnknownNameError):
            store.get(name)
        with pytest.raises(UnknownNameError):
            store.remove(name)
    assert not store.folder.exists()


@pytest.mark.parametrize(
    "stage",
    ["resolving packages", "downloading packages", "unpacking packages", "writing"],
)
async def test_a_cancelled_build_leaves_nothing(store: Store, stage: str) -> None:
    with trio.CancelScope() as scope:

        def tell(progress: Progress) -> None:
            if progress.stage == stage:
                scope.cancel()

        await store.ensure("tiny", progress=tell)
    assert scope.cancelled_caught
    _assert_clean(store)
    assert (await store.ensure("tiny")).name == "tiny"


@pytest.mark.parametrize("stage", ["downloading packages", "packing", "writing"])
async def test_after_a_killed_build_the_next_one_cleans_up_and_succeeds(
    store: Store, stage: str
) -> None:
    killed = _start(store, stage)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert store.list() == ()
    (store.folder / "tmp" / "rest").mkdir()
    with trio.fail_after(60):
        await store.ensure("tiny")
    _assert_clean(store, objects=1)


def test_of_many_processes_at_once_one_builds(store: Store) -> None:
    outputs = [process.communicate() for process in [_start(store) for _ in range(3)]]
    lines = [out.decode().splitlines() for out, _ in outputs]
    assert all(lines), outputs
    assert len({each[-1] for each in lines}) == 1
    assert sum("packing" in each for each in lines) == 1
    _assert_clean(store, objects=1)


async def test_of_many_tasks_at_once_one_builds(store: Store) -> None:
    stages: list[str] = []
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(
                lambda: store.ensure("tiny", progress=lambda each: stages.append(each.stage))
            )
    assert stages.count("packing") == 1


async def test_what_is_being_built_is_not_removed(store: Store) -> None:
    await store.ensure("tiny")

    def tell(progress: Progress) -> None:
        if progress.stage == "resolving packages":
            store.remove("tiny")

    with pytest.raises(ImageError, match="being built"):
        await store.ensure("tiny", rebuild=True, progress=tell)
    store.remove("tiny")


async def test_a_store_that_cannot_be_made_is_an_error_that_says_what_to_do(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match="cannot be written") as caught:
        await open_store(tmp_path / "file" / "images").ensure("tiny")
    assert "XDG_CACHE_HOME" in (caught.value.hint or "")


def _in_small_filesystem(tmp_path: Path, options: str) -> subprocess.CompletedProcess[str]:
    """Build in a tmpfs of a mount namespace of our own."""
    (tmp_path / "small").mkdir()
    script = 'mount -t tmpfs -o "$0" small "$1" && exec "$2" -c "$3" "$1/images"'
    words = [options, str(tmp_path / "small"), sys.executable, BUILD]
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.parametrize("size", [200, 1200])
def test_a_full_disk_is_a_clean_error(tmp_path: Path, repository: Repository, size: int) -> None:
    repository.publish(size=700_000)
    done = _in_small_filesystem(tmp_path, f"size={size}k")
    assert done.returncode != 0
    assert CapacityError.__name__ in done.stderr or ImageError.__name__ in done.stderr
    assert "space" in done.stderr


def test_a_read_only_disk_is_a_clean_error(tmp_path: Path) -> None:
    done = _in_small_filesystem(tmp_path, "ro")
    assert "ImageError: the image store cannot be written" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
def test_an_unprivileged_user_can_build(
    public_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_repository(public_folder, monkeypatch)
    for path in public_folder.rglob("*"):
        path.chmod(0o755)
    install_for_everybody(public_folder)
    shutil.copytree(Path(__file__).parents[1], public_folder / "packages/tests")
    home = public_folder / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs",
         str(Path(sys.executable).resolve()), "-c", BUILD, str(home / "images")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": str(home), "PYTHONPATH": str(public_folder / "packages")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (home / "images").stat().st_uid == 65534
    assert len(done.stdout.splitlines()[-1]) == 64


def test_a_recipes_digest_covers_all_of_it() -> None:
    other = replace(MICRO, entries=(*MICRO.entries, MICRO.entries[0]))
    assert MICRO.digest() == replace(MICRO).digest() != other.digest()
    assert json.dumps(MICRO.digest())
