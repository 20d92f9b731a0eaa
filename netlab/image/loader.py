"""The boot loader of disks: GRUB for BIOS and, behind a signed shim, for UEFI.

What a disk needs of it is made once and kept in the store: the first sector and the core for BIOS,
which finds its configuration in the second partition of the disk that it was started from; and the
two programs for UEFI as Debian signed them, which find theirs in ``EFI/debian`` of their partition.
The program that makes the core comes with the packages too, and with libraries of its own: nothing
of it needs to be installed.

Source: the GRUB manual, sections "BIOS installation" and "Invoking grub-mkimage";
 grub-efi-amd64-signed and shim-signed of Debian.
"""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from netlab.errors import ImageError
from netlab.image.cpio import Entry
from netlab.image.unpack import follow
from netlab.process import run

MODULES = (
    "biosdisk", "configfile", "echo", "ext2", "fat", "linux", "normal", "part_gpt", "search",
    "search_fs_uuid", "serial", "terminal", "test",
)  # fmt: skip
"""What the core for BIOS can do without reading more: it has no folder of modules."""

BOOT, CORE, SHIM, GRUB = "boot.img", "core.img", "shimx64.efi", "grubx64.efi"
"""Names of the files."""

_FOLDER = "usr/lib/grub/i386-pc"
_INTERPRETER = "ld-linux-x86-64.so.2"
_SIGNED = {
    SHIM: "usr/lib/shim/shimx64.efi.signed",
    GRUB: "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderRecipe:
    """What a boot loader is made of; the attributes are those of other recipes."""

    name: str = "loader"
    debian_arch: str = "amd64"
    packages: tuple[str, ...] = ("grub-pc-bin", "grub-efi-amd64-signed", "shim-signed")
    present: tuple[str, ...] = (
        "debconf",
        "dmsetup",
        "gettext-base",
        "grub-efi-amd64-bin",
        "grub2-common",
        "libefiboot1",
        "libefivar1",
        "libfreetype6",
        "libfuse2",
        "mokutil",
        "shim-helpers-amd64-signed",
        "shim-signed-common",
    )

    def digest(self) -> str:
        """Say what it makes of its packages: one digit more with each change."""
        return f"loader-1 {' '.join(MODULES)}"


LOADER = LoaderRecipe()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """The files of a boot loader.

    Attributes:
        boot: The first sector for BIOS.
        core: What that loads.
        shim: The program that UEFI starts.
        grub: The one that this starts.
    """

    boot: Path
    core: Path
    shim: Path
    grub: Path


def locate_loader(folder: Path) -> Loader:
    """Return the files of the loader in a folder of the store."""
    return Loader(boot=folder / BOOT, core=folder / CORE, shim=folder / SHIM, grub=folder / GRUB)


async def make_loader(tree: Mapping[str, Entry]) -> dict[str, bytes]:
    """Return a loader's files by name, made of its packages.

    Raises:
        ImageError: A package does not have what it should.
        ProgramError: The core could not be made.
    """
    files = {name: _read(tree, path) for name, path in _SIGNED.items()}
    files[BOOT] = _read(tree, f"{_FOLDER}/boot.img")
    with tempfile.TemporaryDirectory(prefix="netlab-") as temporary:
        folder = Path(temporary)
        _write_parts(tree, folder)
        core, program = folder / CORE, folder / "grub-mkimage"
        await run((
            str(folder / _INTERPRETER), "--library-path", str(folder), str(program),
            "--format", "i386-pc", "--directory", str(folder),
            "--prefix", "(,gpt2)/grub", "--output", str(core), *MODULES,
        ))  # fmt: skip
        files[CORE] = core.read_bytes()
    return files


def _write_parts(tree: Mapping[str, Entry], folder: Path) -> None:
    """Write the program that makes a core, its libraries and its modules into one folder."""
    wanted = (
        f"{_FOLDER}/*",
        "usr/bin/grub-mkimage",
        f"usr/lib64/{_INTERPRETER}",
        "usr/lib/*/*.so*",
    )
    for path in tree:
        found = follow(tree, path) if any(fnmatchcase(path, one) for one in wanted) else ()
        if found:
            target = folder / posixpath.basename(path)
            target.write_bytes(found[-1].data)
            target.chmod(0o700)


def _read(tree: Mapping[str, Entry], path: str) -> bytes:
    entry = tree.get(path)
    if entry is None:
        raise ImageError(f"no package of the boot loader has /{path}")
    return entry.data
