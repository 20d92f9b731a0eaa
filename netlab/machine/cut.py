"""Machines' disks as they were at one moment, to be read while the machines go on.

Before each disk goes a filter that saves what the guest is about to write over ("image fleecing"),
and what the disk was at that moment is offered over NBD on a Unix socket. All is made ready first;
then file systems are frozen where the agent can, every machine is stopped, every filter put in its
place, and everything goes on: the moment is the same for all. Source: QEMU's "Live Block Device
Operations" and its block-core schema (``copy-before-write``, ``snapshot-access``; QEMU 7.1).

A guest never waits for who reads, and never meets an error of theirs: if what is saved finds no
room, reading fails and the guest goes on (``on-cbw-error=break-snapshot``).
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import trio

from netlab.errors import AgentError, MachineError, NetlabError, QMPCommandError, explain_storage
from netlab.machine.boot import VARIABLES
from netlab.machine.machine import Machine
from netlab.scopes import open_tasks

FREEZE_LIMIT = 5.0
"""Seconds that a guest gets to freeze its file systems; it waits for what is being written."""

CLEAN_UP_LIMIT = 10.0
"""Seconds that a machine gets to go back to how it was, and to thaw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutDisk:
    """A disk as it was.

    Attributes:
        name: The export's name: ``disk0`` for the machine's first disk.
        size: Bytes.
    """

    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineCut:
    """A machine's disks as they were.

    Attributes:
        node: The node's name.
        socket: Where its disks are offered over NBD.
        disks: In the machine's order.
        frozen: Number of file systems that were frozen at that moment.
        unplugged: Interfaces whose cable was out.
        variables: A copy of what its firmware kept, for as long as the disks are held; or None.
    """

    node: str
    socket: str
    disks: tuple[CutDisk, ...]
    frozen: int
    unplugged: tuple[str, ...] = ()
    variables: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One moment of several machines.

    Attributes:
        pause: Seconds that they stood still, from the first that stopped to the last that went on.
        machines: In the order asked for.
    """

    pause: float
    machines: tuple[MachineCut, ...]


def read_cut(record: Mapping[str, Any]) -> Cut:
    """Return the cut that :func:`dataclasses.asdict` made a record of."""
    machines = [
        MachineCut(
            node=one["node"],
            socket=one["socket"],
            disks=tuple(CutDisk(**disk) for disk in one["disks"]),
            frozen=one["frozen"],
            unplugged=tuple(one["unplugged"]),
            variables=one["variables"],
        )
        for one in record["machines"]
    ]
    return Cut(pause=record["pause"], machines=tuple(machines))


@asynccontextmanager
async def open_cut(machines: Sequence[Machine], folders: Sequence[Path]) -> AsyncGenerator[Cut]:
    """Hold the disks of machines as they are now, for the block's length.

    When it is left nothing of it remains in QEMU, and nothing on disk.

    Args:
        machines: Which; those without a disk are stopped with the others.
        folders: For each, where there is room for what it writes meanwhile.

    Raises:
        MachineError: A machine's disks are held already, or QEMU refuses.
        MachineDiedError: A QEMU ended.
        StorageError: A folder cannot be written.
    """
    async with AsyncExitStack() as stack:
        with explain_storage(Path(tempfile.gettempdir())):
            temporary = tempfile.TemporaryDirectory(prefix="netlab-", ignore_cleanup_errors=True)
        sockets = Path(stack.enter_context(temporary))
        held: list[_Held] = []
        for index, (machine, folder) in enumerate(zip(machines, folders, strict=True)):
            path = sockets / str(index)
            held.append(await stack.enter_async_context(_prepare(machine, folder, path)))
        frozen, pause = await _take(held, stack)
        for one in held:
            await _offer(one, stack)
        yield Cut(
            pause=pause,
            machines=tuple(
                MachineCut(
                    node=one.machine.node.name,
                    socket=str(sockets / str(index)),
                    disks=one.disks,
                    frozen=frozen[index],
                    unplugged=tuple(sorted(one.machine.unplugged)),
                    variables=one.copied,
                )
                for index, one in enumerate(held)
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A machine whose disks are ready to be held.

    Attributes:
        machine: The machine.
        disks: Its disks.
        variables: The file with what its firmware keeps, and where a copy goes; or None.
    """

    machine: Machine
    disks: tuple[CutDisk, ...]
    variables: tuple[Path, Path] | None

    @property
    def copied(self) -> str | None:
        """Where the copy of the variables is."""
        return None if self.variables is None else str(self.variables[1])

    async def stop(self) -> None:
        """Stop its CPUs."""
        await self.machine.qmp.execute("stop")

    async def go_on(self) -> None:
        """Let its CPUs go on."""
        await self.machine.qmp.execute("cont")

    async def hold(self, stack: AsyncExitStack) -> None:
        """Put the filters before its disks, and copy its variables.

        The stack takes away the filters that are there.
        QEMU 7.2 aborts when a device is given the disk that it has.
        """
        if self.variables is not None:
            with explain_storage(self.variables[1].parent):
                await trio.to_thread.run_sync(shutil.copyfile, *self.variables)
        for disk in self.disks:
            await self._plug(disk, f"cut-filter-{disk.name}")
            stack.push_async_callback(_quietly, partial(self._plug, disk, disk.name))

    async def _plug(self, disk: CutDisk, node: str) -> None:
        device = f"/machine/peripheral/blk{disk.name.removeprefix('disk')}"
        await _surely(self.machine, "qom-set", path=device, property="drive", value=node)


