"""QEMU is started with its ends of its channels; ours, and its life, last for a block."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

import trio

from netlab.machine.argv import channels
from netlab.machine.companion import Companion, Surroundings
from netlab.machine.life import Life
from netlab.machine.logs import prepare_logs
from netlab.plan.model import NodePlan
from netlab.process import Process


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Our ends of a machine's channels."""

    qmp: trio.SocketStream
    agent: trio.SocketStream
    console: trio.SocketStream


@asynccontextmanager
async def open_life(
    node: NodePlan,
    command: tuple[str, ...],
    companions: Mapping[int, Companion],
    surroundings: Surroundings,
    nursery: trio.Nursery,
) -> AsyncGenerator[tuple[Life, Streams]]:
    """Launch QEMU, and end it when the block is left."""
    ends = {number: one.end for number, one in companions.items()}
    streams, process = await _launch(node, command, ends, surroundings)
    life = Life(name=node.name, process=process, folder=surroundings.folder)
    nursery.start_soon(life.watch)
    try:
        yield life, streams
    finally:
        await life.end()


async def _launch(
    node: NodePlan,
    command: tuple[str, ...],
    given: Mapping[int, socket.socket],
    surroundings: Surroundings,
) -> tuple[Streams, Process]:
    """Start QEMU with its ends of its channels, and of what was there before it, by number."""
    numbers = channels(node)
    taps = {
        number: interface.tap
        for number, interface in zip(numbers.interfaces, node.interfaces, strict=True)
    }
    with ExitStack() as ours, ExitStack() as theirs:
        log = theirs.enter_context(prepare_logs(surroundings.folder, command))
        ends: list[trio.SocketStream] = []
        descriptors: dict[int, int] = {}
        for number in (numbers.qmp, numbers.agent, numbers.console):
            mine, his = socket.socketpair()
            ours.callback(mine.close)
            descriptors[number] = theirs.enter_context(his).fileno()
            ends.append(trio.SocketStream(trio.socket.from_stdlib_socket(mine)))
        descriptors[1] = descriptors[2] = log.fileno()
        for number, end in given.items():
            descriptors[number] = theirs.enter_context(end).fileno()
        launch = surroundings.launcher.launch
        process = await launch(command, descriptors=descriptors, taps=taps)
        ours.pop_all()
    qmp, agent, console = ends
    return Streams(qmp=qmp, agent=agent, console=console), process
