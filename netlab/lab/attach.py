"""This terminal on a node: its console, or a program that runs on a terminal in the guest."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import quote

import trio

from netlab.errors import ControlError, NotReadyError
from netlab.lab.connection import Socket, open_connection
from netlab.lab.folders import LabFolders
from netlab.lab.remote import open_remote
from netlab.lab.terminal import open_raw_terminal, pass_on, read_terminal, show, type_in
from netlab.machine.streams import ProgramStream
from netlab.plan.segments import find_node
from netlab.scopes import open_background, open_tasks


@asynccontextmanager
async def open_console(folders: LabFolders, node: str) -> AsyncGenerator[Socket]:
    """Open a node's console.

    Raises:
        ControlError: The lab does not answer.
    """
    path = f"/nodes/{quote(node, safe='')}/console"
    async with open_connection(folders) as connection, connection.open_socket(path) as socket:
        yield socket


async def attach(folders: LabFolders, node: str) -> None:
    """Be the node's console until Ctrl-] is typed, standard input ends or the console does.

    Raises:
        NotReadyError: The node does not run.
        ControlError: The lab does not answer.
    """

    async def receive() -> bytes:
        try:
            data = await console.receive()
        except (ControlError, NotReadyError) as error:
            reason = error.message if isinstance(error, NotReadyError) else "the lab ended"
            raise NotReadyError(f"{node}: {reason}") from None
        return data if isinstance(data, bytes) else b""

    async def send(data: bytes) -> None:
        # Why nothing can be sent any more is told to who shows what comes.
        with suppress(ControlError):
            await console.send_bytes(data)

    async with open_raw_terminal(), open_console(folders, node) as console, open_tasks() as tasks:

        async def type_keys() -> None:
            await type_in(send)
            tasks.cancel_scope.cancel()

        tasks.start_soon(type_keys)
        await show(receive)
        tasks.cancel_scope.cancel()


async def run_on_terminal(folders: LabFolders, node: str, argv: Sequence[str]) -> int | None:
    """Run a program in a guest on this terminal, until it ends or Ctrl-] is typed.

    Returns:
        Its exit status; None when it was left, and so ended.

    Raises:
        UnknownNameError: No such node.
        NetlabError: The node is not ready, or its machine failed.
        ControlError: The lab does not answer, or ended meanwhile.
    """
    with trio.open_signal_receiver(signal.SIGWINCH) as sizes:
        async with open_remote(folders) as lab:
            wanted = lab.nodes[find_node(lab.plan, node).name]
            # Raw only now: Ctrl-C ends a wait for the program, and from here on is the program's.
            async with (
                wanted.open_stream(argv, terminal=read_terminal()) as stream,
                open_raw_terminal(),
            ):
                return await _be_terminal(stream, sizes)
    return None


async def run_on_pipes(folders: LabFolders, node: str, argv: Sequence[str]) -> int:
    """Run a program in a guest between our standard input and output, both as they go.

    Returns:
        Its exit status.

    Raises:
        UnknownNameError: No such node.
        NetlabError: The node is not ready, or its machine failed.
        ControlError: The lab does not answer, or ended meanwhile.
    """
    async with open_remote(folders) as lab:
        wanted = lab.nodes[find_node(lab.plan, node).name]
        async with wanted.open_stream(argv) as stream, open_background() as tasks:
            tasks.start_soon(_feed, stream)
            await show(stream.receive)
            return stream.status
    raise AssertionError("unreachable")


async def _feed(stream: ProgramStream) -> None:
    # Why nothing can be sent any more is told to who shows what comes.
    with suppress(ControlError):
        await pass_on(stream.send_all)
        await stream.send_eof()


async def _be_terminal(stream: ProgramStream, sizes: AsyncIterator[int]) -> int | None:
    async with open_tasks() as tasks:

        async def type_keys() -> None:
            # Why nothing can be sent any more is told to who shows what comes.
            with suppress(ControlError):
                await type_in(stream.send_all)
                tasks.cancel_scope.cancel()

        async def tell_sizes() -> None:
            with suppress(ControlError):
                async for _ in sizes:
                    await stream.resize(read_terminal())

        tasks.start_soon(type_keys)
        tasks.start_soon(tell_sizes)
        await show(stream.receive)
        tasks.cancel_scope.cancel()
        return stream.status
    return None
