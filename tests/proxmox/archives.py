"""Archives of single machines, and the topologies that they give."""

from __future__ import annotations

from netlab.plan.model import NodePlan
from netlab.plan.resolve import resolve
from netlab.proxmox.configuration import parse
from netlab.proxmox.importing import Archive, Device, Imported, make_topology
from netlab.topology.load import loads

DISK = "scsi0: local-lvm:vm-1-disk-0\n#qmdump#map:scsi0:drive-scsi0:local-lvm:raw:\n"
STORE = "/store"
NONE = "is none of Proxmox's: it is taken as"


def archive(text: str, file: str = "1.conf") -> Archive:
    """Return an archive that has all devices of its maps, 4 MiB each."""
    configuration = parse(text, file=file)
    return Archive(
        configuration=configuration,
        devices=tuple(Device(drive.device, 4 << 20) for drive in configuration.maps),
        folder="a1",
    )


def node_of(text: str) -> NodePlan:
    return resolve(loads(make(archive(text)).text)).nodes[0]


def make(*archives: Archive) -> Imported:
    return make_topology(archives, name="x", store=STORE)


def lost(text: str) -> list[str]:
    """Return what a topology cannot say, without the file's name."""
    return [str(mistake).partition(":")[2] for mistake in make(archive(text)).left_out]
