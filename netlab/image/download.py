"""Files of the net that are known by their digest: fetched once, resumed, and looked at.

A download that breaks goes on where it was (RFC 9110, 14.2: Range), in this run or in a later one.
What came counts only when its digest is the one that was asked for; so neither the server nor the
way to it has to be trusted, and a file may as well be put there by hand.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import AsyncIterator, Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx
import trio

from netlab.errors import CapacityError, ImageError
from netlab.image.build import sync_folder
from netlab.image.lock import open_lock, seize, share
from netlab.image.progress import Progress, Tell

_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")
_CHUNK = 1 << 20
"""Bytes that are read again for the digest at once."""

_CONNECT_LIMIT, _SILENCE_LIMIT = 30.0, 60.0
"""Seconds until a server is taken for gone. How long all of it may take is the caller's matter."""

_IN_VAIN = 3
"""How often in a row a connection may bring nothing before that is an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file of the net.

    Attributes:
        url: Where it is, by http or https.
        algorithm: ``sha256`` or ``sha512``.
        digest: Of its content, in lower-case hexadecimal digits.
    """

    url: str
    algorithm: str
    digest: str

    @property
    def name(self) -> str:
        """What it is called where it is kept."""
        return f"{self.algorithm}-{self.digest}"


class Downloads:
    """Files that were fetched, in one folder. Safe to use from several processes at once.

    ::

        ALGORITHM-DIGEST        complete, only ever read
        ALGORITHM-DIGEST.part   what has come of it
        ALGORITHM-DIGEST.lock   held by whoever fetches it

    Attributes:
        folder: Where it is. It need not be there before the first download.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def path(self, file: RemoteFile) -> Path:
        """Return where a file is once it has been fetched."""
        return self.folder / file.name

    async def ensure(self, file: RemoteFile, *, progress: Tell | None = None) -> Path:
        """Return a file of the net, fetched unless it is there.

        Cancelled or broken off, what has come stays, and the next call goes on from there.

        Args:
            file: Which.
            progress: Told how many bytes there are.

        Raises:
            ImageError: It cannot be fetched, or is something else than was asked for.
            CapacityError: The disk is full; nothing of the file is left.
        """
        path = self.path(file)
        if path.exists():
            return path
        tell = progress or _ignore
        part = path.with_name(f"{file.name}.part")
        with _explained(file, part):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = path.with_name(f"{file.name}.lock")
            async with open_lock(lock, waiting=lambda: tell(Progress("waiting for a download"))):
                if not path.exists():
                    await _complete(file, part, tell)
                    part.chmod(0o444)
                    part.rename(path)
                    sync_folder(self.folder)
        return path

    @contextmanager
    def hold(self, paths: Iterable[Path]) -> Generator[None]:
        """Keep files from being cleared away for the length of a block; others do not matter.

        Args:
            paths: Any files, those of this folder among them.

        Raises:
            ImageError: One has just been cleared away.
        """
        with ExitStack() as stack:
            for path in paths:
                if path.parent != self.folder:
                    continue
                descriptor = share(path)
                if descriptor is None:
                    raise ImageError(f"{path} has been cleared away", hint="do the same again")
                stack.callback(os.close, descriptor)
            yield

    def prune(self, kept: Iterable[Path]) -> int:
        """Remove what nobody holds or fetches; return how many bytes that were.

        Args:
            kept: Files that are needed all the same.

        Raises:
            OSError: The folder cannot be written.
        """
        needed = {*self.folder.glob("*.lock"), *kept}
        freed = 0
        for path in set(self.folder.glob("*")) - needed:
            # What has come of a file belongs to who fetches it, and locks are for ever.
            held = seize(path.with_suffix(".lock") if path.suffix == ".part" else path)
            if held is not None:
                freed += path.stat().st_size
                path.unlink()
                os.close(held)
        return freed


def _ignore(_progress: Progress) -> None:
    """Tell nobody."""


async def _complete(file: RemoteFile, part: Path, tell: Tell) -> None:
    """Bring a part to the whole file, whose digest has been looked at."""
    there = _size(part) > 0
    if there and await hash_file(part, file.algorithm, tell) == file.digest:
        return
    await _fetch(file, part, tell)
    found = await hash_file(part, file.algorithm, tell)
    if found != file.digest and there:
        # What was there before may have been the beginning of something else.
        _remove(part)
        await _fetch(file, part, tell)
        found = await hash_file(part, file.algorithm, tell)
    if found == file.digest:
        return
    _remove(part)
    raise ImageError(
        f"{file.url}: what came is not what was asked for",
        hint="the file there has changed, or the digest is another file's: see its publisher's",
        evidence=f"asked for: {file.algorithm}:{file.digest}\nwhat came: {file.algorithm}:{found}",
    )


async def _fetch(file: RemoteFile, part: Path, tell: Tell) -> None:
    """Fetch what is missing, over as many connections as it takes."""
    timeout = httpx.Timeout(_SILENCE_LIMIT, connect=_CONNECT_LIMIT)
    async with httpx.AsyncClient(follow_redirects=True, timeout=timeout) as client:
        in_vain = 0
        while True:
            before = _size(part)
            try:
                await _fetch_on(client, file, part, tell)
            except httpx.TransportError as error:
                in_vain = 0 if _size(part) > before else in_vain + 1
                if in_vain == _IN_VAIN:
                    raise _cannot(file, part, str(error) or type(error).__name__) from error
            else:
                return


async def _fetch_on(client: httpx.AsyncClient, file: RemoteFile, part: Path, tell: Tell) -> None:
    """Fetch over one connection.

    Raises:
        httpx.TransportError: It broke; what has come is in the part.
    """
    size = _size(part)
    # The bytes themselves, as the digest is theirs.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={size}-"} if size else {})}
    async with client.stream("GET", file.url, headers=headers) as response:
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return
        if response.status_code not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            reason = f"{response.status_code} {response.reason_phrase}"
            raise _cannot(file, part, f"the server answers {reason}")
        begin = _beginning(response)
        length = response.headers.get("Content-Length", "")
        total = begin + int(length) if length.isdecimal() else 0
        await _write(response.aiter_raw(), part, begin, total, tell)


async def _write(
    chunks: AsyncIterator[bytes], part: Path, begin: int, total: int, tell: Tell
) -> None:
    async with await trio.open_file(part, "ab", buffering=0) as opened:
        await opened.truncate(begin)
        async for chunk in chunks:
            await opened.write(chunk)
            begin += len(chunk)
            tell(Progress("download", begin, total))
        await trio.to_thread.run_sync(os.fsync, opened.fileno())


def _beginning(response: httpx.Response) -> int:
    """Return from which byte on the server sends: not every one knows ranges."""
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status_code != HTTPStatus.PARTIAL_CONTENT or found is None:
        return 0
    return int(found[1])


async def hash_file(path: Path, algorithm: str, tell: Tell) -> str:
    """Return the digest of a file's content, in hexadecimal digits.

    Args:
        path: The file.
        algorithm: ``sha256`` or ``sha512``.
        tell: Told how much has been read.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.new(algorithm)
    total = _size(path)
    done = 0
    async with await trio.open_file(path, "rb", buffering=0) as opened:
        while chunk := await opened.read(_CHUNK):
            await trio.to_thread.run_sync(digest.update, chunk)
            done += len(chunk)
            tell(Progress("check", done, total))
    return digest.hexdigest()


def _remove(part: Path) -> None:
    part.unlink(missing_ok=True)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _cannot(file: RemoteFile, part: Path, reason: str) -> ImageError:
    return ImageError(
        f"{file.url} cannot be fetched: {reason}",
        hint=f"fetch it where that is possible, and put it here: {part}",
        evidence=f"{file.algorithm}:{file.digest}",
    )


@contextmanager
def _explained(file: RemoteFile, part: Path) -> Generator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        # Redirections without end, answers that are no HTTP.
        raise _cannot(file, part, str(error)) from error
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise ImageError(f"{part}: {error.strerror}") from error
        _remove(part)
        raise CapacityError(
            f"{part.parent}: no room for {file.url}",
            hint="make room, or set XDG_CACHE_HOME to a folder with more",
        ) from error