@asynccontextmanager
async def _prepare(machine: Machine, folder: Path, path: Path) -> AsyncGenerator[_Held]:
    async with AsyncExitStack() as stack:
        disks = await _find_disks(machine)
        if disks:
            await _serve(machine, path, stack)
        for disk in disks:
            await _add_nodes(machine, disk, folder, stack)
        variables = folder / VARIABLES
        # What QEMU itself writes, a few hundred KiB: no filter is needed for these.
        kept = (variables, path.with_suffix(".fd")) if variables.exists() else None
        yield _Held(machine=machine, disks=disks, variables=kept)


async def _find_disks(machine: Machine) -> tuple[CutDisk, ...]:
    answer = await machine.qmp.execute("query-named-block-nodes", flat=True)
    nodes = cast("list[dict[str, Any]]", answer)
    sizes = {str(node["node-name"]): int(node["image"]["virtual-size"]) for node in nodes}
    names = [name for name in sizes if name.startswith("disk") and name[4:].isdecimal()]
    return tuple(
        CutDisk(name=name, size=sizes[name])
        for name in sorted(names, key=lambda name: int(name[4:]))
    )


async def _serve(machine: Machine, path: Path, stack: AsyncExitStack) -> None:
    """Let QEMU offer what it holds on a socket that is already there, for us alone."""
    with _listen(path) as listener:
        await machine.qmp.give_descriptor("cut", listener.fileno())
    try:
        await _surely(machine, "nbd-server-start", addr={"type": "fd", "data": {"str": "cut"}})
    except QMPCommandError as error:
        with suppress(NetlabError):
            await machine.qmp.execute("closefd", fdname="cut")
        raise MachineError(
            f"{machine.node.name}: its disks are held by somebody else already",
            hint="wait for the export that is under way, or end it",
            evidence=error.message,
        ) from error
    stack.push_async_callback(_quietly, partial(machine.qmp.execute, "nbd-server-stop"))


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen()
    return listener


async def _add_nodes(machine: Machine, disk: CutDisk, folder: Path, stack: AsyncExitStack) -> None:
    saved = f"cut-saved-{disk.name}"
    with _sparse_file(folder, disk.size) as path:
        await _add_node(
            machine,
            stack,
            saved,
            driver="raw",
            discard="unmap",
            file={"driver": "file", "filename": str(path), "discard": "unmap"},
        )
    await _add_node(
        machine,
        stack,
        f"cut-filter-{disk.name}",
        driver="copy-before-write",
        file=disk.name,
        target=saved,
        **{"on-cbw-error": "break-snapshot"},
    )


