"""Recipes of images: read with what they name, planned as what they say, shown as they are."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path

import pytest

from netlab.errors import TopologyError
from netlab.plan.catalogue import IMAGES
from netlab.plan.codec import digest, from_json, to_json
from netlab.plan.files import anchor
from netlab.plan.model import Plan
from netlab.plan.resolve import resolve
from netlab.topology import trees
from netlab.topology.load import load, loads
from netlab.topology.reading import UnreadableError
from netlab.topology.recipe import BASES, Recipe, is_recipe
from netlab.topology.recipe_file import load_recipe, loads_recipe
from netlab.topology.schema import recipe_schema
from netlab.topology.trees import Tree, read_tree

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "netlab" / "docs" / "images.md").read_text()
RECIPE = "name: web\nbase: micro\nfiles: {/etc/motd: hi, /srv/www: {from: ../www}}\n"
TOPOLOGY = "name: a\nnodes:\n  a: {id: 1, image: images/web.image.yaml}\n  b: {id: 2}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A topology, a recipe in a folder beside it, and files beside both."""
    for name in ("images", "www"):
        (tmp_path / name).mkdir()
    (tmp_path / "www/index.html").write_text("hello")
    (tmp_path / "images/web.image.yaml").write_text(RECIPE)
    (tmp_path / "a.yaml").write_text(TOPOLOGY)
    return tmp_path


def plan(folder: Path, text: str = TOPOLOGY) -> Plan:
    (folder / "a.yaml").write_text(text)
    return resolve(load(folder / "a.yaml"))


def test_a_plan_has_the_images_that_its_nodes_boot_and_says_the_same_wherever_it_lies(
    folder: Path,
) -> None:
    planned = plan(folder)
    (image,) = planned.images
    assert re.fullmatch(r"web@[0-9a-f]{12}", image.name)
    assert [node.image for node in planned.nodes] == [image.name, "micro"]
    assert [node.memory for node in planned.nodes] == [256, 128]
    assert [file.source for file in image.files] == [None, "images/../www"]
    assert str(folder) not in to_json(planned)
    anchored = anchor(planned, "/labs").images[0]
    assert anchored.file == "/labs/images/web.image.yaml"
    assert [file.source for file in anchored.files] == [None, "/labs/images/../www"]
    assert from_json(to_json(planned)) == planned


def test_a_renamed_recipe_is_the_same_lab_and_an_edited_file_is_not(folder: Path) -> None:
    before = plan(folder)
    (folder / "images/web.image.yaml").rename(folder / "images/w.image.yml")
    renamed = plan(folder, TOPOLOGY.replace("web.image.yaml", "w.image.yml"))
    assert digest(renamed) == digest(before)
    (folder / "www/index.html").write_text("hellp")
    edited = plan(folder, TOPOLOGY.replace("web.image.yaml", "w.image.yml"))
    assert digest(edited) != digest(before)


def test_nodes_of_an_own_image_have_what_its_base_has(folder: Path) -> None:
    (folder / "images/web.image.yaml").write_text("name: web\nbase: debian\nmemory: 1 GiB\n")
    node = plan(folder, TOPOLOGY.replace("yaml}", "yaml, boot: disk, disk: {bus: nvme}}")).nodes[0]
    assert (node.memory, node.boot, node.disks[0].source) == (1024, "disk", "image")
    with pytest.raises(TopologyError, match='the image "web" is for x86_64, not "aarch64"'):
        plan(folder, TOPOLOGY.replace("yaml}", "yaml, arch: aarch64}"))
    (folder / "images/web.image.yaml").write_text("name: web\nbase: micro\n")
    assert (
        plan(folder, TOPOLOGY.replace("yaml}", "yaml, arch: aarch64}")).nodes[0].arch == "aarch64"
    )
    with pytest.raises(TopologyError, match='the image "web" has no disk to boot from'):
        plan(folder, TOPOLOGY.replace("yaml}", "yaml, boot: disk}"))
    with pytest.raises(TopologyError, match='100 MiB of memory, and the image "web" needs 116'):
        plan(folder, TOPOLOGY.replace("yaml}", "yaml, memory: 100}"))


def test_an_image_is_served_to_others_by_its_recipe(folder: Path) -> None:
    served = "id: 2, disks: {netboot: images/web.image.yaml}, vlans: 1"
    booted = "vlans: 1, boot: network}"
    planned = plan(folder, TOPOLOGY.replace("yaml}", f"yaml, {booted}").replace("id: 2", served))
    client, server = planned.nodes
    assert client.image == server.disks[0].image == planned.images[0].name
    alone = plan(folder, f"name: a\nnodes: {{b: {{{served}}}}}\n")
    assert alone.images == planned.images
    (folder / "images/web.image.yaml").write_text("name: web\nbase: debian\n")
    with pytest.raises(TopologyError, match=r"a\.yaml:4:\d+: .* boots from the network"):
        plan(
            folder, TOPOLOGY.replace("id: 2", served).replace(", image: images/web.image.yaml", "")
        )
    (folder / "images/web.image.yaml").write_text("name: web\nbase: micro\nrun: [x]\n")
    with pytest.raises(TopologyError) as caught:
        plan(folder, f"name: a\nnodes: {{b: {{{served}}}}}\n")
    assert [mistake.path for mistake in caught.value.mistakes] == ["run"]
    (folder / "images/web.image.yaml").unlink()
    with pytest.raises(TopologyError, match=r"nodes\.b\.disks: .* no such file") as caught:
        plan(folder, f"name: a\nnodes: {{b: {{{served}}}}}\n")
    assert len(caught.value.mistakes) == 1


