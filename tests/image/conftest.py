"""Small real things to build images of: ELF files, Debian packages, an apt repository.

The repository is real (``deb [trusted=yes] copy:FOLDER ./``), the packages are real, and apt is; so
a whole build takes a fraction of a second and needs no network.
"""

from __future__ import annotations

import hashlib
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from netlab.image import recipe as recipes
from netlab.image.cpio import Entry
from netlab.image.recipe import MICRO, Recipe

RELEASE = "1.0-tiny"

APPLETS = tuple(
    sorted(["[", "[[", "modprobe", "mount", "sh", "tool", *(f"applet{n:02}" for n in range(60))])
)


def make_elf(
    *,
    needed: Iterable[str] = (),
    interpreter: str = "",
    modinfo: Iterable[str] = (),
    notes: Iterable[tuple[bytes, int]] = (),
) -> bytes:
    """Return a small ELF file that says these things of itself."""
    strings = b"\0"
    offsets: list[int] = []
    for name in needed:
        offsets.append(len(strings))
        strings += name.encode() + b"\0"
    note = b"".join(
        struct.pack("<III", len(owner), 4, kind)
        + owner.ljust(-(-len(owner) // 4) * 4, b"\0")
        + bytes(4)
        for owner, kind in notes
    )
    section_names = b"\0.modinfo\0.shstrtab\0"
    base = 64 + 4 * 56
    parts = {
        "interp": interpreter.encode() + b"\0",
        "strings": strings,
        "dynamic": b"",
        "note": note,
        "modinfo": b"".join(line.encode() + b"\0" for line in modinfo),
        "names": section_names,
    }
    strings_at = base + len(parts["interp"])
    parts["dynamic"] = (
        b"".join(struct.pack("<QQ", 1, offset) for offset in offsets)
        + struct.pack("<QQ", 5, 0x1000 + strings_at)
        + struct.pack("<QQ", 0, 0)
    )
    places: dict[str, tuple[int, int]] = {}
    position = base
    for name, data in parts.items():
        places[name] = (position, len(data))
        position += len(data)
    kinds = [(1, (0, position)), (2, places["dynamic"]), (3, places["interp"]), (4, places["note"])]
    segments = b"".join(
        struct.pack("<IIQQQQQQ", kind, 4, offset, 0x1000 + offset, 0, size, size, 1)
        for kind, (offset, size) in kinds
        if interpreter or kind != 3
    )
    sections = bytes(64) + b"".join(
        struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, *places[place], 0, 0, 1, 0)
        for name, place in ((1, "modinfo"), (10, "names"))
    )
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01", 2, 62, 1, 0, 64, position, 0, 64, 56, len(segments) // 56, 64, 3, 2,
    )  # fmt: skip
    return header + segments.ljust(4 * 56, b"\0") + b"".join(parts.values()) + sections


def make_module(*, depends: str = "", aliases: Iterable[str] = ()) -> bytes:
    return make_elf(
        modinfo=["license=GPL", f"depends={depends}", *(f"alias={alias}" for alias in aliases)]
    )


def make_kernel(payload: bytes = b"packed") -> bytes:
    """Return a bzImage with that payload."""
    image = bytearray(1024)
    image[0x1F1] = 1
    image[0x202:0x208] = b"HdrS" + struct.pack("<H", 0x20F)
    image[0x248:0x250] = struct.pack("<II", 0, len(payload) + 4)
    return bytes(image) + payload + bytes(4)


def make_tree(files: Mapping[str, bytes]) -> dict[str, Entry]:
    return {path: Entry(path=path, mode=0o100755, data=data) for path, data in files.items()}


