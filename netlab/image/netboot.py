"""What a node gives to those that boot an image from the network, on one disk.

The disk is a tar archive and nothing else: every guest can unpack it, and no file system has to be
known to the kernel. ``boot.ipxe`` starts the kernel with the image's command line from beside
itself, wherever that is. Source: the documentation of iPXE's commands ``kernel`` and ``initrd``;
``initrd=`` is for its build for UEFI, where a kernel looks its initial RAM disk up by name.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from netlab.image.store import Image

KERNEL, INITRD, SCRIPT = "kernel", "initrd", "boot.ipxe"


def write_netboot(image: Image, path: Path) -> None:
    """Write the archive of an image: the same bytes for the same image.

    Raises:
        OSError: It cannot be written, or the image is gone.
    """
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, source in ((KERNEL, image.packed_kernel), (INITRD, image.initrd)):
            with source.open("rb") as file:
                member = tarfile.TarInfo(name)
                member.size = source.stat().st_size
                archive.addfile(member, file)
        script = write_script(image.append).encode()
        member = tarfile.TarInfo(SCRIPT)
        member.size = len(script)
        archive.addfile(member, io.BytesIO(script))


def write_script(append: str) -> str:
    """Return what iPXE is to do.

    Args:
        append: The kernel's command line.
    """
    return f"#!ipxe\nkernel {KERNEL} initrd={INITRD} {append}\ninitrd {INITRD}\nboot\n"
