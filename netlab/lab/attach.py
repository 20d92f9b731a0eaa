"""A node's console on this terminal: a WebSocket on one side, a raw terminal on the other."""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import quote

import httpx
import trio
from httpx_ws import AsyncWebSocketSession, WebSocketDisconnect, aconnect_ws

from netlab.errors import ControlError, NotReadyError
from netlab.lab.folders import LabFolders

ESCAPE = b"\x1d"
"""Ctrl-], as telnet and virsh have it: leaves the console."""


@asynccontextmanager
async def open_console(folders: LabFolders, node: str) -> AsyncGenerator[AsyncWebSocketSession]:
    """Open a node's console.

    Raises:
        ControlError: The lab does not answer.
    """
    transport = httpx.AsyncHTTPTransport(uds=str(folders.control))
    address = f"http://netlab/nodes/{quote(node, safe='')}/console"
    async with httpx.AsyncClient(transport=transport) as client:
        try:
            async with aconnect_ws(address, client, keepalive_ping_interval_seconds=None) as socket:
                yield socket
        except httpx.TransportError as error:
            raise ControlError(f"lab {folders.lab} does not answer: {error}") from error


async def attach(folders: LabFolders, node: str) -> None:
    """Be the node's console until Ctrl-] is typed, standard input ends or the console does.

    Raises:
        NotReadyError: The node does not run.
        ControlError: The lab does not answer.
    """
    with _raw_terminal():
        async with open_console(folders, node) as console, trio.open_nursery() as nursery:
            nursery.start_soon(_type_in, console, nursery.cancel_scope)
            await _show(console, node)
            nursery.cancel_scope.cancel()


async def _show(console: AsyncWebSocketSession, node: str) -> None:
    output = trio.lowlevel.FdStream(os.dup(sys.stdout.fileno()))
    async with output:
        try:
            while True:
                await output.send_all(await console.receive_bytes())
        except WebSocketDisconnect as ended:
            if ended.code != 1000:
                raise NotReadyError(f"{node}: {ended.reason or 'the lab ended'}") from None


async def _type_in(console: AsyncWebSocketSession, scope: trio.CancelScope) -> None:
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as keyboard:
        while typed := await keyboard.receive_some():
            before, escape, _ = bytes(typed).partition(ESCAPE)
            if before:
                await console.send_bytes(before)
            if escape:
                break
    scope.cancel()


@contextmanager
def _raw_terminal() -> Generator[None]:
    """Give every key to the guest, Ctrl-C too; put the terminal back whatever happens."""
    number = sys.stdin.fileno()
    if not os.isatty(number):
        yield
        return
    settings = termios.tcgetattr(number)
    try:
        # What was typed already is kept: the guest gets it too.
        tty.setraw(number, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, settings)