def tiny_files(size: int = 1000) -> dict[str, bytes]:
    """Return what the packages of the tiny recipe have."""
    modules = f"lib/modules/{RELEASE}"
    return {
        f"boot/vmlinuz-{RELEASE}": make_kernel(b"k" * size),
        f"{modules}/kernel/net/a.ko": make_module(depends="b-c", aliases=["net-pf-9"]),
        f"{modules}/kernel/net/b-c.ko": make_module(),
        f"{modules}/modules.builtin": b"kernel/net/inside.ko\n",
        "bin/busybox": b"\0" + b"".join(name.encode() + b"\0" for name in APPLETS) + b"\0",
        "sbin/tool": make_elf(needed=["libtiny.so.1"]),
        "usr/lib/x86_64-linux-gnu/libtiny.so.1": make_elf(),
    }


TINY = replace(
    MICRO,
    name="tiny",
    packages=("tiny-tools",),
    present=("adduser",),
    programs=("usr/bin/tool", "usr/bin/busybox"),
    patterns=(),
    boot_modules=("a", "inside"),
    modules=(),
    optional_modules=("nothing",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """An apt repository in a folder."""

    folder: Path

    def publish(
        self,
        version: str = "1.0",
        size: int = 1000,
        more: Mapping[str, Mapping[str, bytes]] | None = None,
    ) -> None:
        """Make its packages anew.

        Args:
            version: Of all of them.
            size: Bytes of the tiny kernel.
            more: The files of more packages, which depend on tiny-words.
        """
        for old in self.folder.glob("*.deb"):
            old.unlink()
        index = ""
        for name, files, depends in (
            ("tiny-tools", tiny_files(size), "tiny-words, adduser"),
            ("tiny-words", {"etc/words": b"some\n"}, ""),
            *((name, files, "tiny-words") for name, files in (more or {}).items()),
        ):
            index += self._add(name, version, files, depends)
        (self.folder / "Packages").write_text(index)
        digest = hashlib.sha256(index.encode()).hexdigest()
        (self.folder / "Release").write_text(
            f"Codename: tiny\nSHA256:\n {digest} {len(index)} Packages\n"
        )

    def _add(self, name: str, version: str, files: Mapping[str, bytes], depends: str) -> str:
        root = self.folder / "root" / name / version
        for path, data in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
            (root / path).chmod(0o755)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: nobody\n"
        control += f"Depends: {depends}\n" if depends else ""
        control += "Description: small\n"
        (root / "DEBIAN").mkdir(parents=True, exist_ok=True)
        (root / "DEBIAN/control").write_text(control)
        # A package whose scripts ran would leave its mark.
        script = root / "DEBIAN/preinst"
        script.write_text(f"#!/bin/sh\ntouch {self.folder}/ran\n")
        script.chmod(0o755)
        package = self.folder / f"{name}_{version}_amd64.deb"
        subprocess.run(
            ["dpkg-deb", "-Znone", "--root-owner-group", "--build", str(root), str(package)],
            check=True,
            capture_output=True,
        )
        data = package.read_bytes()
        return (
            f"{control}Filename: ./{package.name}\nSize: {len(data)}\n"
            f"SHA256: {hashlib.sha256(data).hexdigest()}\n\n"
        )


def make_repository(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Make a repository that apt sees instead of the host's, with the tiny recipe's packages."""
    made = Repository(folder=folder / "repository")
    made.folder.mkdir()
    made.publish()
    (folder / "sources.list").write_text(f"deb [trusted=yes] copy:{made.folder} ./\n")
    (folder / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{folder}/sources.list";\n'
        f'Dir::Etc::sourceparts "{folder}/none";\n'
        f'APT::Update::Pre-Invoke {{ "touch {made.folder}/hooked"; }};\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(folder / "apt.conf"))
    return made


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository that apt sees instead of the host's, with the packages of the tiny recipe."""
    return make_repository(tmp_path, monkeypatch)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe of the repository's packages, known by its name."""
    monkeypatch.setitem(recipes.RECIPES, TINY.name, TINY)
    return TINY


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that other users reach.

    It is not one of pytest's: each session that starts makes those of all others private again
    (getbasetemp in _pytest/tmpdir.py), whoever has opened them meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="netlab-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)
