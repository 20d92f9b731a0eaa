"""An interface of a node as the guest sees it and as the host sees it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, final

from netlab.plan.model import InterfacePlan
from netlab.sandbox.sandbox import Counters

if TYPE_CHECKING:
    from netlab.lab.access import LabAccess
    from netlab.testing.node import NodeDriver


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestInterface:
    """What the guest says of an interface (``ip -j -s address show``).

    Attributes:
        up: Whether it is switched on.
        carrier: Whether it has a carrier.
        mtu: In bytes.
        mac: Lower case.
        addresses: In CIDR notation.
        rx_packets: Frames received.
        tx_packets: Frames sent.
    """

    up: bool
    carrier: bool
    mtu: int
    mac: str
    addresses: tuple[str, ...]
    rx_packets: int
    tx_packets: int


@final
class InterfaceDriver:
    """One interface of a node under test.

    Attributes:
        plan: What it is.
    """

    def __init__(self, lab: LabAccess, node: NodeDriver, plan: InterfacePlan) -> None:
        self.plan = plan
        self._lab = lab
        self._node = node

    async def guest(self) -> GuestInterface:
        """Return what the guest says of it.

        Raises:
            CommandError: The guest has no such interface any more.
        """
        shown = await self._node.succeed((
            "ip",
            "-j",
            "-s",
            "address",
            "show",
            "dev",
            self.plan.name,
        ))
        record = cast("list[dict[str, Any]]", json.loads(shown))[0]
        flags: list[str] = record["flags"]
        statistics: dict[str, dict[str, int]] = record["stats64"]
        return GuestInterface(
            up="UP" in flags,
            carrier="LOWER_UP" in flags and "NO-CARRIER" not in flags,
            mtu=record["mtu"],
            mac=record["address"],
            addresses=tuple(
                f"{address['local']}/{address['prefixlen']}" for address in record["addr_info"]
            ),
            rx_packets=statistics["rx"]["packets"],
            tx_packets=statistics["tx"]["packets"],
        )

    async def host(self) -> Counters:
        """Return what went through its tap: ``rx`` is what the guest sent."""
        return (await self._lab.counters())[self.plan.tap]

    async def up(self) -> None:
        """Switch it on in the guest."""
        await self._node.succeed(("ip", "link", "set", "dev", self.plan.name, "up"))

    async def down(self) -> None:
        """Switch it off in the guest; what is routed over it is withdrawn there."""
        await self._node.succeed(("ip", "link", "set", "dev", self.plan.name, "down"))

    async def plug(self) -> None:
        """Put its cable back."""
        await self._node.unblock(self.plan.name)

    async def pull(self) -> None:
        """Pull its cable: the guest sees its carrier go."""
        await self._node.block(self.plan.name)
