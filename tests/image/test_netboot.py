"""What is served to those that boot from the network: an archive, the same for the same image."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from netlab.image.netboot import write_netboot
from netlab.image.store import Image


@pytest.fixture
def image(tmp_path: Path) -> Image:
    for name in ("kernel", "kernel.packed", "initrd"):
        (tmp_path / name).write_text(f"the {name}")
    return Image(
        name="tiny",
        digest="0" * 64,
        arch="x86_64",
        kernel=tmp_path / "kernel",
        packed_kernel=tmp_path / "kernel.packed",
        initrd=tmp_path / "initrd",
        append="console=ttyS0 quiet",
        disk=None,
        size=0,
        built="",
        packages=(),
    )


def test_an_archive_has_the_kernel_as_packaged_and_how_to_start_it(
    image: Image, tmp_path: Path
) -> None:
    write_netboot(image, tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as archive:
        content = {
            member.name: file.read().decode()
            for member in archive
            if (file := archive.extractfile(member))
        }
    assert content == {
        "kernel": "the kernel.packed",
        "initrd": "the initrd",
        "boot.ipxe": (
            "#!ipxe\nkernel kernel initrd=initrd console=ttyS0 quiet\ninitrd initrd\nboot\n"
        ),
    }


def test_the_same_image_gives_the_same_disk_of_whole_sectors(image: Image, tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar"):
        write_netboot(image, tmp_path / name)
        image.initrd.touch()
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    assert (tmp_path / "a.tar").stat().st_size % 512 == 0


def test_an_image_that_is_gone_is_an_error(image: Image, tmp_path: Path) -> None:
    gone = replace(image, initrd=tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="gone"):
        write_netboot(gone, tmp_path / "a.tar")
