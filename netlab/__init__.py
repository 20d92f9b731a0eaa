"""netlab: real virtual machines on real kernel links.

The map of the package, in the direction in which data flows::

    errors/       one error tree
    topology/     text -> Topology            the user's models; positions kept
    plan/         Topology -> Plan            pure, frozen, JSON-able
    scopes.py     nurseries that raise what failed
    process.py    the one door to other programs
    sandbox/      the lab's namespaces: bridges, taps, PID 1
    machine/      a plan's node -> a running QEMU: QMP, guest agent, console, disks
    image/        recipes -> kernel, initrd in a content-addressed store
    nbd/          disks that a server offers, read over a socket
    vma/          Proxmox backup archives: a library on its own, no knowledge of labs
    lab/          Plan -> Lab; the lab process and its control API
    proxmox/      nodes as virtual machines of Proxmox, and back
    testing/      the vocabulary of scripted network tests
    cli/          one file a verb
    docs/         shown by `netlab help TOPIC`

The whole of ``netlab up``::

    topology = load(path)
    plan = resolve(topology, lab=name)
    async with open_lab(plan) as lab:
        await serve(lab)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlab.lab.lab import Lab, open_lab
    from netlab.plan.model import Plan
    from netlab.plan.resolve import resolve
    from netlab.topology.load import load
    from netlab.topology.model import Topology

__all__ = ["Lab", "Plan", "Topology", "load", "open_lab", "resolve"]
__version__ = "0.1.0"

# Imported on demand: the sandbox's PID 1 and `netlab exec` start in milliseconds.
_HOMES = {
    "Lab": "netlab.lab.lab",
    "Plan": "netlab.plan.model",
    "Topology": "netlab.topology.model",
    "load": "netlab.topology.load",
    "open_lab": "netlab.lab.lab",
    "resolve": "netlab.plan.resolve",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
