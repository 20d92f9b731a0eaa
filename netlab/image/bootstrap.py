"""Packages installed on a disk: the image of a whole system, made without root.

mmdebstrap installs the packages in a tree of its own and hands it over as a tar archive; fakeroot
remembers who owns what while the tree becomes a file system; and a boot loader goes before it
(:mod:`netlab.image.bootdisk`). Kernel and initial RAM disk lie beside the disk too: machines can be
started without the loader.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import stat
import tarfile
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import trio

from netlab.errors import ImageError, ProgramError
from netlab.image.additions import (
    check_commands,
    find_last,
    prepare,
    write_hooks,
)
from netlab.image.apt import check_packages
from netlab.image.bootdisk import MIB, write_configuration, write_disk
from netlab.image.build import (
    DISK,
    INITRD,
    KERNEL,
    PACKED_KERNEL,
    RECORD,
    Record,
    sync_folder,
    write_record,
)
from netlab.image.cpio import Entry
from netlab.image.kernel import extract
from netlab.image.loader import Loader
from netlab.image.progress import Progress, Tell
from netlab.image.system import SystemRecipe
from netlab.image.users import REMEMBERED, choose_mode
from netlab.process import find_program, open_process_group, run

_NAMESPACE = uuid.UUID("b8f5f8b4-6c3e-4a53-9d8c-6a2f0c3f7a11")
"""Identifiers of disks are functions of what is on them."""

ADDED = "added.tar"
"""What a recipe adds, in the folder of a build."""

_STEP = re.compile(rb"I: (\S[^\n]*)")
"""A line that mmdebstrap prints about itself."""

_STEPS = {
    "running apt-get update": "reading package lists",
    "downloading packages": "downloading packages",
    "extracting archives": "unpacking packages",
    "installing essential": "installing essential packages",
    "installing remaining": "installing packages",
    "creating tarball": "packing",
}


async def bootstrap(
    recipe: SystemRecipe, loader: Loader, folder: Path, *, lock: int, tell: Tell
) -> Record:
    """Build the image of a system in an empty folder, down to the disk; return its record.

    Args:
        recipe: What it is made of.
        loader: What boots it.
        folder: Where to build; in the end it has the image's files and nothing else.
        lock: A descriptor that programs inherit: it holds the build's lock.
        tell: Told what is done.

    Raises:
        ImageError: The packages could not be had or installed.
        MissingProgramError: mmdebstrap, fakechroot (where it is needed), fakeroot, mke2fs, sfdisk,
            mtools or qemu-img is missing.
        ProgramError: One of them failed.
        OSError: The folder cannot be written.
    """
    archive, tree, state = folder / "root.tar", folder / "root", folder / "owners"
    tell(Progress("installing packages"))
    await _install(recipe, archive, lock=lock, tell=tell)
    tell(Progress("making the disk"))
    await _make_tree(recipe, archive, tree, state)
    packages = await trio.to_thread.run_sync(_read_packages, tree)
    key = _digest(recipe, packages)
    identity = uuid.uuid5(_NAMESPACE, key)
    append = f"root=UUID={identity} ro {recipe.append}"
    await trio.to_thread.run_sync(_take_kernel, tree, folder)
    await _write_disk(recipe, loader, folder, identity=identity, append=append)
    await trio.to_thread.run_sync(shutil.rmtree, tree)
    state.unlink()
    record = _describe(recipe, packages, folder, digest=key, append=append)
    tell(Progress("writing"))
    (folder / RECORD).write_bytes(write_record(record))
    await trio.to_thread.run_sync(_sync, folder)
    return record


def _describe(
    recipe: SystemRecipe, packages: tuple[str, ...], folder: Path, *, digest: str, append: str
) -> Record:
    """Return what is to be remembered of an image whose files are in a folder."""
    return Record(
        name=recipe.name,
        digest=digest,
        arch=recipe.arch,
        append=f"{append} {recipe.handed}",
        built=datetime.now(UTC).isoformat(timespec="seconds"),
        packages=packages,
        archives=(),
        sizes={
            name: (folder / name).stat().st_size for name in (KERNEL, PACKED_KERNEL, INITRD, DISK)
        },
        base=recipe.base,
    )


async def _make_tree(recipe: SystemRecipe, archive: Path, tree: Path, state: Path) -> None:
    """Unpack the system, and what is the image's own over it.

    All under fakeroot: it knows files by their inodes, and one that it does not see go and come
    again it takes for what was there before.
    """
    await trio.Path(tree).mkdir()
    without = [f"--exclude=./{pattern}" for pattern in recipe.removed]
    unpack = ("tar", "--extract", "--anchored", "--directory", str(tree))
    fakeroot = ("fakeroot", "-s", str(state))
    argv = (*fakeroot, "--", *unpack, *without, "--file", str(archive))
    await run(argv, environment=REMEMBERED)
    await trio.Path(archive).unlink()
    own = write_own(find_last(recipe))
    argv = (*fakeroot, "-i", str(state), "--", *unpack, "--file", "-")
    await run(argv, stdin=own, environment=REMEMBERED)


async def _install(recipe: SystemRecipe, archive: Path, *, lock: int, tell: Tell) -> None:
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.left_out]
    added = archive.with_name(ADDED)
    if recipe.files or recipe.run:
        await trio.Path(added).write_bytes(write_own(prepare(recipe)))
        options += write_hooks(recipe, added)
    argv = (
        "env", *(f"{name}={value}" for name, value in REMEMBERED.items()),
        find_program("mmdebstrap"), f"--mode={choose_mode()}", f"--variant={recipe.variant}",
        "--format=tar", f"--architectures={recipe.debian_arch}",
        f"--include={','.join(recipe.packages)}",
        *options, "", str(archive), *map(str, await _find_sources()),
    )  # fmt: skip
    output = bytearray()
    async with open_process_group(argv, pass_fds=(lock,)) as group:
        async for chunk in group.output:
            output += chunk
            _tell_steps(chunk, tell)
        status = await group.process.wait()
    added.unlink(missing_ok=True)
    if status != 0:
        text = output.decode(errors="replace")
        check_commands(recipe, text)
        check_packages(recipe.name, text)
        raise ImageError(
            f"the packages of {recipe.name} could not be installed",
            hint="it needs the mirrors in /etc/apt/sources.list*, space in TMPDIR, and without "
            "root subordinate user and group ids (`apt-get install uidmap`, see subuid(5)) or "
            "`apt-get install fakechroot`",
            evidence=ProgramError(argv, status, text).evidence,
        )


def _tell_steps(chunk: bytes | bytearray, tell: Tell) -> None:
    for found in _STEP.finditer(chunk):
        line = found[1].decode(errors="replace")
        for start, stage in _STEPS.items():
            if line.startswith(start):
                tell(Progress(stage))


async def _find_sources() -> list[Path]:
    """Return the files that tell the host's own apt where packages come from."""
    done = await run((
        "apt-config", "shell", "file", "Dir::Etc::sourcelist/f", "parts", "Dir::Etc::sourceparts/d",
    ))  # fmt: skip
    settings = dict(
        word.split("=", 1) for word in shlex.split(done.stdout.decode(errors="replace"))
    )
    found = _list_sources(settings.get("file", ""), settings.get("parts", ""))
    if not found:
        raise ImageError(
            "apt has no sources to take packages from",
            hint="name a Debian mirror in /etc/apt/sources.list.d",
        )
    return found


