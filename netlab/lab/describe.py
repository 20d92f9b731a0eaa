"""A lab and its nodes as JSON: what `netlab status` shows."""

from __future__ import annotations

import os
import time

from netlab.lab.lab import Lab
from netlab.lab.service import Service
from netlab.plan.codec import digest
from netlab.plan.model import NodePlan


def describe(lab: Lab) -> dict[str, object]:
    """Return the lab and its nodes as `netlab status` shows them."""
    nodes = [describe_node(lab, name) for name in lab.nodes]
    choices = lab.accels.values()
    states = {node.state for node in lab.nodes.values()}
    if states & {"queued", "booting", "configuring"}:
        state = "starting"
    else:
        state = "ready" if states <= {"ready"} else "degraded"
    return {
        "lab": lab.plan.lab,
        "topology": lab.plan.topology,
        "state": state,
        "pid": os.getpid(),
        "accel": " and ".join(dict.fromkeys(choice.accel for choice in choices)),
        "accel_reason": "; ".join(dict.fromkeys(choice.reason for choice in choices)),
        "digest": digest(lab.plan),
        "nodes": nodes,
    }


def describe_beginning(service: Service) -> dict[str, object]:
    """Describe a lab whose links and machines are not there yet, in the same form."""
    began = next((event.time for event in service.events), time.time())
    nodes = [
        _describe_plan(node)
        | {
            "state": "queued",
            "reason": service.progress(),
            "since": began,
            "accel": node.accel,
            "pid": None,
        }
        for node in service.plan.nodes
    ]
    return {
        "lab": service.plan.lab,
        "topology": service.plan.topology,
        "state": "starting",
        "pid": os.getpid(),
        "accel": "auto",
        "accel_reason": "not chosen yet",
        "digest": digest(service.plan),
        "nodes": nodes,
    }


def describe_node(lab: Lab, name: str) -> dict[str, object]:
    """Return a node as `netlab status` shows it."""
    node = lab.nodes[name]
    return _describe_plan(node.plan) | {
        "state": node.state,
        "reason": node.reason(),
        "since": node.since,
        "accel": lab.accels[name].accel,
        "pid": node.pid,
        "console": node.machine.console.position if node.pid else 0,
    }


def _describe_plan(node: NodePlan) -> dict[str, object]:
    interfaces = [
        {
            "name": interface.name,
            "segment": interface.segment,
            "tap": interface.tap,
            "mac": interface.mac,
            "addresses": list(interface.addresses),
        }
        for interface in node.interfaces
    ]
    return {
        "name": node.name,
        "id": node.id,
        "image": node.image or "none",
        "loopback": list(node.loopback),
        "interfaces": interfaces,
        "shares": [
            {
                "target": share.target,
                "source": share.source,
                "access": share.access,
                "provided_by": share.provided_by,
            }
            for share in node.shares
        ],
        "kept": [disk.serial for disk in node.disks if disk.persist],
    }
