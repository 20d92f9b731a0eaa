"""Nurseries that raise what failed, not a group around it.

Who writes ``async with open_lab(plan)`` need not know that it holds a nursery: a single failure
leaves as itself, with its own traceback and cause; several failures stay a group.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from netlab.errors import leaves


@asynccontextmanager
async def open_tasks() -> AsyncGenerator[trio.Nursery]:
    """Open a nursery; the block ends when all its tasks have.

    Cancellations that only echo a failure do not count as failures.
    """
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        failures = [leaf for leaf in leaves(group) if not isinstance(leaf, trio.Cancelled)]
        if len(failures) != 1:
            raise
    else:
        return
    # Raised outside the handler, so that its traceback and its cause stay its own.
    raise failures[0]


@asynccontextmanager
async def open_background() -> AsyncGenerator[trio.Nursery]:
    """Open a nursery whose tasks serve the block and are cancelled when it is left."""
    async with open_tasks() as nursery:
        try:
            yield nursery
        finally:
            nursery.cancel_scope.cancel()
