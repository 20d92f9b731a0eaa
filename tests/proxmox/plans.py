"""Plans for tests about Proxmox."""

from __future__ import annotations

from netlab.plan.model import Plan
from netlab.plan.resolve import resolve
from netlab.topology.load import loads

TEXT = """
name: pair
nodes:
  a: {id: 1, cpus: 2, memory: 1 GiB, display: std, vlans: [7]}
  b: {id: 2, accel: tcg, interfaces: {lan: {vlan: 7}}}
links:
  - {endpoints: [a:up, b:down], mtu: 9000}
  - {endpoints: [a:cable, b:cable], addresses: none}
"""


def pair() -> Plan:
    return resolve(loads(TEXT))


def wide(count: int) -> Plan:
    """Return a lab of two nodes with so many links between them."""
    links = "\n".join(f"  - a:e{number} -- b:e{number}" for number in range(count))
    return resolve(loads(f"name: wide\nnodes: {{a: {{id: 1}}, b: {{id: 2}}}}\nlinks:\n{links}\n"))
