"""What each node of a lab boots from, and which nodes have to be there first."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio

from netlab.errors import InputError
from netlab.image.netboot import write_netboot
from netlab.image.progress import Progress, Tell
from netlab.image.store import Image, Store
from netlab.lab.events import EventLog
from netlab.machine.boot import Boot, FirmwareFiles, ImageFiles, choose_boot
from netlab.machine.seed import make_seed
from netlab.machine.shares import choose_shares, find_virtiofsd
from netlab.plan.catalogue import IMAGES, stored_name
from netlab.plan.images import name_of
from netlab.plan.machines import least_memory
from netlab.plan.model import NodePlan, Plan


@asynccontextmanager
async def open_boots(
    plan: Plan,
    firmware: Mapping[str, FirmwareFiles | None],
    *,
    store: Store,
    events: EventLog,
    folder: Path,
) -> AsyncGenerator[dict[str, Boot]]:
    """Find out what each node boots from, with the images that are needed.

    Args:
        plan: The lab.
        firmware: The UEFI firmware of each node by its name; None for QEMU's own.
        store: Where images are, or will be.
        events: Told what is built.
        folder: The lab's. What is served to nodes that boot from the network is made there, and
            goes with the block.

    Raises:
        ImageError: An image could not be built.
        InputError: A node has too little memory for one.
    """
    served = {name for node in plan.nodes for disk in node.disks if (name := disk.image)}
    booted = [_stored(node) for node in plan.nodes if _stored(node)]
    async with (
        _open_images((*booted, *sorted(served)), store, events) as images,
        _open_served({name: images[name] for name in served}, folder) as paths,
    ):
        for node in plan.nodes:
            _check_memory(node, images.get(_named(node)))
        boots = _choose_boots(plan, firmware, images, paths, folder)
        _tell_shares(boots, events)
        yield boots


def _choose_boots(
    plan: Plan,
    firmware: Mapping[str, FirmwareFiles | None],
    images: Mapping[str, Image],
    served: Mapping[str, Path],
    folder: Path,
) -> dict[str, Boot]:
    """Return what each node boots from, now that all that it may be is there."""
    virtiofsd = find_virtiofsd()

    def choose(node: NodePlan) -> Boot:
        boot = choose_boot(
            node,
            _files(images.get(_stored(node))),
            own=lambda name: str(folder.absolute() / "nodes" / node.name / name),
            firmware=firmware[node.name],
            netboot=lambda name: str(served[name].absolute()),
            seed=make_seed(node, plan.hosts),
        )
        return replace(boot, shares=choose_shares(node, virtiofsd))

    return {node.name: choose(node) for node in plan.nodes}


@asynccontextmanager
async def _open_images(
    names: Iterable[str], store: Store, events: EventLog
) -> AsyncGenerator[dict[str, Image]]:
    """Build images that are not there, and keep all of them from being removed."""
    async with AsyncExitStack() as stack:
        images: dict[str, Image] = {}
        for name in dict.fromkeys(names):
            opening = store.open_image(name, progress=_make_tell(name, events))
            images[name] = await stack.enter_async_context(opening)
        yield images


@asynccontextmanager
async def _open_served(
    images: Mapping[str, Image], folder: Path
) -> AsyncGenerator[dict[str, Path]]:
    """Make what nodes boot from over the network."""
    paths = {name: folder / f"netboot-{name}.tar" for name in images}
    try:
        for name, path in paths.items():
            await trio.to_thread.run_sync(write_netboot, images[name], path)
        yield paths
    finally:
        for path in paths.values():
            path.unlink(missing_ok=True)


def _tell_shares(boots: Mapping[str, Boot], events: EventLog) -> None:
    """Say how shares get into their nodes, which this host has decided and not the plan."""
    for name, boot in boots.items():
        for share in boot.shares:
            events.record("node", f"{share.target} comes by {share.driver}", node=name)


async def ensure_image(name: str, store: Store, events: EventLog) -> Image:
    """Return an image by its name in the store, built if it is not there.

    Raises:
        ImageError: It could not be built.
    """
    return await store.ensure(name, progress=_make_tell(name, events))


def _check_memory(node: NodePlan, image: Image | None) -> None:
    """Refuse a node that its image does not fit into: its kernel would only say that it panics.

    Raises:
        InputError: How much it needs.
    """
    if image is None or not image.memory:
        return
    needed = least_memory(IMAGES[image.base], node) + image.memory
    if node.memory < needed:
        raise InputError(
            f"{node.name}: {node.memory} MiB of memory, and the image {name_of(image.name)}"
            f" needs {needed}",
            hint=f"write memory: {needed} for the node, or in {image.recipe} for all of its nodes",
        )


def _make_tell(name: str, events: EventLog) -> Tell:
    def tell(progress: Progress) -> None:
        events.record("image", f"{name}: {progress}")

    return tell


def find_servers(plan: Plan, node: NodePlan) -> tuple[str, ...]:
    """Return the names of the nodes that may serve what a node boots from; none for most.

    Firmware asks for some seconds only and then gives up for ever. So a node that boots from the
    network is started when everybody else on that network is ready.
    """
    if node.boot != "network":
        return ()
    segment = node.interfaces[0].segment
    return tuple(
        other.name
        for other in plan.nodes
        if other.boot != "network" and any(each.segment == segment for each in other.interfaces)
    )


def _named(node: NodePlan) -> str:
    """Return the name in the store of the image that a node boots, or nothing."""
    return "" if node.image is None else stored_name(node.image, node.arch)


def _stored(node: NodePlan) -> str:
    """Return the name in the store of the image that a node has files of, or nothing."""
    return "" if node.boot == "network" else _named(node)


def _files(image: Image | None) -> ImageFiles | None:
    return image and ImageFiles(
        kernel=str(image.kernel),
        packed_kernel=str(image.packed_kernel),
        initrd=str(image.initrd),
        append=image.append,
        disk=str(image.disk) if image.disk else None,
    )
