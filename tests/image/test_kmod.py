"""kmod.py: modules with what they need, and the index that modprobe reads."""

from __future__ import annotations

import gzip
import lzma

import pytest

from netlab.errors import ImageError
from netlab.image.kmod import compress, find_release, select_modules, write_index
from tests.image.conftest import make_module, make_tree

ROOT = "usr/lib/modules/1.0"


def _tree(**depends: str) -> dict[str, bytes]:
    return {
        f"{ROOT}/kernel/net/{name.replace('_', '-')}.ko": make_module(depends=words)
        for name, words in depends.items()
    }


def _names(files: dict[str, bytes], *wanted: str, optional: tuple[str, ...] = ()) -> set[str]:
    return {module.name for module in select_modules(make_tree(files), wanted, optional)}


def test_a_module_brings_all_that_it_needs() -> None:
    files = _tree(top="left,right", left="low_est", right="low-est", low_est="", other="")
    assert _names(files, "top") == {"top", "left", "right", "low_est"}


def test_a_pattern_means_paths() -> None:
    files = _tree(nft_a="", nft_b="", other="")
    assert _names(files, "net/nft-*") == {"nft_a", "nft_b"}


def test_what_is_built_in_is_there_already() -> None:
    files = _tree(a="inside") | {f"{ROOT}/modules.builtin": b"kernel/net/inside.ko\n"}
    assert _names(files, "a", "inside") == {"a"}


@pytest.mark.parametrize("wanted", ["gone", "net/gone*"])
def test_a_module_that_is_not_there_is_an_error_unless_it_is_optional(wanted: str) -> None:
    assert _names(_tree(a=""), "a", optional=(wanted,)) == {"a"}
    with pytest.raises(ImageError, match=r"no module (net/)?gone"):
        _names(_tree(a=""), wanted)


def test_a_dependency_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ImageError, match="no module gone"):
        _names(_tree(a="gone"), "a")


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".ko.xz", lzma.compress), (".ko.gz", gzip.compress), (".ko", bytes)]
)
def test_compressed_modules_are_unpacked(suffix: str, pack: type[bytes]) -> None:
    data = make_module()
    path = f"{ROOT}/kernel/a{suffix}"
    (module,) = select_modules(make_tree({path: pack(data)}), ["a"])
    assert (module.path, module.data) == (f"{ROOT}/kernel/a.ko", data)


def test_a_module_is_compressed_the_same_way_every_time() -> None:
    (module,) = select_modules(make_tree(_tree(a="")), ["a"])
    packed = compress(module)
    assert packed == compress(module)
    assert packed.path.endswith("/a.ko.gz")
    assert gzip.decompress(packed.data) == module.data


@pytest.mark.parametrize("suffix", [".ko.xz", ".ko.gz", ".ko.br", ".ko"])
def test_a_damaged_module_is_an_error_that_names_it(suffix: str) -> None:
    with pytest.raises(ImageError, match=rf"/{ROOT}/kernel/a{suffix}"):
        select_modules(make_tree({f"{ROOT}/kernel/a{suffix}": b"nonsense"}), ["a"])


def test_the_index_names_last_what_has_to_be_loaded_first() -> None:
    files = _tree(top="left,right", left="low", right="left,low", low="")
    index = write_index(select_modules(make_tree(files), ["top"]), "1.0")
    lines = dict(line.split(":") for line in index[f"{ROOT}/modules.dep"].decode().splitlines())
    needed = lines["kernel/net/top.ko"].split()
    assert sorted(needed) == [f"kernel/net/{name}.ko" for name in ("left", "low", "right")]
    assert needed.index("kernel/net/low.ko") > needed.index("kernel/net/left.ko")
    assert needed.index("kernel/net/left.ko") > needed.index("kernel/net/right.ko")
    assert lines["kernel/net/low.ko"] == ""


def test_the_index_ends_with_modules_that_need_each_other() -> None:
    files = _tree(a="b", b="c", c="b")
    index = write_index(select_modules(make_tree(files), ["a"]), "1.0")
    assert b"kernel/net/a.ko: kernel/net/b.ko kernel/net/c.ko\n" in index[f"{ROOT}/modules.dep"]


def test_the_index_has_the_names_by_which_the_kernel_asks() -> None:
    files = {f"{ROOT}/kernel/a.ko": make_module(aliases=["rtnl-link-a", "net-pf-9"])}
    index = write_index(select_modules(make_tree(files), ["a"]), "1.0")
    assert index[f"{ROOT}/modules.alias"] == b"alias net-pf-9 a\nalias rtnl-link-a a\n"


@pytest.mark.parametrize("releases", [(), ("1.0", "2.0")])
def test_there_is_exactly_one_kernel(releases: tuple[str, ...]) -> None:
    files = {f"usr/lib/modules/{release}/modules.builtin": b"" for release in releases}
    with pytest.raises(ImageError, match="one kernel"):
        find_release(make_tree(files))
