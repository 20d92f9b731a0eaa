"""The recipe's packages, resolved, downloaded and verified by the host's own apt, without root.

apt gets a state of its own below the store: what it believes to be installed, its lists and its
archives. From the host it has the sources, keys, proxies and pins of /etc/apt. Nothing is
installed, and hooks of the host's configuration do not run.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import trio

from netlab.errors import ImageError, ProgramError
from netlab.image.progress import Progress, Tell
from netlab.process import open_process, run

SYSTEM_LISTS = Path("/var/lib/apt/lists")

PROGRESS_STEP = 10
"""Per cent between two reports."""

# "#clear" works in a file alone. Hooks may have side effects on the host (some delete the system's
# own archives), and a configuration without caches makes every call parse all lists again.
_CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear APT::Architectures;
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Sandbox::User "root";
Acquire::ForceHash "SHA256";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
"""

_PRESENT = """\
Package: {}
Status: install ok installed
Maintainer: netlab
Architecture: all
Multi-Arch: foreign
Version: 9999
Description: taken for installed

"""

_URI = re.compile(
    r"'(?P<uri>[^']+)' (?P<file>[^ /]+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})"
)

_MISSING = re.compile(
    r"(?:Unable to locate package |Package (?=\S+ has no installation candidate))(\S+)"
)

_DOWNLOAD = re.compile(r"dlstatus:\d+:([\d.]+):")
"""A line of APT::Status-Fd. Source: README.progress-reporting of apt."""


class PackageSet(Protocol):
    """What a recipe asks of apt; :class:`netlab.image.recipe.Recipe` says what each means."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def debian_arch(self) -> str:
        """The architecture."""
        ...

    @property
    def packages(self) -> tuple[str, ...]:
        """What is asked for."""
        ...

    @property
    def present(self) -> tuple[str, ...]:
        """What is taken for installed."""
        ...

    def digest(self) -> str:
        """Return what tells it from others that have the same packages."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A package file.

    Attributes:
        file: Its name: ``name_version_architecture.deb``.
        uri: Where apt finds it.
        size: In bytes.
        sha256: What apt's signed lists say about its content.
    """

    file: str
    uri: str
    size: int
    sha256: str

    @property
    def package(self) -> str:
        """Name and version: ``iproute2=6.1.0-3``."""
        name, version, _ = unquote(self.file).split("_", 2)
        return f"{name}={version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The packages of a recipe with all that they depend on.

    Attributes:
        archives: Sorted by name.
        lists: The folder of the package lists that say so.
        fresh: Whether the mirrors were asked for these lists just now.
    """

    archives: tuple[Archive, ...]
    lists: Path
    fresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Apt:
    """apt with a state of its own.

    Attributes:
        folder: That state.
        lock: A descriptor that programs which write there inherit: it holds the build's lock, so
            that an apt that outlives a killed netlab is waited for by the next build.
    """

    folder: Path
    lock: int

    @property
    def archives(self) -> Path:
        """Where downloaded packages are."""
        return self.folder / "archives"

    async def resolve(self, recipe: PackageSet, *, refresh: bool, tell: Tell) -> Resolved:
        """Find out which packages a recipe needs.

        Args:
            recipe: Whose packages.
            refresh: Whether to ask the mirrors what is newest. Otherwise lists that are there
                are taken: our own, or else the system's.
            tell: Told what is done.

        Raises:
            ImageError: A package is not to be had, or the mirrors cannot be reached.
            MissingProgramError: apt-get is not installed.
        """
        self._prepare(recipe)
        own = self.folder / f"lists-{recipe.debian_arch}"
        tell(Progress("resolving packages"))
        for lists in () if refresh else (own, SYSTEM_LISTS):
            if _has_lists(lists):
                with suppress(ProgramError):
                    return await self._resolve(recipe, lists, fresh=False)
        tell(Progress("reading package lists from the mirrors"))
        await self._run_writing(recipe, ("update", "-qq", "--error-on=any"), own, tell)
        try:
            return await self._resolve(recipe, own, fresh=True)
        except ProgramError as error:
            check_packages(recipe.name, error.evidence or "")
            raise ImageError(
                f"the packages of {recipe.name} cannot be resolved",
                hint="is this Debian 12 or newer, with main and security in its sources?",
                evidence=error.evidence,
            ) from error

    async def download(self, recipe: PackageSet, resolved: Resolved, tell: Tell) -> None:
        """Download what is not there, and verify everything.

        Raises:
            ImageError: The mirrors cannot be reached, do not have a package any more, or gave
                something else than the signed lists say.
        """
        missing = [archive for archive in resolved.archives if not await self._verify(archive)]
        if not missing:
            return
        for archive in missing:
            if self.locate(archive).parent == self.archives:
                self.locate(archive).unlink(missing_ok=True)
        # apt itself says nothing of what takes less than half a second.
        tell(Progress("downloading packages", 0, 100))
        words = ("install", "--download-only", "--yes", "-qq", *recipe.packages)
        await self._run_writing(recipe, words, resolved.lists, tell)
        for archive in missing:
            if not await self._verify(archive):
                raise ImageError(
                    f"{archive.file} is not what the mirror's signed list says",
                    hint=f"its SHA-256 has to be {archive.sha256}; see {archive.uri}",
                )

    def locate(self, archive: Archive) -> Path:
        """Return where a package file is or will be."""
        parts = urlsplit(archive.uri)
        if parts.scheme == "file":
            return Path(unquote(parts.path))
        return self.archives / archive.file

    def forget(self, keep: Iterable[str]) -> int:
        """Remove downloaded packages other than those files; return how many bytes they had."""
        kept = frozenset(keep)
        gone = [path for path in self.archives.glob("*.deb") if path.name not in kept]
        freed = sum(path.stat().st_size for path in gone)
        for path in gone:
            path.unlink(missing_ok=True)
        return freed

    def _prepare(self, recipe: PackageSet) -> None:
        lists = f"lists-{recipe.debian_arch}/partial"
        for name in ("archives/partial", "no-archives/partial", lists, "cache", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "apt.conf").write_text(_CONFIGURATION)
        (self.folder / "status").write_text("".join(map(_PRESENT.format, recipe.present)))

    async def _resolve(self, recipe: PackageSet, lists: Path, *, fresh: bool) -> Resolved:
        # Asked with an empty cache: what is downloaded already would not be named.
        empty = f"Dir::Cache::archives={self.folder / 'no-archives'}"
        words = ("-o", empty, "install", "--print-uris", "--yes", "-qq", *recipe.packages)
        done = await run(self._command(recipe, words, lists), environment={"LC_ALL": "C.UTF-8"})
        archives = parse_uris(done.stdout.decode(errors="replace"))
        if not archives:
            raise ProgramError(done.argv, done.status, "it names no package")
        return Resolved(archives=archives, lists=lists, fresh=fresh)

    def _command(self, recipe: PackageSet, words: Sequence[str], lists: Path) -> tuple[str, ...]:
        settings = {
            "Dir::State": self.folder,
            "Dir::State::status": self.folder / "status",
            "Dir::State::lists": lists,
            "Dir::State::extended_states": self.folder / "extended_states",
            "Dir::Cache": self.folder / "cache",
            "Dir::Cache::archives": self.archives,
            "Dir::Log": self.folder / "log",
            "APT::Architecture": recipe.debian_arch,
        }
        options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        return ("apt-get", "-c", str(self.folder / "apt.conf"), *options, *words)

    async def _verify(self, archive: Archive) -> bool:
        path = self.locate(archive)
        return await trio.to_thread.run_sync(_matches, path, archive)

    async def _run_writing(
        self, recipe: PackageSet, words: Sequence[str], lists: Path, tell: Tell
    ) -> None:
        """Run apt-get so that it reports progress and holds the lock for as long as it lives."""
        reading, writing = os.pipe()
        with tempfile.TemporaryFile(dir=self.folder) as output, os.fdopen(writing, "wb") as status:
            argv = (
                *self._command(recipe, words, lists),
                *("-o", f"APT::Status-Fd={status.fileno()}"),
            )
            async with (
                trio.lowlevel.FdStream(reading) as progress,
                open_process(
                    argv, pass_fds=(status.fileno(), self.lock), stderr=output.fileno()
                ) as process,
            ):
                status.close()
                await _follow(progress, tell)
                code = await process.wait()
            output.seek(0)
            text = output.read().decode(errors="replace")
        if code != 0:
            raise ImageError(
                f"apt could not fetch what {recipe.name} is built of",
                hint="it needs the mirrors in /etc/apt/sources.list*, once; check the network, "
                "a proxy (Acquire::http::Proxy in /etc/apt/apt.conf.d) and the free disk space",
                evidence=ProgramError(argv, code, text).evidence,
            )


