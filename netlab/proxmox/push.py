"""A machine on its way to Proxmox: its disks made flat, the calls made, and taken back on failure.

What a push makes it takes back when a step fails or it is cancelled: uploads by the names that it
gave them, networks that were not there before, and the machine, if it has the tags that it was
created with. What it did not make it never touches.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import trio

from netlab import process
from netlab.errors import NetlabError, ProxmoxError, ProxmoxTaskError
from netlab.proxmox.api import Api, Host, open_api
from netlab.proxmox.calls import Call, PushOptions, PushPlan, Upload, plan_push
from netlab.proxmox.configuration import Configuration
from netlab.proxmox.formats import VMID
from netlab.proxmox.recipe import ZONE
from netlab.proxmox.undo import (
    MACHINES,
    ROLLBACK,
    remove_machine,
    remove_network,
    remove_zone,
    stop_machine,
)

UNDO_TIMEOUT = 120.0
"""Seconds that taking back may take, also when the push was cancelled."""

_UNKNOWN = "SHA256"
"""A digest's place in a dry run, in which no disk is read."""


_NEXT = Call(about="ask for a free number", method="GET", path="/cluster/nextid")

_CONTENT = 3
"""Which of a plan's looks lists the uploads."""


@dataclass(frozen=True, slots=True)
class Source:
    """A disk of the machine: the drive that it becomes, a file, and the file's format.

    The format is said, never guessed: a guest can write to its raw disk whatever looks like another
    format, with any file of the host's behind it.
    """

    drive: str
    path: Path
    format: Literal["raw", "qcow2"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a push is.

    Attributes:
        about: What is done now.
        done: Bytes of the file that are sent; 0 for a step without one.
        size: Bytes that it has; 0 likewise.
    """

    about: str
    done: int = 0
    size: int = 0


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push made.

    Attributes:
        vmid: The machine's number.
        networks: The virtual networks that were not there before.
        left: What could not be cleared away afterwards, in words; usually nothing.
    """

    vmid: int
    networks: tuple[str, ...]
    left: tuple[str, ...]


def dry_run(
    configuration: Configuration, sources: Sequence[Source], options: PushOptions
) -> tuple[Call, ...]:
    """Return every call that a push would make with nothing there and nothing failing.

    Args:
        configuration: The machine.
        sources: Its disks; they are not read, so the calls lack their digests.
        options: Where it goes.

    Raises:
        ConfigurationError: All that the API would not take.
    """
    uploads = tuple(Upload(one.drive, str(one.path), _UNKNOWN) for one in sources)
    return tuple(plan_push(configuration, uploads, options))


async def find_vmid(host: Host) -> int:
    """Return the lowest number that no machine of a cluster has at the moment.

    Args:
        host: A host of the cluster.

    Raises:
        ProxmoxError: It refuses, or does not answer.
    """
    async with open_api(host) as api:
        answer = str(await api.call(_NEXT))
    if VMID.mistakes(answer):
        raise ProxmoxError(f"{host.address} says that {answer[:80]!r} is free: no number")
    return int(answer)


async def push(
    configuration: Configuration,
    sources: Sequence[Source],
    host: Host,
    options: PushOptions,
    *,
    folder: Path,
    report: Report = lambda _: None,
) -> Pushed:
    """Make a machine on a host of Proxmox.

    Args:
        configuration: The machine.
        sources: Its disks, which do not change meanwhile.
        host: The host.
        options: Where on it.
        folder: For the flat copies of the disks; they are removed in the end.
        report: Told what is done now.

    Raises:
        ConfigurationError: All that the API does not take from a token; nothing was called then.
        CertificateError: It is another host; nothing was sent then.
        ProxmoxError: A call was refused or a task failed; what was made has been taken back, and
            what could not be is said.
        ProgramError: A disk could not be read.
    """
    # Everything that can be known to be wrong is, before disks are read and hosts are called.
    dry_run(configuration, sources, options)
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(open_api(host))
        uploads = await stack.enter_async_context(_flat_copies(sources, folder, report))
        return await _Push(api, plan_push(configuration, uploads, options), report).run()


@asynccontextmanager
async def _flat_copies(
    sources: Sequence[Source], folder: Path, report: Report
) -> AsyncGenerator[tuple[Upload, ...]]:
    paths = [folder / f"{one.drive}.flat" for one in sources]
    try:
        uploads: list[Upload] = []
        for source, path in zip(sources, paths, strict=True):
            report(Progress(f"make a flat copy of {source.drive}"))
            # The firmware's variables have an exact size, which only a raw file shows plainly.
            kind = "raw" if source.drive == "efidisk0" else "qcow2"
            origin, target = str(source.path.absolute()), str(path.absolute())
            await process.run([
                "qemu-img",
                "convert",
                "-f",
                source.format,
                "-O",
                kind,
                origin,
                target,
            ])
            digest = await trio.to_thread.run_sync(_digest, path)
            uploads.append(Upload(source.drive, target, digest))
        yield tuple(uploads)
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Push:
    def __init__(self, api: Api, plan: PushPlan, report: Report) -> None:
        self._api = api
        self._plan = plan
        self._options = plan.options
        self._report = report
        self._left: list[str] = []

    async def run(self) -> Pushed:
        missing, with_zone = await self._look()
        async with (
            self._networks(missing, with_zone=with_zone),
            self._undone(self._remove_uploads),
        ):
            for call in self._plan.uploads:
                await self._call(call)
            # A create that is refused makes nothing, and the number may be somebody else's by now.
            async with self._undone(self._remove_machine, unless=_is_refusal):
                await self._call(self._plan.create)
            async with self._undone(self._remove_machine):
                await self._finish()
        return Pushed(self._options.vmid, missing, tuple(self._left))

    async def _call(self, call: Call, lock: str = "") -> Any:
        self._report(Progress(call.about))

        def sent(done: int, size: int) -> None:
            self._report(Progress(call.about, done, size))

        return await self._api.call(call, lock=lock, sent=sent)

    async def _look(self) -> tuple[tuple[str, ...], bool]:
        """Return the virtual networks that are missing, and whether their zone is missing, too."""
        _, disks, imports, content, bridges, *zones = [
            await self._call(call) for call in self._plan.looks
        ]
        wanted = [one.name for one in self._options.networks]
        known = {str(one.get("iface")) for one in _records(bridges)}
        wrong = [
            *_lacks(self._options.storage, disks, "images"),
            *_lacks(self._options.import_storage, imports, "import"),
            *(
                f"there is no bridge {one}"
                for one in self._plan.bridges
                if one not in {*known, *wanted}
            ),
            *(
                f"the upload {volume} is there already: another push has not ended, or was killed"
                for volume in sorted(_names(content) & {name for name, _ in self._files()})
            ),
        ]
        if wrong:
            message = f"{self._options.node} cannot take the machine: {wrong[0]}"
            raise ProxmoxError(message, evidence="\n".join(wrong))
        missing = tuple(one for one in wanted if one not in known)
        return missing, all(one.get("zone") != ZONE for part in zones for one in _records(part))

    @asynccontextmanager
    async def _networks(self, missing: tuple[str, ...], *, with_zone: bool) -> AsyncGenerator[None]:
        """Make the virtual networks that are missing; they stay if the block succeeds."""
        if not missing:
            yield
            return
        made = [call for name, call in self._plan.networks if name in missing]
        removed = [*map(remove_network, missing)]
        if with_zone:
            made, removed = [self._plan.zone, *made], [*removed, remove_zone()]

        async def remove() -> None:
            await self._change_networks(removed)

        # When its task fails, a change is there nevertheless; before that it was rolled back.
        async with self._undone(remove, unless=_is_before_task):
            await self._change_networks(made)
        async with self._undone(remove):
            yield

    async def _change_networks(self, calls: Sequence[Call]) -> None:
        """Change the virtual networks of the cluster, under its lock: all of it, or nothing.

        The lock keeps the half-done changes of others out, which would be put to work with ours.
        """
        with trio.move_on_after(UNDO_TIMEOUT, shield=True) as scope:
            lock = str(await self._call(self._plan.lock))

            async def roll_back() -> None:
                await self._call(ROLLBACK, lock)

            async with self._undone(roll_back, unless=_is_task_failure):
                for call in calls:
                    await self._call(call, lock)
                await self._call(self._plan.apply, lock)
        if scope.cancelled_caught:
            raise ProxmoxError(f"the networks did not change within {UNDO_TIMEOUT:g} s")

    async def _finish(self) -> None:
        for call in self._plan.clean:
            try:
                await self._call(call)
            except ProxmoxError as error:
                # The machine is whole without it; who removes the upload by hand has to know.
                self._left.append(str(error))
        if self._plan.start is not None:
            await self._call(self._plan.start)

    async def _remove_uploads(self) -> None:
        listing = self._plan.looks[_CONTENT]
        there = _names(await self._call(listing))
        for name, call in self._files():
            if name in there:
                await self._call(call)

    async def _remove_machine(self) -> None:
        machines = _records(await self._call(MACHINES))
        ours = [one for one in machines if one.get("vmid") == self._options.vmid]
        for one in ours:
            if not self._plan.tags <= set(str(one.get("tags", "")).split(";")):
                raise ProxmoxError(f"the machine {self._options.vmid} has not its tags: left alone")
            if one.get("status") == "running":
                await self._call(stop_machine(self._options))
            await self._call(remove_machine(self._options))

    def _files(self) -> list[tuple[str, Call]]:
        """Return the name of every upload with the call that removes it."""
        names = [dict(call.parameters)["filename"] for call in self._plan.uploads]
        return list(zip(names, self._plan.clean, strict=True))

    @asynccontextmanager
    async def _undone(
        self,
        undo: Callable[[], Awaitable[None]],
        *,
        unless: Callable[[BaseException], bool] = lambda _: False,
    ) -> AsyncGenerator[None]:
        """Undo something if the block fails or is cancelled."""
        try:
            yield
        except BaseException as error:
            if not unless(error):
                await self._undo(undo, error)
            raise

    async def _undo(self, undo: Callable[[], Awaitable[None]], error: BaseException) -> None:
        with trio.CancelScope(shield=True, relative_deadline=UNDO_TIMEOUT) as scope:
            try:
                await undo()
            except NetlabError as failure:
                _add(error, f"could not be taken back: {failure}")
        if scope.cancelled_caught:
            _add(error, f"could not be taken back within {UNDO_TIMEOUT:g} s")


def _add(error: BaseException, line: str) -> None:
    if isinstance(error, NetlabError):
        error.evidence = "\n".join(filter(None, (error.evidence, line)))
    else:
        error.add_note(line)


def _is_task_failure(error: BaseException) -> bool:
    return isinstance(error, ProxmoxTaskError)


def _is_before_task(error: BaseException) -> bool:
    return not _is_task_failure(error)


def _is_refusal(error: BaseException) -> bool:
    return isinstance(error, ProxmoxError) and error.status >= 400


def _lacks(storage: str, status: object, content: str) -> list[str]:
    found = cast("dict[str, Any]", status) if isinstance(status, dict) else {}
    if not found.get("active", 1):
        return [f"the storage {storage} is not active"]
    if content not in str(found.get("content", "")).split(","):
        return [f"the storage {storage} does not take content of type {content}"]
    return []


def _names(listing: object) -> set[str]:
    return {str(one.get("volid")).rpartition("/")[2] for one in _records(listing)}


def _records(listing: object) -> list[dict[str, Any]]:
    elements = cast("list[object]", listing) if isinstance(listing, list) else []
    return [cast("dict[str, Any]", element) for element in elements if isinstance(element, dict)]
