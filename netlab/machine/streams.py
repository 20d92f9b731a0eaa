"""A program in a guest with which one speaks both ways, on a terminal or not.

The guest agent hands a program its input at the beginning and its output at the end. For what goes
on in between, two virtio ports are plugged in: one carries what the program reads, the other what
it prints, each a descriptor on our side. A port is only open or closed, and whether its last bytes
have come is not told; so the program's status comes behind its output, after a number that nobody
can guess. Facts: docs/interop/qmp-spec and qapi/char.json of QEMU (``getfd``, ``chardev-add``),
hw/char/virtio-serial-bus.c; drivers/char/virtio_console.c of Linux: a port is opened by one at a
time, and reading ends at once while nobody is connected on the host.
"""

from __future__ import annotations

import secrets
import shlex
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol, final

import trio

from netlab.errors import AgentClosedError, CommandError, MachineError
from netlab.machine.agent import CLEAN_UP_LIMIT, Agent
from netlab.machine.argv import SERIAL_BUS
from netlab.machine.qmp import QMP, Event, Events
from netlab.scopes import open_background

STREAMS = 14
"""How many there may be at once: a virtio serial bus of QEMU has 31 ports."""

END_GRACE = 10.0
"""Seconds between the end of a port and the news why, which belong together."""

READ_SIZE = 65536

STATUS = 3
"""Digits of a status."""

_GO = b"go\n"

# Ports by name; a driver needs a moment to find one that was plugged in.
_FIND = """\
find() {
    tries=0
    while [ $tries -lt 1500 ]; do
        for port in /sys/class/virtio-ports/*; do
            read -r name <"$port/name" 2>/dev/null || continue
            [ "$name" = "$1" ] && echo "/dev/${port##*/}" && return
        done
        tries=$((tries + 1)); sleep 0.02
    done
    echo "no virtio port $1 has appeared" >&2
    exit 1
}
from=$(find "$1") && to=$(find "$2") || exit 70
exec 3<"$from" 4>"$to"
# Nothing comes before the host is connected.
until read -r line <&3; do sleep 0.01; done
mark=$3; shift 3
"""

_PLAIN = '"$@" <&3 >&4 2>&1'

# `script` makes the terminal. Its name is told before the program runs, for later sizes.
_TERMINAL = """\
size=$1; command=$2
script -qec "tty >&5; exec 5>&-; stty $size; $command" /dev/null <&3 >&4 2>&1 5>"$mark.tty"
"""

_END = """
status=$?
rm -f "$mark.tty"
printf '%s%03d' "${mark##*/}" $status >&4
"""


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal's size, in characters, and its kind (terminfo(5))."""

    rows: int
    columns: int
    kind: str = "xterm"


class ProgramStream(Protocol):
    """A program that runs in a guest."""

    async def send_all(self, data: bytes) -> None:
        """Let it read this.

        Raises:
            MachineError: It has ended, or its machine has.
        """
        ...

    async def send_eof(self) -> None:
        """Let it read no more; what it prints still comes."""
        ...

    async def receive(self) -> bytes:
        """Return what it printed next, at least a byte; nothing at its end.

        Raises:
            MachineError: The machine ended, or its guest booted again, before the program ended.
        """
        ...

    async def resize(self, terminal: Terminal) -> None:
        """Tell its terminal another size; nothing happens where there is none."""
        ...

    @property
    def status(self) -> int:
        """Its exit status, once it has ended."""
        ...


@final
class PortStream:
    """A program behind two virtio ports; made by :func:`open_program`.

    Attributes:
        status: Its exit status, once :meth:`receive` has returned nothing.
    """

    def __init__(
        self, agent: Agent, to: trio.SocketStream, come: trio.SocketStream, mark: str
    ) -> None:
        self.status = -1
        self._agent = agent
        self._to = to
        self._from = come
        self._mark = mark
        self._held = b""
        self._ended = False

    async def send_all(self, data: bytes) -> None:
        """Let it read this.

        Raises:
            MachineError: It has ended, or its machine has.
        """
        try:
            await self._to.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise MachineError("the program or its machine has ended") from None

    async def send_eof(self) -> None:
        """Let it read no more; what it prints still comes."""
        # Not closed: QEMU throws away what it has not yet read of a socket that is gone.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._to.send_eof()

    async def receive(self) -> bytes:
        """Return what it printed next, at least a byte; nothing at its end.

        Raises:
            MachineError: The machine ended, or its guest booted again, before the program ended; or
                the guest sent nonsense.
        """
        mark = self._mark.encode()
        while not self._ended:
            try:
                data = await self._from.receive_some(READ_SIZE)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                # Who waits for the program by the agent is about to say why, and ends this wait.
                await trio.sleep(END_GRACE)
                raise AgentClosedError("QEMU closed the program's port")
            text = self._held + bytes(data)
            before, found, rest = text.partition(mark)
            if found and len(rest) >= STATUS:
                # What comes behind it, a process has printed that the program left behind.
                self._ended = True
                self.status = _read_status(rest[:STATUS])
                text, self._held = before, b""
            else:
                cut = _cut(text, mark)
                text, self._held = text[:cut], text[cut:]
            if text:
                return text
        await trio.lowlevel.checkpoint()
        return b""

    async def resize(self, terminal: Terminal) -> None:
        """Tell its terminal another size; nothing happens where there is none."""
        with suppress(MachineError):
            await self._agent.execute((
                "/bin/sh",
                "-c",
                'read -r tty <"$1" && stty -F "$tty" rows "$2" cols "$3"',
                "sh",
                f"/tmp/{self._mark}.tty",
                str(terminal.rows),
                str(terminal.columns),
            ))


