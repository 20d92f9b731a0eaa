"""The wiring self-test: frames through every segment, before any machine is there.

The frames go to 01:80:c2:00:00:0e, as LLDP's do, and are as long as the segment allows: what
carries these carries the rest. On a segment of up to :data:`MESH_LIMIT` ports each port is heard by
every other; on a larger one the first port is heard by all and hears each.
"""

from __future__ import annotations

import os
import select
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from netlab.sandbox.messages import RefusedError, Segment
from netlab.sandbox.taps import VNET_HEADER, read_frames

MESH_LIMIT = 16
"""Ports up to which every pair is tried, both ways."""

PATIENCE = 1.0
"""Seconds that a frame may take; on a sound segment it is there when the write returns."""

_LLDP = bytes.fromhex("0180c200000e")
_ETHERTYPE = 0x88B5  # IEEE 802: local experiments
_MAGIC = b"netlab wiring"
_FRAME = struct.Struct(f"!6s6sH{len(_MAGIC)}sII")
_ETHERNET = 14
_SHOWN = 5


class _Mark(NamedTuple):
    """Who sent a frame of ours."""

    segment: int
    port: int


def prove(segments: Sequence[Segment], taps: Mapping[str, int]) -> None:
    """Send frames through every segment, and see that they arrive there and nowhere else.

    Args:
        segments: All segments.
        taps: The taps' descriptors by name; nobody else reads them.

    Raises:
        RefusedError: A segment does not carry frames, or another's; its ports are named.
    """
    deadline = time.monotonic() + PATIENCE
    trials = [_Trial(number, segment, taps, deadline) for number, segment in enumerate(segments)]
    faults = [fault for trial in trials for fault in trial.run()]
    for trial in trials:
        faults += [
            f"segment {trial.segment.name}: {tap} heard segment {segments[other].name}"
            for tap, other in trial.find_strangers()
        ]
    if faults:
        count = len(faults)
        raise RefusedError(
            "WiringError",
            "; ".join(faults[:_SHOWN])
            + (f" (and {count - _SHOWN} more)" if count > _SHOWN else ""),
            hint="the host's kernel does not bridge as it should",
            evidence="\n".join(faults),
        )


class _Trial:
    """The test of one segment.

    Its methods that send or wait return what went wrong, a line for each fault.
    """

    def __init__(
        self, number: int, segment: Segment, taps: Mapping[str, int], deadline: float
    ) -> None:
        self.segment = segment
        self._number = number
        self._taps = [taps[port.tap] for port in segment.ports]
        self._deadline = deadline
        self._heard: list[set[_Mark]] = [set() for _ in segment.ports]

    def run(self) -> list[str]:
        for tap in self._taps:
            # What came before is not ours to judge.
            read_frames(tap)
        everyone = range(len(self._taps))
        return self._try_mesh(everyone) if len(everyone) <= MESH_LIMIT else self._try_star(everyone)

    def find_strangers(self) -> Iterator[tuple[str, int]]:
        """Yield taps that heard another segment, and the other's number."""
        for port, (tap, *_) in enumerate(self.segment.ports):
            self._listen(port)
            for other in sorted({mark.segment for mark in self._heard[port]} - {self._number}):
                yield tap, other

    def _try_mesh(self, everyone: range) -> list[str]:
        faults = [fault for port in everyone for fault in self._send(port, _LLDP)]
        for port in everyone:
            faults += self._wait(port, set(everyone) - {port})
        return faults

    def _try_star(self, everyone: range) -> list[str]:
        faults = self._send(0, _LLDP)
        for port in everyone[1:]:
            faults += self._wait(port, {0})
            # The bridge has learned where the first port is, so this one goes there alone.
            faults += self._send(port, _address(self._number, 0))
            faults += self._wait(0, {port})
        return faults

    def _send(self, port: int, destination: bytes) -> list[str]:
        tap, _, _, fast = self.segment.ports[port]
        source = _address(self._number, port)
        frame = _FRAME.pack(destination, source, _ETHERTYPE, _MAGIC, self._number, port)
        padded = frame.ljust(_ETHERNET + self.segment.mtu, b"\0")
        try:
            os.write(self._taps[port], (bytes(VNET_HEADER) if fast else b"") + padded)
        except OSError as error:
            return [f"segment {self.segment.name}: {tap} takes no frame: {error.strerror}"]
        return []

    def _wait(self, port: int, senders: set[int]) -> list[str]:
        """Wait until a port has heard those ports, or the deadline has passed."""
        wanted = {_Mark(self._number, sender) for sender in senders}
        poller = select.poll()
        poller.register(self._taps[port], select.POLLIN)
        while True:
            self._listen(port)
            missing = wanted - self._heard[port]
            left = self._deadline - time.monotonic()
            if not missing or left <= 0:
                break
            poller.poll(left * 1000)
        ports = self.segment.ports
        return [
            f"segment {self.segment.name}: a frame from {ports[mark.port].tap}"
            f" did not reach {ports[port].tap}"
            for mark in sorted(missing)
        ]

    def _listen(self, port: int) -> None:
        header = VNET_HEADER if self.segment.ports[port].fast else 0
        for data in read_frames(self._taps[port]):
            if (mark := _parse(data[header:])) is not None:
                self._heard[port].add(mark)


def _address(number: int, port: int) -> bytes:
    """Return a locally administered MAC address for a port."""
    return bytes([0x02, 0x6E]) + ((number << 10 | port) & 0xFFFFFFFF).to_bytes(4, "big")


def _parse(data: bytes) -> _Mark | None:
    if len(data) < _FRAME.size:
        return None
    _, _, ethertype, magic, segment, port = _FRAME.unpack_from(data)
    return _Mark(segment, port) if (ethertype, magic) == (_ETHERTYPE, _MAGIC) else None
