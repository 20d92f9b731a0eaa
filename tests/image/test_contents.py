"""contents.py and kernel.py: what is taken from the packages, and what is missing from them."""

from __future__ import annotations

import stat
from dataclasses import replace

import pytest

from netlab.errors import ImageError
from netlab.image import lz4
from netlab.image.contents import read_applets, select
from netlab.image.cpio import write
from netlab.image.kernel import extract
from netlab.image.kmod import FOLDER, find_release
from netlab.image.unpack import Tree, normalise
from tests.image.conftest import (
    APPLETS,
    TINY,
    make_elf,
    make_kernel,
    make_tree,
    tiny_files,
)


def _tree(**more: bytes) -> Tree:
    files = tiny_files() | {path.replace("__", "/"): data for path, data in more.items()}
    return make_tree({normalise(path): data for path, data in files.items()})


def test_a_program_comes_with_its_libraries() -> None:
    entries = {entry.path: entry for entry in select(_tree(), TINY).entries}
    assert "usr/lib/x86_64-linux-gnu/libtiny.so.1" in entries
    assert write(entries.values())


def test_a_library_that_no_package_has_is_named_with_who_needs_it() -> None:
    tree = _tree() | make_tree({"usr/bin/tool": make_elf(needed=["libgone.so.7"])})
    with pytest.raises(ImageError, match=r"/usr/bin/tool needs libgone\.so\.7"):
        select(tree, TINY)


def test_a_loader_that_no_package_has_is_named() -> None:
    tree = _tree() | make_tree({"usr/bin/tool": make_elf(interpreter="/lib64/ld-gone.so")})
    with pytest.raises(ImageError, match=r"needs /usr/lib64/ld-gone\.so"):
        select(tree, TINY)


def test_a_program_that_no_package_has_is_named() -> None:
    with pytest.raises(ImageError, match="the recipe needs /usr/bin/gone"):
        select(_tree(), replace(TINY, programs=("usr/bin/gone",)))


def test_an_applet_gives_way_to_a_program_of_its_name() -> None:
    entries = {entry.path: entry for entry in select(_tree(), TINY).entries}
    assert stat.S_ISREG(entries["usr/bin/tool"].mode)
    assert entries["usr/bin/applet07"].data == b"busybox"


def test_a_busybox_without_a_table_is_refused() -> None:
    with pytest.raises(ImageError, match="table of applets"):
        read_applets(make_elf())


def test_words_after_the_table_are_no_applets() -> None:
    table = b"\0".join(name.encode() for name in (*APPLETS, "busy", "words"))
    assert read_applets(b"x\0" + table + b"\0\0") == APPLETS


def test_modules_of_every_boot_are_not_compressed_and_others_are() -> None:
    recipe = replace(TINY, boot_modules=("b_c",), modules=("a",))
    paths = {entry.path.rpartition("/")[2] for entry in select(_tree(), recipe).entries}
    assert {"a.ko.gz", "b-c.ko"} <= paths


def test_modprobe_is_told_what_is_built_into_the_kernel() -> None:
    tree = _tree()
    path = f"{FOLDER}/{find_release(tree)}/modules.builtin"
    assert tree[path] in select(tree, TINY).entries


def test_a_kernel_that_cannot_be_unpacked_is_taken_as_it_is() -> None:
    for payload in (b"\xfd7zXZ", lz4.compress(b"no program"), lz4.compress(make_elf())):
        assert extract(make_kernel(payload)) == make_kernel(payload)


def test_a_kernel_that_qemu_can_enter_is_unpacked() -> None:
    kernel = make_elf(notes=[(b"Xen\0", 18)])
    assert extract(make_kernel(lz4.compress(kernel))) == kernel


def test_a_kernel_for_aarch64_is_taken_as_it_is() -> None:
    image = (b"MZ" + bytes(54) + b"ARM\x64").ljust(2000, b"\0")
    assert extract(image) == image


@pytest.mark.parametrize("image", [b"", b"MZ" + bytes(2000)])
def test_what_is_no_kernel_is_refused(image: bytes) -> None:
    with pytest.raises(ImageError, match="neither a bzImage"):
        extract(image)


def test_a_kernel_package_without_its_kernel_is_refused() -> None:
    tree = {path: entry for path, entry in _tree().items() if "vmlinuz" not in path}
    with pytest.raises(ImageError, match=r"/boot/vmlinuz-1\.0-tiny"):
        select(tree, TINY)
