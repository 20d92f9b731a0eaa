"""A distribution's kernel -> what boots fastest.

A bzImage unpacks itself, moves itself and is entered in 16-bit mode; an emulated guest pays for all
of it at every boot. QEMU also starts an uncompressed kernel by its PVH entry, if it has one
(docs/images.md has the figures). Entered there it hears of no screen, because it is the 16-bit code
that asks the firmware for one: machines with a display boot the bzImage. Source:
Documentation/x86/boot.rst, arch/x86/boot/video.c of Linux; hw/i386/pc.c of QEMU.

A kernel for aarch64 comes uncompressed and with an EFI stub: there it is the same for all. Source:
Documentation/arm64/booting.rst of Linux.
"""

from __future__ import annotations

import struct

from netlab.errors import ImageError
from netlab.image import lz4
from netlab.image.elf import is_elf, read_notes

_SIGNATURE_OFFSET, _SIGNATURE = 0x202, b"HdrS"
_PAYLOAD_VERSION = 0x208
"""The boot protocol from which on the header tells where the payload is."""

_ARM_OFFSET, _ARM = 0x38, b"ARM\x64"

_PVH_ENTRY = (b"Xen\0", 18)
"""The note with the address of the PVH entry: XEN_ELFNOTE_PHYS32_ENTRY."""


def extract(image: bytes) -> bytes:
    """Return the uncompressed kernel, or the image as it is if it cannot be started otherwise.

    Raises:
        ImageError: It is no kernel for x86 or aarch64.
    """
    if image[_ARM_OFFSET : _ARM_OFFSET + 4] == _ARM:
        return image
    if image[_SIGNATURE_OFFSET : _SIGNATURE_OFFSET + 4] != _SIGNATURE:
        raise ImageError("the kernel package has neither a bzImage for x86 nor an Image for arm64")
    payload = _find_payload(image)
    if not payload.startswith(lz4.MAGIC):
        return image
    kernel = lz4.decompress(payload)
    if not is_elf(kernel) or _PVH_ENTRY not in read_notes(kernel, "the kernel"):
        return image
    return kernel


def _find_payload(image: bytes) -> bytes:
    version = struct.unpack_from("<H", image, 0x206)[0]
    if version < _PAYLOAD_VERSION:
        return b""
    offset, length = struct.unpack_from("<II", image, 0x248)
    # Zero stands for four: the oldest of all boot loaders did not write it.
    sectors = (image[0x1F1] or 4) + 1
    start = sectors * 512 + offset
    # The last four bytes are the size of the content.
    return image[start : start + length - 4]
