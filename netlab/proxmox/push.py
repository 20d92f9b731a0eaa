"""Machines on their way to Proxmox: disks made flat, calls made, and taken back on failure.

What a push makes it takes back when a step fails or it is cancelled: uploads by the names that it
gave them, networks that were not there before, and machines, if they have the tags that they were
created with. What it did not make it never touches.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

import trio

from netlab.errors import NetlabError, ProxmoxError, ProxmoxTaskError
from netlab.proxmox.answers import (
    explain_lacks,
    find_lacks,
    find_other_zone,
    read_names,
    read_records,
)
from netlab.proxmox.api import Api, Host, open_api
from netlab.proxmox.calls import (
    Call,
    DiskCalls,
    MachineCalls,
    PushPlan,
    plan_push,
    with_file,
)
from netlab.proxmox.flat import open_flat
from netlab.proxmox.formats import VMID
from netlab.proxmox.mtu import Offer, find_offers, find_small_offers, state_mtus
from netlab.proxmox.recipe import ZONE, ZONE_TYPE
from netlab.proxmox.target import NewMachine, PushOptions, Source
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

_WRONG = 400
"""What is said of a number that a machine has (nextid in PVE/API2/Cluster.pm)."""

_UNANSWERED = {502, 504, 596, 597}
"""What proxies say of a call that they passed on and that was not answered in time. Proxmox's own,
through which all calls go, waits 30 s (proxy_request in PVE/APIServer/AnyEvent.pm, with the codes
of AnyEvent::HTTP: 596 for what fails once a connection is there, 597 while the answer is read)."""

_NEXT = Call(about="ask for a free number", method="GET", path="/cluster/nextid")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a push is.

    Attributes:
        about: What is done now.
        done: Bytes of the disk that are copied, or of the file that are sent; 0 for other steps.
        size: Bytes that it has; 0 likewise.
        left: Whether it says what could not be taken back: somebody has to do that by hand.
    """

    about: str
    done: int = 0
    size: int = 0
    left: bool = False


