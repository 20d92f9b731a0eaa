"""What the sandbox's owner and its PID 1 say to each other.

One message is one datagram of a SOCK_SEQPACKET socketpair: a JSON object, descriptors
(SCM_RIGHTS) and the process that it is about (SCM_CREDENTIALS, which the kernel translates into
the reader's PID namespace). A body beyond :data:`INLINE_LIMIT` travels in a memory file, because
a datagram must fit the socket's buffer and a plan of a thousand links does not.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

Body = dict[str, Any]
"""A message's JSON object; what is in it is the business of the request's two ends."""

INLINE_LIMIT = 64 * 1024
"""Bytes of JSON up to which a body travels in the datagram itself."""

DESCRIPTOR_LIMIT = 250
"""Descriptors that one message may carry: the kernel's limit is 253 (SCM_MAX_FD)."""

_INLINE, _FILE = b"i", b"f"
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_ANCILLARY = socket.CMSG_SPACE((DESCRIPTOR_LIMIT + 1) * 4) + socket.CMSG_SPACE(_CREDENTIALS.size)

RECEIVE = (INLINE_LIMIT + 1, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
"""The arguments with which both ends call ``recvmsg``."""


class RefusedError(Exception):
    """PID 1 will not or cannot do what was asked; the other end raises it as its own error.

    Attributes:
        kind: The name of the class in :mod:`netlab.errors`.
        hint: What to do, or None.
        evidence: What shows it, or None.
    """

    def __init__(
        self, kind: str, message: str, *, hint: str | None = None, evidence: str | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint
        self.evidence = evidence

    def to_body(self) -> Body:
        """Return it as the ``error`` of an answer."""
        return {
            "kind": self.kind,
            "message": self.message,
            "hint": self.hint,
            "evidence": self.evidence,
        }


class Port(NamedTuple):
    """A tap to make: its name, its long name, its interface number, its kind of wire."""

    tap: str
    altname: str
    ifindex: int
    fast: bool


class Segment(NamedTuple):
    """A bridge to make, and the taps on it. `mtu` is in bytes."""

    name: str
    bridge: str
    altname: str
    ifindex: int
    mtu: int
    ports: tuple[Port, ...]


class Message(NamedTuple):
    """A message that was received: its body, the descriptors and the process that came with it.

    `pid` is 0 when the message is about no process.
    """

    body: Body
    descriptors: tuple[int, ...]
    pid: int


def read_segments(values: Iterable[Sequence[Any]]) -> tuple[Segment, ...]:
    """Return segments from what JSON made of them."""
    return tuple(
        Segment(*fields, ports=tuple(Port(*port) for port in ports)) for *fields, ports in values
    )


class Outgoing:
    """A body on its way: the datagram's bytes, and the memory file if it needs one.

    Use as a context manager around the sending; it closes the file.
    """

    def __init__(self, body: Body) -> None:
        text = json.dumps(body, separators=(",", ":")).encode()
        self._file: int | None = None
        if len(text) <= INLINE_LIMIT:
            self.data = _INLINE + text
            return
        self.data = _FILE
        self._file = os.memfd_create("netlab-message", os.MFD_CLOEXEC)
        with open(self._file, "wb", closefd=False) as file:
            file.write(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._file is not None:
            os.close(self._file)

    def ancillary(
        self, descriptors: Sequence[int] = (), pid: int | None = None
    ) -> list[tuple[int, int, bytes]]:
        """Return what ``sendmsg`` sends beside the data.

        Args:
            descriptors: Descriptors to pass.
            pid: The process that the message is about, in the sender's PID namespace.
        """
        rights = [*([] if self._file is None else [self._file]), *descriptors]
        parts: list[tuple[int, int, bytes]] = []
        if rights:
            packed = struct.pack(f"{len(rights)}i", *rights)
            parts.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, packed))
        if pid is not None:
            packed = _CREDENTIALS.pack(pid, os.getuid(), os.getgid())
            parts.append((socket.SOL_SOCKET, socket.SCM_CREDENTIALS, packed))
        return parts


def unpack(data: bytes, ancillary: Iterable[tuple[int, int, bytes]]) -> Message:
    """Return the message of a datagram that is not empty; the caller owns its descriptors."""
    descriptors: list[int] = []
    pid = 0
    for _, kind, payload in ancillary:
        if kind == socket.SCM_RIGHTS:
            count = len(payload) // 4
            descriptors += struct.unpack(f"{count}i", payload[: count * 4])
        elif kind == socket.SCM_CREDENTIALS:
            pid = _CREDENTIALS.unpack(payload)[0]
    if data[:1] == _FILE:
        with open(descriptors.pop(0), "rb") as file:  # noqa: PTH123 - a descriptor
            # The offset is shared with the writer, and stands at the end.
            file.seek(0)
            data = _INLINE + file.read()
    return Message(json.loads(data[1:]), tuple(descriptors), pid)