async def _offer(held: _Held, stack: AsyncExitStack) -> None:
    """Let the disks be read as they were; only a filter in its place can be looked through."""
    machine = held.machine
    for disk in held.disks:
        access = f"cut-access-{disk.name}"
        await _add_node(
            machine, stack, access, driver="snapshot-access", file=f"cut-filter-{disk.name}"
        )
        export = {"type": "nbd", "node-name": access, "name": disk.name, "writable": False}
        await _surely(machine, "block-export-add", id=access, **export)
        stack.push_async_callback(_quietly, partial(_end_export, machine, access))


async def _add_node(machine: Machine, stack: AsyncExitStack, name: str, **options: object) -> None:
    await _surely(machine, "blockdev-add", **{"node-name": name, **options})
    stack.push_async_callback(
        _quietly, partial(machine.qmp.execute, "blockdev-del", **{"node-name": name})
    )


@contextmanager
def _sparse_file(folder: Path, size: int) -> Generator[Path]:
    """Make a file that loses its name when QEMU has it open: it goes with whatever ends first."""
    with explain_storage(folder):
        descriptor, name = tempfile.mkstemp(prefix="cut-", dir=folder)
    try:
        with explain_storage(Path(name)), os.fdopen(descriptor, "wb") as file:
            file.truncate(size)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


async def _end_export(machine: Machine, name: str) -> None:
    with machine.qmp.events("BLOCK_EXPORT_DELETED") as events:
        await machine.qmp.execute("block-export-del", id=name, mode="hard")
        await events.wait(lambda event: event.data.get("id") == name)


async def _surely(machine: Machine, command: str, **arguments: object) -> None:
    """Run a command whose outcome is known, also when cancelled: it might have to be undone.

    Raises:
        MachineError: QEMU refuses, has ended, or does not answer.
    """
    with trio.move_on_after(CLEAN_UP_LIMIT, shield=True):
        await machine.qmp.execute(command, **arguments)
        return
    raise MachineError(f"{machine.node.name}: QEMU does not answer its monitor")


async def _quietly(function: Callable[[], Awaitable[object]]) -> bool:
    """Undo one thing, whatever happens; a machine that has ended has nothing to undo.

    Returns:
        Whether it was undone.
    """
    with trio.move_on_after(CLEAN_UP_LIMIT, shield=True), suppress(NetlabError):
        await function()
        return True
    return False


async def _take(held: Sequence[_Held], stack: AsyncExitStack) -> tuple[list[int], float]:
    """Hold all at one moment; return the numbers of file systems frozen, and the pause."""
    async with _freezing([one.machine for one in held]) as frozen:
        running = [one for one in held if await _runs(one.machine)]
        started = trio.current_time()
        try:
            await _all(one.stop for one in running)
            await _all(partial(one.hold, stack) for one in held)
        finally:
            async with open_tasks() as tasks:
                for one in running:
                    tasks.start_soon(_quietly, one.go_on)
        pause = trio.current_time() - started
    return frozen, pause


async def _all(functions: Iterable[Callable[[], Awaitable[object]]]) -> None:
    async with open_tasks() as tasks:
        for function in functions:
            tasks.start_soon(function)


async def _runs(machine: Machine) -> bool:
    status = cast("dict[str, object]", await machine.qmp.execute("query-status"))
    return bool(status.get("running"))


@asynccontextmanager
async def _freezing(machines: Sequence[Machine]) -> AsyncGenerator[list[int]]:
    """Freeze the file systems of those whose agent can; they are thawed, whatever happens."""
    frozen = [0] * len(machines)
    asked = [(index, machine) for index, machine in enumerate(machines) if machine.node.agent]

    async def freeze(index: int, machine: Machine) -> None:
        with trio.move_on_after(FREEZE_LIMIT), suppress(AgentError):
            frozen[index] = await machine.agent.freeze()

    async def thaw(machine: Machine) -> None:
        if not await _quietly(machine.agent.thaw):
            # It may be freezing even now, or begin when it wakes: it must not end with that.
            await _quietly(machine.agent.post_thaw)

    try:
        async with open_tasks() as tasks:
            for index, machine in asked:
                tasks.start_soon(freeze, index, machine)
        yield frozen
    finally:
        # Also those that did not answer in time: they may have frozen since.
        async with open_tasks() as tasks:
            for _, machine in asked:
                tasks.start_soon(thaw, machine)