def test_two_recipes_that_say_the_same_are_one_image(folder: Path) -> None:
    (folder / "images/same.image.yaml").write_text(f"# the same\n{RECIPE}")
    planned = plan(folder, TOPOLOGY.replace("id: 2", "id: 2, image: images/same.image.yaml"))
    assert len(planned.images) == 1
    assert len({node.image for node in planned.nodes}) == 1


def test_text_without_its_file_cannot_be_planned_with_a_recipe_from_beside_it() -> None:
    with pytest.raises(TopologyError, match=r'the recipe "images/web.image.yaml" was not read'):
        resolve(loads(TOPOLOGY))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("./a.image.yaml", True), ("a.image.yml", True), ("a.yaml", False), ("micro", False)],
)
def test_a_recipe_is_told_from_a_name_by_its_ending(name: str, expected: bool) -> None:
    assert is_recipe(name) == expected


def test_a_recipe_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match=r"gone\.image\.yaml: there is no such file"):
        load_recipe(tmp_path / "gone.image.yaml")
    (tmp_path / "a.image.yaml").write_bytes(b"\xff")
    with pytest.raises(TopologyError, match=r"a\.image\.yaml:1:1: byte 0xff is not UTF-8"):
        load_recipe(tmp_path / "a.image.yaml")


def test_a_recipe_has_no_variables() -> None:
    recipe = loads_recipe("name: a\nbase: debian\nrun: ['echo ${HOME} $${x}']\n")
    assert recipe.run == ("echo ${HOME} $${x}",)


def test_a_folder_is_read_without_following_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_text("c")
    (tmp_path / "a/out").symlink_to("/etc/shadow")
    (tmp_path / "a/loop").symlink_to("../a")
    (tmp_path / "a/nowhere").symlink_to("nothing")
    (tmp_path / "link").symlink_to("a")
    tree = read_tree(tmp_path / "link")
    assert [(one.path, one.kind, one.target) for one in tree.entries] == [
        ("", "folder", ""),
        ("b", "folder", ""),
        ("b/c", "file", ""),
        ("loop", "link", "../a"),
        ("nowhere", "link", "nothing"),
        ("out", "link", "/etc/shadow"),
    ]
    assert (tree.size, tree.is_file) == (1, False)


def refused(path: Path, maximum: int = 100) -> str:
    with pytest.raises(UnreadableError) as caught:
        read_tree(path, maximum)
    return caught.value.message


def test_what_no_image_can_have_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(name: str) -> Path:
        (tmp_path / name / "in").mkdir(parents=True)
        return tmp_path / name

    os.mkfifo(make("fifo") / "in/pipe")
    assert refused(tmp_path / "fifo").startswith("'in/pipe' in it is neither a file")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(make("socket"))
        listener.bind("in/socket")
    assert refused(tmp_path / "socket").startswith("'in/socket' in it is neither a file")
    Path(os.fsdecode(os.fsencode(make("bytes")) + b"/in/\xff")).write_text("")
    assert "has a name that is not text" in refused(tmp_path / "bytes")
    (make("line") / "in/a\nb").write_text("")
    assert "has a name that is not text" in refused(tmp_path / "line")
    (make("link") / "in/x").symlink_to(os.fsdecode(b"\xff"))
    assert "leads to a name that is not text" in refused(tmp_path / "link")
    for part in ("1", "2"):
        (tmp_path / f"link/in/{part}").write_bytes(bytes(60))
    assert refused(tmp_path / "link") == "'in/2' in it is larger than 512 MiB with all before it"
    monkeypatch.setattr(trees, "MAXIMUM_ENTRIES", 2)
    assert refused(tmp_path / "line") == "has more than 2 files and folders"


def test_files_of_a_recipe_are_bounded_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netlab.topology.recipe_file.MAXIMUM_BYTES", 100)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(bytes(60))
    text = "name: a\nbase: micro\nfiles: {/a: {from: a}, /b: {from: b}}\n"
    (tmp_path / "x.image.yaml").write_text(text)
    with pytest.raises(TopologyError) as caught:
        load_recipe(tmp_path / "x.image.yaml")
    assert [mistake.path for mistake in caught.value.mistakes] == ['files["/b"].from']


def test_a_digest_is_of_contents_and_not_of_times_or_owners(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    before = read_tree(tmp_path / "a").digest
    os.utime(tmp_path / "a", (1, 1))
    assert read_tree(tmp_path / "a").digest == before
    assert Tree(entries=(), size=0).digest != before


def test_the_bases_are_the_images_of_netlab() -> None:
    assert set(BASES) == set(IMAGES)


def test_the_schema_of_recipes_is_kept_and_describes_every_key() -> None:
    schema = recipe_schema()
    kept = (ROOT / "topologies" / "image.schema.json").read_text()
    assert kept == json.dumps(schema, indent=2, ensure_ascii=False) + "\n", (
        "write it again: netlab schema --image > topologies/image.schema.json"
    )
    assert schema["properties"].keys() == Recipe.model_fields.keys()
    assert all(field.get("description") for field in schema["properties"].values())


def test_the_page_has_every_key_and_its_example_loads(folder: Path) -> None:
    assert [key for key in Recipe.model_fields if f"| `{key}` |" not in PAGE] == []
    (example,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (folder / "page.image.yaml").write_text(example)
    recipe = load_recipe(folder / "page.image.yaml")
    assert (recipe.base, len(recipe.files), len(recipe.run)) == ("debian", 3, 2)
    assert recipe.trees["www"].size == len("hello")
