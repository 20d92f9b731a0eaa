"""Pings from a guest to many at once, told apart: answered, not answered, and not even sent.

What a guest cannot send (it does not know the name, it has no ``ping``) must not count as a network
that does not let it through.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

ANSWER_WAIT = 1
"""Seconds that one ping waits for its answer."""

# One line a target, whole: they end side by side. Its words are the status, the target, and what
# was printed.
_SCRIPT = (
    "count=$1; shift; "
    'for target in "$@"; do'
    f' (said=$(ping -c "$count" -W {ANSWER_WAIT} "$target" 2>&1); status=$?;'
    " said=$(printf %s \"$said\" | tr '\\n\\t' '  ');"
    ' printf "%s\\t%s\\t%s\\n" "$status" "$target" "$said") &'
    " done; wait"
)

# Both busybox and iputils: "3 packets transmitted, 3 packets received" and "3 received".
_COUNTED = re.compile(r"([0-9]+) packets transmitted, ([0-9]+) (?:packets )?received")
# What the kernel says to a program that may not send, or has no route: the network's answer.
_REFUSED = re.compile(r"unreachable|no route|not permitted|permission denied", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of pinging somebody.

    Attributes:
        target: Who was pinged.
        sent: How many were sent; 0 where the guest's kernel refused to.
        received: How many were answered.
        refusal: Why the guest's kernel refused to send, or empty.
        problem: Why none could be tried at all, or empty.
    """

    target: str
    sent: int
    received: int
    refusal: str = ""
    problem: str = ""

    @property
    def loss(self) -> float:
        """Percent that were not answered."""
        return 100.0 * (self.sent - self.received) / self.sent if self.sent else 100.0


def ping_command(targets: Sequence[str], count: int) -> tuple[str, ...]:
    """Return the command line that pings them all at once, each so often, once a second."""
    return ("/bin/sh", "-c", _SCRIPT, "sh", str(count), *targets)


def read_answers(printed: str, targets: Sequence[str]) -> list[Answer]:
    """Return what came of each target.

    Args:
        printed: What :func:`ping_command` printed.
        targets: Who was pinged.
    """
    said: dict[str, str] = {}
    for line in printed.splitlines():
        _, _, rest = line.partition("\t")
        target, tab, text = rest.partition("\t")
        if tab:
            said[target] = text.strip()
    return [_read(target, said.get(target, "nothing was printed")) for target in targets]


def _read(target: str, said: str) -> Answer:
    found = _COUNTED.search(said)
    if found:
        return Answer(target=target, sent=int(found[1]), received=int(found[2]))
    if _REFUSED.search(said):
        return Answer(target=target, sent=0, received=0, refusal=said.rpartition("ping: ")[2])
    return Answer(target=target, sent=0, received=0, problem=said or "ping printed nothing")
