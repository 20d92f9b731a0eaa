"""Plan -> Lab: images, capacity, sandbox, wiring, machines, in one scope."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from netlab.errors import (
    MachineDiedError,
    MissingFeatureError,
    NetlabError,
    NotReadyError,
    explain_storage,
)
from netlab.image.known import bring_files, find_paths
from netlab.image.progress import Progress
from netlab.image.store import Store, open_store
from netlab.lab.boots import ensure_image, find_servers, open_boots
from netlab.lab.events import EventLog
from netlab.lab.frames import SocketFrames, open_frames
from netlab.lab.node import Circumstances, Node
from netlab.lab.options import Options
from netlab.lab.promises import open_promise
from netlab.machine.accel import AccelChoice, find_obstacle, host_arch, probe, recall
from netlab.machine.boot import Boot
from netlab.machine.cut import Cut, open_cut
from netlab.machine.hostfiles import find_emulators, find_files
from netlab.machine.kept import kept_folder
from netlab.plan.catalogue import DEFAULT_IMAGE, stored_name
from netlab.plan.model import Accel, Plan, SegmentPlan
from netlab.plan.segments import find_node
from netlab.sandbox.sandbox import Counters, Sandbox, check_segments, open_sandbox
from netlab.scopes import open_background, open_tasks

LATE_LINES = 5
"""So many lines of its console are shown of each node that is late."""


class Lab:
    """A live lab; :func:`open_lab` makes it.

    Attributes:
        plan: What it is.
        nodes: Its nodes by name.
        events: What happened so far; follow it for what will.
        sandbox: The namespaces that hold its links and machines.
        folder: Holds the logs of its machines, each node's in ``nodes/NAME``.
        accels: Which accelerator each node runs on, and why, by the node's name.
    """

    def __init__(
        self,
        plan: Plan,
        events: EventLog,
        sandbox: Sandbox,
        accels: Mapping[str, AccelChoice],
        folder: Path,
    ) -> None:
        self.plan = plan
        self.events = events
        self.sandbox = sandbox
        self.folder = folder
        self.accels = accels
        self.nodes: Mapping[str, Node] = {node.name: Node(node, events) for node in plan.nodes}

    def __getitem__(self, name: str) -> Node:
        """Return the node of that name.

        Raises:
            UnknownNameError: There is none.
        """
        return self.nodes[find_node(self.plan, name).name]

    async def wait_ready(self) -> None:
        """Wait until every node is ready; the deadline is the caller's.

        Raises:
            NetlabError: A node failed; the first one's reason.
        """
        async with open_tasks() as tasks:
            for node in self.nodes.values():
                tasks.start_soon(node.wait_ready)

    async def set_link(self, segment: SegmentPlan, *, up: bool) -> None:
        """Pull a segment's cables, or put them back: guests see their carrier change.

        A guest that starts later finds it so, too; a machine that dies meanwhile is no reason to
        leave the others as they were.
        """
        taps = {port.tap for port in segment.ports}
        for port in segment.ports:
            await self.sandbox.set_port(port.tap, up=up)
        for node in self.nodes.values():
            for interface in node.plan.interfaces:
                if interface.tap in taps:
                    with suppress(MachineDiedError):
                        await node.set_link(interface.name, up=up)
        self.events.record("link", f"{segment.name} is {'up' if up else 'down'}")

    async def counters(self) -> Mapping[str, Counters]:
        """Return the counters of every tap, by name."""
        return await self.sandbox.counters()

    @asynccontextmanager
    async def open_cut(self, names: Iterable[str]) -> AsyncGenerator[Cut]:
        """Hold the disks of nodes as they are now; :func:`netlab.machine.cut.open_cut` says more.

        Raises:
            UnknownNameError: There is no such node.
            NotReadyError: One does not run.
            MachineError: A node's disks are held already.
        """
        machines = [self[name].machine for name in names]
        async with open_cut(machines, [machine.folder for machine in machines]) as cut:
            self.events.record("lab", f"{len(machines)} nodes stood still for {cut.pause:.3f} s")
            yield cut

    def open_frames(self, interface: str) -> AbstractAsyncContextManager[SocketFrames]:
        """Hear what passes a tap or a bridge; :func:`netlab.lab.frames.open_frames` says more."""
        return open_frames(self.sandbox, interface)


@asynccontextmanager
async def open_lab(
    plan: Plan,
    *,
    options: Options | None = None,
    folder: Path | None = None,
    store: Store | None = None,
    events: EventLog | None = None,
) -> AsyncGenerator[Lab]:
    """Bring a plan to life for the length of a block.

    The block begins when the links are up and proven and the machines are starting;
    :meth:`Lab.wait_ready` waits for them. When it is left, nothing remains.

    Args:
        plan: What to bring to life. Files that it names are found from the working directory;
            :func:`netlab.plan.files.anchor` has them found from anywhere.
        options: How; the defaults suit most.
        folder: Where logs and disks go; a temporary folder that goes with the lab when None.
        store: The image store; the user's when None.
        events: Where to record what happens.

    Raises:
        HostError: The host lacks something, or memory (CapacityError); nothing was started.
        InputError: A file that the plan names is not what it should be; nothing was started.
        ImageError: An image could not be built.
        SandboxError: The links could not be made, do not carry frames, or went away.
        StorageError: Its folder, or that of what is promised, cannot be written.
    """
    options = options or Options()
    events = events or EventLog()
    store = (store or open_store()).with_images(plan.images)
    async with (
        _open_room(plan, options, folder) as room,
        _open_files(plan, options, store, events, room) as (found, boots),
        _open_links(found, room, events) as sandbox,
    ):
        accels = await _choose_accels(found, options, sandbox, store, events)
        lab = Lab(found, events, sandbox, accels, room)
        async with _open_nodes(lab, boots, slots=options.slots):
            yield lab


@asynccontextmanager
async def _open_room(plan: Plan, options: Options, folder: Path | None) -> AsyncGenerator[Path]:
    """Give a lab its folder, and promise it the memory that it needs."""
    async with AsyncExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="netlab-")))
        if not options.overcommit:
            await stack.enter_async_context(open_promise(plan, wait=options.wait_memory))
        yield folder


@asynccontextmanager
async def _open_files(
    plan: Plan, options: Options, store: Store, events: EventLog, folder: Path
) -> AsyncGenerator[tuple[Plan, dict[str, Boot]]]:
    """Find what a plan needs of this host, before anything starts, and keep its files there.

    The plan comes back with the paths of the files that it names.
    """
    _check_accel(plan, options)
    find_emulators(plan.nodes)
    check_segments(plan.segments)

    def tell(progress: Progress) -> None:
        events.record("image", str(progress))

    plan = await bring_files(plan, plan.nodes, store.downloads, tell=tell)
    firmware = find_files(plan.nodes)
    with store.downloads.hold(find_paths(plan.nodes)):
        async with open_boots(plan, firmware, store=store, events=events, folder=folder) as boots:
            yield plan, boots


@asynccontextmanager
async def _open_links(plan: Plan, folder: Path, events: EventLog) -> AsyncGenerator[Sandbox]:
    """Make the links of a plan, and prove that they carry frames."""
    path = folder / "sandbox.log"
    with explain_storage(path):
        log = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        async with open_sandbox(plan.segments, log=log) as sandbox:
            await sandbox.verify_wiring()
            events.record("sandbox", f"{len(plan.segments)} segments carry frames")
            yield sandbox
    finally:
        os.close(log)


@asynccontextmanager
async def _open_nodes(lab: Lab, boots: Mapping[str, Boot], *, slots: int) -> AsyncGenerator[None]:
    """Run the nodes, so many booting at once; each after those that it boots from."""
    circumstances = Circumstances(
        launcher=lab.sandbox,
        hosts=lab.plan.hosts,
        slots=trio.CapacityLimiter(slots),
        folder=lab.folder / "nodes",
        kept=kept_folder() / lab.plan.lab,
    )
    async with open_background() as tasks:
        for name, node in lab.nodes.items():
            servers = [lab[server] for server in find_servers(lab.plan, node.plan)]
            run = partial(node.run, boots[name], lab.accels[name].accel, circumstances)
            tasks.start_soon(_run_after, servers, run)
        yield


async def _run_after(servers: Sequence[Node], run: Callable[[], Awaitable[None]]) -> None:
    for server in servers:
        # One that fails says so itself; whoever needs it will say what it lacks.
        with suppress(NetlabError):
            await server.wait_ready()
    await run()


async def wait_ready_within(lab: Lab, timeout: float) -> None:
    """Wait until every node is ready, for so many seconds.

    Raises:
        NotReadyError: Some are not in time; the evidence is what each waits for.
        NetlabError: A node failed; the first one's reason.
    """
    with trio.move_on_after(timeout) as deadline:
        await lab.wait_ready()
    if deadline.cancelled_caught:
        raise _late(lab, timeout)


async def watch_ready_within(lab: Lab, timeout: float) -> None:
    """Wait likewise, beside other work: a node that fails or is ended is not told here.

    Raises:
        NotReadyError: Some are not in time; the evidence is what each waits for.
    """
    with trio.move_on_after(timeout) as deadline, suppress(NetlabError):
        await lab.wait_ready()
    if deadline.cancelled_caught:
        raise _late(lab, timeout)


def _late(lab: Lab, timeout: float) -> NotReadyError:
    late = [node for node in lab.nodes.values() if node.state != "ready"]
    return NotReadyError(
        f"{len(late)} of {len(lab.nodes)} nodes are not ready after {timeout:g} s",
        hint="give them longer with --timeout, or fewer at once with --max-workers",
        evidence="\n".join(map(_describe_late, late)),
    )


def _describe_late(node: Node) -> str:
    """Say what a node waits for, and what it printed last while it boots."""
    text = f"{node.plan.name}: {node.state}: {node.reason()}"
    lines = node.machine.console.tail(LATE_LINES) if node.state == "booting" else ()
    return "\n".join((text, *(f"    {line}" for line in lines)))


def _check_accel(plan: Plan, options: Options) -> None:
    """Refuse an accelerator that is insisted on and is not there."""
    asked = [node for node in plan.nodes if (options.accel or node.accel) == "kvm"]
    foreign = next((node for node in asked if node.arch != host_arch()), None)
    if foreign is not None:
        raise MissingFeatureError(
            f"{foreign.name} asks for KVM, and is a machine for {foreign.arch} on a host that is"
            f" {host_arch()}",
            hint="write accel: auto, which emulates what is foreign",
        )
    obstacle = find_obstacle()
    if asked and obstacle:
        raise MissingFeatureError(
            f"{asked[0].name} asks for KVM, and {obstacle}",
            hint="`accel: auto` takes what works; `netlab doctor` says how to get KVM",
        )


async def _choose_accels(
    plan: Plan, options: Options, sandbox: Sandbox, store: Store, events: EventLog
) -> dict[str, AccelChoice]:
    """Return each node's accelerator; what ``auto`` means is only found out when a node asks."""
    choices: dict[tuple[Accel, str], AccelChoice] = {}
    for node in plan.nodes:
        asked = options.accel or node.accel
        if (asked, node.arch) in choices:
            continue
        if asked != "auto":
            choice = AccelChoice(accel=asked, reason="asked for")
        elif node.arch != host_arch():
            choice = AccelChoice(accel="tcg", reason=f"{node.arch} on {host_arch()}")
        else:
            choice = await _probe(sandbox, store, events)
        choices[asked, node.arch] = choice
    for choice in dict.fromkeys(choices.values()):
        events.record("accel", f"{choice.accel}: {choice.reason}")
    return {node.name: choices[options.accel or node.accel, node.arch] for node in plan.nodes}


async def _probe(sandbox: Sandbox, store: Store, events: EventLog) -> AccelChoice:
    """Find out which accelerator works; what is booted for it is the image that boots fastest."""
    obstacle = find_obstacle()
    if obstacle:
        return AccelChoice(accel="tcg", reason=obstacle)
    known = recall()
    if known is not None:
        return known
    name = stored_name(DEFAULT_IMAGE, host_arch())
    image = await ensure_image(name, store, events)
    boot = Boot(kernel=str(image.kernel), initrd=str(image.initrd), append=image.append)
    return await probe(sandbox, boot)
