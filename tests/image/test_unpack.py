"""unpack.py: a package's files as bytes under a name, wherever the package wants them to be."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.errors import ImageError
from netlab.image.cpio import Entry
from netlab.image.unpack import Tree, follow, merge, normalise, read_tar
from tests.image.conftest import make_tree


def _tar(*members: tuple[str, bytes, str, bytes]) -> bytes:
    """Return an archive of (name, type, link target, content)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, target, data in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, target, len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _link(path: str, target: str) -> Entry:
    return Entry(path=path, mode=0o120777, data=target.encode())


def test_folders_of_programs_are_one() -> None:
    tree = read_tar(
        _tar(
            ("./bin/a", tarfile.REGTYPE, "", b"1"),
            ("sbin/b", tarfile.REGTYPE, "", b"2"),
            ("usr/sbin/c", tarfile.REGTYPE, "", b"3"),
            ("lib/x/d", tarfile.REGTYPE, "", b"4"),
        ),
        "p",
    )
    assert sorted(tree) == ["usr/bin/a", "usr/bin/b", "usr/bin/c", "usr/lib/x/d"]


def test_a_link_to_the_same_name_in_another_folder_is_the_file() -> None:
    file, link = (
        ("./bin/ip", tarfile.REGTYPE, "", b"ip"),
        ("./sbin/ip", tarfile.SYMTYPE, "/bin/ip", b""),
    )
    for members in ((file, link), (link, file)):
        assert read_tar(_tar(*members), "p")["usr/bin/ip"].data == b"ip"


def test_a_hard_link_has_the_content() -> None:
    tree = read_tar(
        _tar(("a", tarfile.REGTYPE, "", b"same"), ("b", tarfile.LNKTYPE, "./a", b"")), "p"
    )
    assert tree["b"].data == b"same"


def test_devices_and_rights_beyond_the_usual_are_dropped() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        device = tarfile.TarInfo("dev/sda")
        device.type = tarfile.BLKTYPE
        archive.addfile(device)
        program = tarfile.TarInfo("bin/su")
        program.mode, program.uid = 0o4755, 7
        archive.addfile(program)
    tree = read_tar(buffer.getvalue(), "p")
    assert list(tree) == ["usr/bin/su"]
    assert tree["usr/bin/su"].mode == 0o100755


@pytest.mark.parametrize("name", ["../etc/passwd", "a/../../b", "..", "a/.."])
def test_a_path_that_leaves_the_root_is_refused(name: str) -> None:
    with pytest.raises(ImageError, match="p is damaged or hostile"):
        read_tar(_tar((name, tarfile.REGTYPE, "", b"")), "p")


@pytest.mark.parametrize("target", ["../../etc/passwd", "missing"])
def test_a_hard_link_to_what_is_not_in_the_package_is_refused(target: str) -> None:
    with pytest.raises(ImageError, match="p is damaged or hostile"):
        read_tar(_tar(("a", tarfile.LNKTYPE, target, b"")), "p")


def test_an_absolute_path_is_one_in_the_image() -> None:
    assert list(read_tar(_tar(("/etc/x", tarfile.REGTYPE, "", b"")), "p")) == ["etc/x"]


@given(st.binary(max_size=2000))
def test_what_is_no_archive_is_refused_or_empty(data: bytes) -> None:
    with suppress(ImageError):
        assert read_tar(data, "p") == {}


@given(st.data())
def test_a_damaged_archive_stays_inside(data: st.DataObject) -> None:
    whole = bytearray(
        _tar(("bin/a", tarfile.REGTYPE, "", b"12"), ("b/c", tarfile.SYMTYPE, "../bin/a", b""))
    )
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(0, 1200))] = data.draw(st.integers(0, 255))
    tree: Tree = {}
    with suppress(ImageError):
        tree = read_tar(bytes(whole), "p")
    assert all(normalise(path) == path for path in tree)


def test_links_are_followed_inside_the_image() -> None:
    tree = make_tree({"usr/lib/libx.so.1.2": b"x", "etc/passwd": b"guest"})
    tree |= {
        "usr/lib/libx.so.1": _link("usr/lib/libx.so.1", "libx.so.1.2"),
        "lib64/y": _link("lib64/y", "/lib/libx.so.1"),
        "out": _link("out", "../../../../etc/passwd"),
    }
    assert [entry.path for entry in follow(tree, "lib64/y")] == [
        "lib64/y",
        "usr/lib/libx.so.1",
        "usr/lib/libx.so.1.2",
    ]
    assert follow(tree, "out")[-1].data == b"guest"
    assert follow(tree, "nowhere") == ()


def test_links_in_a_circle_are_refused() -> None:
    tree = {"a": _link("a", "b"), "b": _link("b", "a")}
    with pytest.raises(ImageError, match="/a: symbolic links in a circle"):
        follow(tree, "a")


def test_a_link_to_the_root_is_refused() -> None:
    with pytest.raises(ImageError, match="/a leads to '/'"):
        follow({"a": _link("a", "/")}, "a")


def test_of_two_packages_files_the_later_one_stays() -> None:
    assert merge([make_tree({"a": b"1"}), make_tree({"a": b"2"})])["a"].data == b"2"
