"""Segments of a plan -> what PID 1 makes: names checked, interface numbers given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from netlab.errors import InputError
from netlab.plan.model import SegmentPlan
from netlab.sandbox.messages import Port, Segment

FIRST_INDEX = 1000
"""Interface numbers below are the kernel's own: lo, and tunnels that some kernels always make."""

PORTS_MAX = 1023
"""Ports that a Linux bridge holds (BR_MAX_PORTS, 1024, less port 0)."""

MTU_MIN, MTU_MAX = 68, 65521
"""Bytes; the most that the kernel allows a tap is 65535 less the Ethernet header."""

_NAME = re.compile(r"[!-~]{1,15}")
_ALTNAME = re.compile(r"[!-~]{1,127}")
# A slash is a folder's, a colon an old alias's, a percent sign has the kernel choose a number.
_FORBIDDEN = frozenset("/:%")
_RESERVED = frozenset({".", "..", "all", "default", "lo"})


def lay_out(segments: Sequence[SegmentPlan]) -> tuple[Segment, ...]:
    """Check the segments of a plan and number their interfaces.

    A plan that :func:`netlab.plan.resolve.resolve` made passes; one made by hand may not.

    Raises:
        InputError: A name, an MTU or the number of ports is not possible; the message says which.
    """
    seen: set[str] = set()
    index = FIRST_INDEX
    laid: list[Segment] = []
    for segment in segments:
        _check_segment(segment)
        _check_names(segment, seen)
        ports = tuple(
            Port(port.tap, port.altname, index + number, port.wire == "fast")
            for number, port in enumerate(segment.ports, start=1)
        )
        laid.append(
            Segment(segment.name, segment.bridge, segment.altname, index, segment.mtu, ports)
        )
        index += 1 + len(ports)
    return tuple(laid)


def _check_segment(segment: SegmentPlan) -> None:
    if not MTU_MIN <= segment.mtu <= MTU_MAX:
        raise InputError(
            f"segment {segment.name}: an MTU of {segment.mtu} is not possible",
            hint=f"from {MTU_MIN} to {MTU_MAX} bytes",
        )
    if len(segment.ports) > PORTS_MAX:
        raise InputError(
            f"segment {segment.name} has {len(segment.ports)} ports",
            hint=f"a bridge holds {PORTS_MAX}; split it in several",
        )


def _check_names(segment: SegmentPlan, seen: set[str]) -> None:
    names = [segment.bridge, *(port.tap for port in segment.ports)]
    altnames = [segment.altname, *(port.altname for port in segment.ports)]
    _check(names, _NAME, "1 to 15", segment.name)
    _check(altnames, _ALTNAME, "1 to 127", segment.name)
    for name in names + altnames:
        # Names and long names share one space in the kernel.
        if name in seen:
            raise InputError(f"segment {segment.name}: the name {name!r} is used twice in the lab")
        seen.add(name)


def _check(names: Iterable[str], pattern: re.Pattern[str], size: str, segment: str) -> None:
    for name in names:
        if not pattern.fullmatch(name) or _FORBIDDEN & set(name) or name in _RESERVED:
            raise InputError(
                f"segment {segment}: {name!r} is no name for an interface",
                hint=f"{size} bytes of printable ASCII, without space, '/', ':' and '%'",
            )
