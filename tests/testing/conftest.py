"""Labs for the vocabulary: small, and as many verbs on each as it can bear."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from netlab import open_lab, resolve
from netlab.lab.node import Node
from netlab.testing import LabDriver, NodeDriver
from netlab.topology.load import loads
from tests.lab.conftest import home, pair

__all__ = ["home", "pair"]

LIMIT = 120.0
"""Seconds that a verb has at the most, on a host that does other things too."""

PAIR = "name: pair\nnodes: {a: {id: 1}, b: {id: 2}}\nlinks: ['a -- b']\n"
LINE = "name: line\nnodes: {'r[1-3]': {id: 1, ROUTES}}\nlinks: [{line: 'r[1-3]'}]\n"


def live(node: NodeDriver) -> Node:
    """Return the node itself, which lives in this process."""
    assert isinstance(node.node, Node)
    return node.node


@asynccontextmanager
async def open_driver(text: str = PAIR, *, limit: float = LIMIT) -> AsyncGenerator[LabDriver]:
    """Open a lab that is up and ready."""
    async with open_lab(resolve(loads(text))) as lab:
        driver = LabDriver(lab, timeout=limit)
        await driver.wait_ready()
        yield driver
