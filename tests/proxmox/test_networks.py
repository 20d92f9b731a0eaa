"""Networks of a lab on Proxmox, and what they are when it comes back."""

from __future__ import annotations

import pytest

from netlab.plan.model import Plan
from netlab.plan.resolve import resolve
from netlab.proxmox.export import Disk, ExportOptions, configure
from netlab.proxmox.networks import parse_mapping
from netlab.topology.load import loads
from tests.proxmox.archives import DISK, archive, make


@pytest.mark.parametrize(
    ("there", "again"),
    [
        ("", ""),
        ("vlan7=lan7", "vlan1=lan7"),
        ("vlan7=lan7,a:up--b:down=wire", "vlan1=lan7,vlan2=wire"),
        ("vlan1=vmbr0/1", "vlan1=vmbr0/1"),
    ],
)
def test_cards_of_a_lab_that_came_back_are_exported_as_they_were(there: str, again: str) -> None:
    nodes = "{a: {id: 1, vlans: [1, 7]}, b: {id: 2, vlans: [1, 7]}}"
    links = "[{endpoints: [a:up, b:down], mtu: 9000}]"
    first = written_cards(resolve(loads(f"name: x\nnodes: {nodes}\nlinks: {links}\n")), there)
    archives = [archive(f"{text}scsihw: virtio-scsi-single\n{DISK}") for text in first]
    imported = make(*archives)
    assert imported.left_out == ()
    assert written_cards(resolve(loads(imported.text)), again) == first


def written_cards(plan: Plan, mapping: str) -> list[str]:
    options = ExportOptions(
        vmid=100, disks=(Disk(drive="scsi0", size=1),), mapping=parse_mapping(mapping)
    )
    made = [configure(plan, node, options) for node in plan.nodes]
    kept = ("net", "name", "smbios1", "vga", "machine")
    return [
        "".join(f"{one.key}: {one.value}\n" for one in each.entries if one.key.startswith(kept))
        + "serial0: socket\n"
        for each in made
    ]
