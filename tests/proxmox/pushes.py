"""A machine on its way to Proxmox."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from netlab.proxmox.configuration import Configuration
from netlab.proxmox.export import Disk, EfiVariables, ExportOptions, configure
from netlab.proxmox.networks import Network
from netlab.proxmox.push import Pushed, Report, ignore, push
from netlab.proxmox.target import NewMachine, PushOptions, Source, VirtualNetwork
from tests.proxmox.plans import pair
from tests.proxmox.serving import Serving

OPTIONS = PushOptions(
    node="pve1",
    storage="local-lvm",
    import_storage="local",
    networks=(VirtualNetwork("lan7", "vlan7"), VirtualNetwork("cable", "a:cable--b:cable")),
    start=True,
)
CONFIGURATION = configure(
    pair(),
    pair().node("a"),
    ExportOptions(
        vmid=9001,
        disks=(Disk(drive="scsi0", size=1 << 20),),
        efi=EfiVariables(size=540_672),
        mapping=(("vlan7", Network("lan7")), ("a:cable--b:cable", Network("cable"))),
        description="notes: 100 %\nsecond",
    ),
)


def machine(
    sources: Sequence[Source] | None, configuration: Configuration = CONFIGURATION
) -> NewMachine:
    given = None if sources is None else tuple(sources)
    return NewMachine(vmid=9001, configuration=configuration, sources=given)


async def push_one(
    sources: Sequence[Source],
    serving: Serving,
    folder: Path,
    report: Report = ignore,
    configuration: Configuration = CONFIGURATION,
) -> Pushed:
    machines = [machine(sources, configuration)]
    return await push(machines, serving.host, OPTIONS, folder=folder, report=report)


def flat_copies(folder: Path) -> list[Path]:
    return list(folder.glob("netlab-*"))


def image(*arguments: str) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True)