def check_packages(name: str, output: str) -> None:
    """Do nothing unless apt says of packages that there are none.

    Args:
        name: What they are for.
        output: What apt has printed.

    Raises:
        ImageError: Which.
    """
    missing = ", ".join(dict.fromkeys(_MISSING.findall(output)))
    if missing:
        raise ImageError(
            f"{name}: there is no package {missing}",
            hint="`apt-cache search WORD` finds packages of the sources in /etc/apt",
            evidence=output,
        )


def parse_uris(text: str) -> tuple[Archive, ...]:
    """Return the packages in the output of ``apt-get --print-uris``, sorted by name."""
    found = (_URI.fullmatch(line.strip()) for line in text.splitlines())
    archives = [
        Archive(
            file=match["file"],
            uri=match["uri"],
            size=int(match["size"]),
            sha256=match["sha256"],
        )
        for match in found
        if match and match["file"].count("_") >= 2
    ]
    return tuple(sorted(archives, key=lambda archive: archive.file))


async def _follow(progress: trio.lowlevel.FdStream, tell: Tell) -> None:
    last = 0
    async for chunk in progress:
        for found in _DOWNLOAD.finditer(chunk.decode(errors="replace")):
            percent = min(int(float(found[1])), 100)
            if percent >= last + PROGRESS_STEP:
                last = percent
                tell(Progress("downloading packages", percent, 100))


def _has_lists(folder: Path) -> bool:
    try:
        return any("_Packages" in path.name for path in folder.iterdir())
    except OSError:
        return False


def _matches(path: Path, archive: Archive) -> bool:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != archive.size:
                return False
            return hashlib.file_digest(file, "sha256").hexdigest() == archive.sha256
    except OSError:
        return False