Report = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push made.

    Attributes:
        vmids: The machines' numbers.
        networks: The virtual networks that were not there before.
        left: What could not be cleared away afterwards, in words; usually nothing.
    """

    vmids: tuple[int, ...]
    networks: tuple[str, ...]
    left: tuple[str, ...]


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
    machines: Sequence[NewMachine],
    host: Host,
    options: PushOptions,
    *,
    folder: Path,
    report: Report = ignore,
) -> Pushed:
    """Make machines on a host of Proxmox, all of them or none.

    Args:
        machines: The machines, with their disks, which do not change meanwhile.
        host: The host.
        options: Where on it.
        folder: For a flat copy of a disk; it is removed in the end.
        report: Told what is done now.

    Raises:
        ConfigurationError: All that the API does not take from a token; nothing was called then.
        CertificateError: It is another host; nothing was sent then.
        ProxmoxError: A call was refused or a task failed; what was made has been taken back, and
            what could not be is said.
        ProgramError: A disk could not be read.
    """
    async with open_push(machines, host, options, report=report) as opened:
        return await opened.make(machines, folder=folder)


@asynccontextmanager
async def open_push(
    machines: Sequence[NewMachine], host: Host, options: PushOptions, *, report: Report = ignore
) -> AsyncGenerator[Push]:
    """Look at a host, and make the networks that machines need there; the machines come later.

    When the block fails or is cancelled, the networks are taken back.

    Args:
        machines: What is going to be made; their disks need not be there yet.
        host: The host.
        options: Where on it.
        report: Told what is done now.

    Raises:
        NetlabError: As :func:`push` has it.
    """
    # Everything that can be known to be wrong is, before hosts are called and disks are read.
    plan = plan_push(machines, options)
    async with open_api(host) as api:
        opened = Push(api, options, report)
        async with opened.prepared(plan):
            yield opened


@final
class Push:
    """A push under way; from :func:`open_push`."""

    def __init__(self, api: Api, options: PushOptions, report: Report) -> None:
        self._api = api
        self._options = options
        self._report = report
        self._networks: tuple[str, ...] = ()
        self._left: list[str] = []
        self._offers: dict[str, Offer] = {}

    async def make(self, machines: Sequence[NewMachine], *, folder: Path) -> Pushed:
        """Make machines; they are started, if that is wanted, when all of them are there.

        Args:
            machines: Those that the push was opened for, now with their disks.
            folder: For a flat copy of a disk; it is removed in the end.

        Raises:
            NetlabError: As :func:`push` has it.
        """
        plan = plan_push([state_mtus(one, self._offers) for one in machines], self._options)
        async with AsyncExitStack() as made:
            for one in plan.machines:
                await self._make_machine(one, plan, folder, made)
            if self._options.start:
                for one in plan.machines:
                    await self._call(one.start)
        vmids = tuple(one.machine.vmid for one in plan.machines)
        return Pushed(vmids, self._networks, tuple(self._left))

    @asynccontextmanager
    async def prepared(self, plan: PushPlan) -> AsyncGenerator[None]:
        """Look whether everything is there, and make the networks that are not."""
        missing, with_zone = await self._look(plan)
        async with self._with_networks(plan, missing, with_zone=with_zone):
            self._networks = missing
            yield

    async def _call(self, call: Call, lock: str = "") -> Any:
        self._report(Progress(call.about))

        def sent(done: int, size: int) -> None:
            self._report(Progress(call.about, done, size))

        return await self._api.call(call, lock=lock, sent=sent)

    async def _make_machine(
        self, calls: MachineCalls, plan: PushPlan, folder: Path, made: AsyncExitStack
    ) -> None:
        """Make a machine, which the stack takes back with its uploads if something fails later."""
        remove = partial(self._remove_machine, calls.machine)
        await made.enter_async_context(
            self._undone(partial(self._remove_uploads, plan, calls.disks))
        )
        sources = {source.drive: source for source in calls.machine.sources or ()}
        for disk in calls.disks:
            await self._bring(disk, sources[disk.drive], calls.machine.vmid, folder)
        # A create that is refused makes nothing, and the number may be somebody else's by now.
        async with self._undone(remove, unless=_is_refusal):
            await self._call(calls.create)
        await made.enter_async_context(self._undone(remove))
        for disk in calls.disks:
            try:
                await self._call(disk.remove)
            except ProxmoxError as error:
                # The machine is whole without it; who removes the upload by hand has to know.
                self._left.append(str(error))

    async def _bring(self, disk: DiskCalls, source: Source, vmid: int, folder: Path) -> None:
        about = f"make a flat copy of {disk.drive} of {vmid}"
        self._report(Progress(about, 0, source.size))
        copy = folder / disk.name

        def tell(done: int) -> None:
            self._report(Progress(about, done, source.size))

        async with open_flat(source, copy, tell=tell) as digest:
            await self._call(with_file(disk.upload, str(copy), digest))

    async def _look(self, plan: PushPlan) -> tuple[tuple[str, ...], bool]:
        """Return the virtual networks that are missing, and whether their zone is missing, too."""
        looks, options = plan.looks, self._options
        await self._look_at_numbers(looks.numbers)
        disks, imports = [await self._call(look) for look in looks.storages]
        content = read_names(await self._call(looks.content))
        there = read_records(await self._call(looks.bridges))
        known = {str(one.get("iface")) for one in there}
        zones = [zone for look in looks.zones for zone in read_records(await self._call(look))]
        vnets = [vnet for look in looks.vnets for vnet in read_records(await self._call(look))]
        wanted = [one.name for one in options.networks]
        bridges = frozenset[str]().union(*(one.machine.bridges for one in plan.machines))
        # A bridge that the token has no right to is not listed (PVE/API2/Network.pm).
        lacking = sorted(bridges - {*known, *wanted})
        names = {disk.name for one in plan.machines for disk in one.disks}
        missing = tuple(one for one in wanted if one not in known)
        with_zone = all(zone.get("zone") != ZONE for zone in zones)
        made = {"zone": ZONE, "type": ZONE_TYPE, "mtu": options.mtu}
        self._offers = find_offers(
            there,
            [*zones, made] if with_zone else zones,
            [*vnets, *({"vnet": name, "zone": ZONE} for name in missing)],
        )
        wrong = [
            *find_lacks(options.storage, disks, "images"),
            *find_lacks(options.import_storage, imports, "import"),
            *(f"there is no bridge {one}, or the token may not use it" for one in lacking),
            *(
                f"the upload {name} is there already: another push has not ended, or was killed"
                for name in sorted(content & names)
            ),
            *find_other_zone(zones, missing),
            *find_small_offers((one.machine for one in plan.machines), self._offers),
        ]
        if wrong:
            raise explain_lacks(options.node, wrong)
        return missing, with_zone

    async def _look_at_numbers(self, looks: Sequence[Call]) -> None:
        for look in looks:
            try:
                await self._call(look)
            except ProxmoxError as error:
                if error.status == _WRONG:
                    error.hint = "other numbers are given by --vmid"
                raise

    @asynccontextmanager
    async def _with_networks(
        self, plan: PushPlan, missing: tuple[str, ...], *, with_zone: bool
    ) -> AsyncGenerator[None]:
        """Make the virtual networks that are missing; they stay if the block succeeds."""
        if not missing:
            yield
            return
        made = [call for name, call in plan.networks.networks if name in missing]
        removed = [*map(remove_network, missing)]
        if with_zone:
            made, removed = [plan.networks.zone, *made], [*removed, remove_zone()]
        remove = partial(self._change_networks, plan, removed)
        # When its task fails, a change is there nevertheless; before that it was rolled back.
        async with self._undone(remove, unless=_is_before_task):
            await self._change_networks(plan, made)
        async with self._undone(remove):
            yield

    async def _change_networks(self, plan: PushPlan, calls: Sequence[Call]) -> None:
        """Change the virtual networks of the cluster, under its lock: all of it, or nothing.

        The lock keeps the half-done changes of others out, which would be put to work with ours.
        """
        with trio.move_on_after(UNDO_TIMEOUT, shield=True) as scope:
            lock = str(await self._call(plan.networks.lock))

            async def roll_back() -> None:
                await self._call(ROLLBACK, lock)

            async with self._undone(roll_back, unless=_is_task_failure):
                for call in calls:
                    await self._call(call, lock)
                await self._call(plan.networks.apply, lock)
        if scope.cancelled_caught:
            raise ProxmoxError(f"the networks did not change within {UNDO_TIMEOUT:g} s")

    async def _remove_uploads(self, plan: PushPlan, disks: Sequence[DiskCalls]) -> None:
        there = read_names(await self._call(plan.looks.content))
        for disk in disks:
            if disk.name in there:
                await self._call(disk.remove)

    async def _remove_machine(self, machine: NewMachine) -> None:
        vmid, node = machine.vmid, self._options.node
        there = read_records(await self._call(MACHINES))
        for one in (one for one in there if one.get("vmid") == vmid):
            if not machine.tags <= set(str(one.get("tags", "")).split(";")):
                raise ProxmoxError(f"the machine {vmid} has not its tags: left alone")
            if one.get("status") == "running":
                await self._call(stop_machine(vmid, node))
            await self._call(remove_machine(vmid, node))

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
                self._tell(error, f"could not be taken back: {failure}")
        if scope.cancelled_caught:
            self._tell(error, f"could not be taken back within {UNDO_TIMEOUT:g} s")

    def _tell(self, error: BaseException, line: str) -> None:
        """Say what is left where it will be read: a cancellation has no message."""
        if isinstance(error, NetlabError):
            error.evidence = "\n".join(filter(None, (error.evidence, line)))
        else:
            self._report(Progress(line, left=True))


def _is_task_failure(error: BaseException) -> bool:
    return isinstance(error, ProxmoxTaskError)


def _is_before_task(error: BaseException) -> bool:
    return not _is_task_failure(error)


def _is_refusal(error: BaseException) -> bool:
    if not isinstance(error, ProxmoxError):
        return False
    return error.status >= 400 and error.status not in _UNANSWERED
