"""`netlab image`, on a store of its own that holds nothing."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Here, Shell


def test_an_empty_store_is_an_empty_list(netlab: Shell) -> None:
    done = netlab("image", "list")
    assert (done.returncode, done.stdout) == (0, "")
    assert "netlab image build" in done.stderr
    assert json.loads(netlab("image", "list", "-f", "json").stdout) == []


@pytest.mark.parametrize(
    "words", [["show", "micro"], ["rm", "micro", "--yes"], ["show", "../x"], ["build", "nano"]]
)
def test_an_image_that_is_not_there_is_exit_code_2(netlab: Shell, words: list[str]) -> None:
    done = netlab("image", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("netlab: ")
    assert words[1] in done.stderr


def test_a_mistaken_recipe_is_refused_with_every_mistake_and_its_place(here: Here) -> None:
    (here.folder / "a.image.yaml").write_text("name: A\nbase: x\n")
    for words in (("image", "build"), ("image", "show"), ("export", "-o", "d", "--image")):
        done = here(*words, "a.image.yaml")
        assert (done.returncode, done.stdout) == (2, "")
        assert "a.image.yaml:1:7: name: " in done.stderr
        assert "a.image.yaml:2:7: base: " in done.stderr
    assert "gone.image.yaml: there is no such file" in here("image", "rm", "gone.image.yaml").stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "a.image.yaml"), "no image 'a@"),
        (("rm", "a.image.yaml", "--arch", "aarch64", "--yes"), "-aarch64' is in"),
        (("build", "a.image.yaml", "--arch", "sparc"), "is for x86_64 and aarch64, not 'sparc'"),
        (("build", "debian", "--arch", "aarch64"), "debian is for x86_64, not 'aarch64'"),
        (("prune",), "--yes says that you mean it"),
    ],
)
def test_what_cannot_be_done_with_an_image_is_exit_code_2(
    here: Here, words: tuple[str, ...], message: str
) -> None:
    (here.folder / "a.image.yaml").write_text("name: a\nbase: micro\n")
    done = here("image", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_there_is_nothing_to_prune_in_an_empty_store(here: Here) -> None:
    done = here("image", "prune", "--yes")
    assert (done.returncode, done.stderr) == (0, "0.0 MiB freed\n")