def _read_status(digits: bytes) -> int:
    if not digits.isdigit():
        raise MachineError(f"the guest sent {digits!r} for a program's status")
    return int(digits)


def _cut(text: bytes, mark: bytes) -> int:
    """Return where the end begins that may be the beginning of the mark or what follows it."""
    found = text.find(mark)
    if found >= 0:
        return found
    for length in range(min(len(mark) - 1, len(text)), 0, -1):
        if mark.startswith(text[-length:]):
            return len(text) - length
    return len(text)


@final
class Ports:
    """Who may have ports of one machine, and who may plug some in.

    QEMU tells a guest of its ports in messages for which the guest has 32 buffers, and loses those
    for which there is none (send_control_msg of hw/char/virtio-serial-bus.c): a port that comes
    takes three, one that goes takes one. So one program at a time gets its ports, until the guest
    has opened them; and as the guest takes messages in order, no more are on their way then than
    those of the programs that end meanwhile.

    Attributes:
        limiter: Held while a program has ports.
        plugging: Held until it has them.
    """

    def __init__(self) -> None:
        self.limiter = trio.CapacityLimiter(STREAMS)
        self.plugging = trio.Lock()


@asynccontextmanager
async def open_program(
    qmp: QMP,
    agent: Agent,
    argv: Sequence[str],
    *,
    ports: Ports,
    terminal: Terminal | None = None,
) -> AsyncGenerator[PortStream]:
    """Run a program in the guest and speak with it inside the block; it is ended with the block.

    Args:
        qmp: The machine's monitor.
        agent: Of its guest.
        argv: The program with its arguments.
        ports: The machine's; who asks for more than there are waits.
        terminal: The terminal that it gets, or None: it reads and writes plain bytes then.

    Raises:
        QMPError: No more ports can be plugged in.
        CommandError: The guest has no ports, or no ``script`` for a terminal.
        MachineError: The machine or its agent failed.
    """
    mark = secrets.token_hex(16)
    async with ports.limiter, AsyncExitStack() as stack:
        async with ports.plugging:
            with qmp.events("VSERPORT_CHANGE") as changes:
                to = await stack.enter_async_context(_open_port(qmp, f"{mark}.in"))
                come = await stack.enter_async_context(_open_port(qmp, f"{mark}.out"))
                tasks = await stack.enter_async_context(open_background())
                # Cancelled with the block, the agent ends the program and its children.
                tasks.start_soon(_run, agent, _words(mark, argv, terminal))
                await _wait_open(changes, {_identify(f"{mark}.in"), _identify(f"{mark}.out")})
        await to.send_all(_GO)
        yield PortStream(agent, to, come, mark)


async def _wait_open(changes: Events, closed: set[str]) -> None:
    """Wait until the guest has opened all of these ports."""

    def has_all(event: Event) -> bool:
        if event.data.get("open"):
            closed.discard(str(event.data.get("id")))
        return not closed

    await changes.wait(has_all)


async def _run(agent: Agent, words: Sequence[str]) -> None:
    result = await agent.execute(words)
    if result.status:
        output = (result.stdout + result.stderr).decode(errors="replace").strip()
        raise CommandError(
            f"no stream to a program in the guest: {output.rpartition(chr(10))[2]}",
            evidence=output or None,
        )


def _words(mark: str, argv: Sequence[str], terminal: Terminal | None) -> tuple[str, ...]:
    head = (f"{mark}.in", f"{mark}.out", f"/tmp/{mark}")
    if terminal is None:
        return ("/bin/sh", "-c", _FIND + _PLAIN + _END, "sh", *head, *argv)
    command = f"TERM={shlex.quote(terminal.kind)}; export TERM; exec {shlex.join(argv)}"
    size = f"rows {terminal.rows} cols {terminal.columns}"
    return ("/bin/sh", "-c", _FIND + _TERMINAL + _END, "sh", *head, size, command)


@asynccontextmanager
async def _open_port(qmp: QMP, name: str) -> AsyncGenerator[trio.SocketStream]:
    """Plug a virtio port in for the length of the block, and yield our end of it."""
    identifier = _identify(name)
    ours, theirs = socket.socketpair()
    async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as stream:
        with theirs:
            await qmp.give_descriptor(identifier, theirs.fileno())
        address = {"type": "fd", "data": {"str": identifier}}
        backend = {"type": "socket", "data": {"addr": address, "server": False}}
        await qmp.execute("chardev-add", id=identifier, backend=backend)
        try:
            await qmp.execute(
                "device_add",
                driver="virtserialport",
                id=identifier,
                bus=SERIAL_BUS,
                chardev=identifier,
                name=name,
            )
            yield stream
        finally:
            # Before our end is closed, of which the guest would be told by a message more.
            with trio.move_on_after(CLEAN_UP_LIMIT, shield=True), suppress(MachineError):
                await _unplug(qmp, identifier)


def _identify(name: str) -> str:
    return "stream-" + name.replace(".", "-")


async def _unplug(qmp: QMP, identifier: str) -> None:
    with qmp.events("DEVICE_DELETED") as events:
        with suppress(MachineError):
            await qmp.execute("device_del", id=identifier)
            await events.wait(lambda event: event.data.get("device") == identifier)
        await qmp.execute("chardev-remove", id=identifier)