def _list_sources(file: str, folder: str) -> list[Path]:
    parts = [path for path in Path(folder).glob("*.*") if path.suffix in {".list", ".sources"}]
    paths = [Path(file), *sorted(parts)]
    return [path for path in paths if path.is_file() and path.stat().st_size]


def _read_packages(tree: Path) -> tuple[str, ...]:
    """Return what dpkg has installed, as ``name=version``, sorted."""
    text = (tree / "var/lib/dpkg/status").read_text(encoding="utf-8", errors="replace")
    packages: list[str] = []
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Status): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            packages.append(f"{fields['Package']}={fields['Version']}")
    return tuple(sorted(packages))


def _digest(recipe: SystemRecipe, packages: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps([recipe.digest(), packages]).encode()).hexdigest()


def write_own(entries: Iterable[Entry]) -> bytes:
    """Return the tar archive of what an image has of its own: folders, links, files of root's."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for entry in entries:
            member = tarfile.TarInfo(entry.path)
            member.mode = stat.S_IMODE(entry.mode)
            if stat.S_ISLNK(entry.mode):
                member.type, member.linkname = tarfile.SYMTYPE, entry.data.decode()
                archive.addfile(member)
            elif stat.S_ISDIR(entry.mode):
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            else:
                member.size = len(entry.data)
                archive.addfile(member, io.BytesIO(entry.data))
    return output.getvalue()


def _take_kernel(tree: Path, folder: Path) -> None:
    packed = _find_one(tree, "vmlinuz-*").read_bytes()
    (folder / PACKED_KERNEL).write_bytes(packed)
    (folder / KERNEL).write_bytes(extract(packed))
    shutil.copyfile(_find_one(tree, "initrd.img-*"), folder / INITRD)


def _find_one(tree: Path, pattern: str) -> Path:
    found = sorted(tree.glob(f"boot/{pattern}"))
    if len(found) != 1:
        raise ImageError(f"the packages have {len(found)} of /boot/{pattern}, not one")
    return found[0]


async def _write_disk(
    recipe: SystemRecipe, loader: Loader, folder: Path, *, identity: uuid.UUID, append: str
) -> None:
    raw = folder / "disk.raw"
    # The links that the kernel's packages keep up to date.
    configuration = write_configuration(
        kernel="/vmlinuz", initrd="/initrd.img", append=append, root=str(identity)
    )
    layout = await write_disk(
        raw, loader, identity=identity, configuration=configuration, root_size=recipe.size * MIB
    )
    blocks = layout.root_size // 1024
    await run((
        "fakeroot", "-i", str(folder / "owners"), "--",
        find_program("mke2fs"), "-q", "-F", "-t", "ext4", "-L", "root", "-U", str(identity),
        "-d", str(folder / "root"),
        "-E", f"offset={layout.root_start},lazy_itable_init=1,hash_seed={identity}",
        str(raw), f"{blocks}k",
    ), environment=REMEMBERED)  # fmt: skip
    await run((
        "qemu-img", "convert", "-q", "-c", "-f", "raw", "-O", "qcow2",
        "-o", "compression_type=zstd", str(raw), str(folder / DISK),
    ))  # fmt: skip
    raw.unlink()


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_folder(folder)
