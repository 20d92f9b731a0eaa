"""A lab as a test speaks to it: its nodes, its links, and what the network as a whole does."""

from __future__ import annotations

import json
import shlex
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Unpack, cast, final

import trio

from netlab.errors import CheckError, CommandError, UnknownNameError, WaitError
from netlab.lab.access import LabAccess
from netlab.plan.model import SegmentPlan
from netlab.plan.segments import find_node, find_segment
from netlab.proxmox.exporting import Export
from netlab.scopes import open_tasks
from netlab.testing.backups import BackupOptions, export_within
from netlab.testing.capture import Capture, open_capture
from netlab.testing.conditions import Parts, polling_condition
from netlab.testing.failures import Failures
from netlab.testing.node import NodeDriver
from netlab.testing.pings import ANSWER_WAIT, Answer, ping_command, read_answers
from netlab.testing.waiting import DEFAULT_TIMEOUT, Seen, make_limit, poll, within

_ONE_LOOK = 30.0

_PING_ALL = (
    "for name in %s; do"
    f' (ping -c1 -W{ANSWER_WAIT} "$name" >/dev/null 2>&1 && echo "$name") & done; wait'
)


@final
class LinkDriver:
    """A segment of a lab under test.

    Attributes:
        plan: What it is.
    """

    def __init__(self, lab: LabAccess, plan: SegmentPlan, failures: Failures) -> None:
        self.plan = plan
        self._lab = lab
        self._failures = failures

    async def set(self, *, up: bool) -> None:
        """Pull its cables, or put them back: guests see their carrier change."""
        await self._lab.set_link(self.plan, up=up)

    @asynccontextmanager
    async def down(self) -> AsyncGenerator[None]:
        """Pull its cables while the block runs."""
        try:
            # Inside: given up half-way, some of its cables are out.
            await self.set(up=False)
            async with self._failures.watch():
                yield
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _ONE_LOOK):
                await self.set(up=True)

    def capture(self) -> AbstractAsyncContextManager[Capture]:
        """Capture what passes its bridge while the block runs."""
        return open_capture(self._lab, self.plan.bridge)


@final
class LabDriver:
    """A lab under test.

    Attributes:
        lab: The live lab.
        timeout: Seconds that a verb waits when nobody says how long.
        nodes: Its nodes by name.
        parts: The parts of the test that named some.
        failures: Who is told of failures while the lab is as it was at them.
    """

    def __init__(self, lab: LabAccess, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.lab = lab
        self.timeout = timeout
        self.parts = Parts()
        self.failures = Failures()
        self.subtest = self.parts.subtest
        self.polling_condition = polling_condition
        self.nodes: Mapping[str, NodeDriver] = {
            name: NodeDriver(lab, node, timeout, self.failures) for name, node in lab.nodes.items()
        }

    def __getitem__(self, name: str) -> NodeDriver:
        """Return the node of that name.

        Raises:
            UnknownNameError: There is none.
        """
        return self.nodes[find_node(self.lab.plan, name).name]

    def __iter__(self) -> Iterator[NodeDriver]:
        return iter(self.nodes.values())

    async def wait_ready(self, *, timeout: float | None = None) -> None:
        """Wait until every node is ready.

        Raises:
            WaitError: One was not in time; the evidence is what each waited for.
            NetlabError: One failed.
        """
        limit = make_limit(timeout, self.timeout)

        async def give_up() -> WaitError:
            await trio.lowlevel.checkpoint()
            late = [node for node in self.lab.nodes.values() if node.state != "ready"]
            lines = [f"{node.plan.name}: {node.state}: {node.reason()}" for node in late]
            message = f"{len(late)} of {len(self.nodes)} nodes are not ready after"
            return WaitError(
                f"{message} {limit.seconds:.3g} s: {lines[0]}", evidence="\n".join(lines)
            )

        async with within(limit, give_up):
            await self.lab.wait_ready()

    def link(self, first: str, second: str) -> LinkDriver:
        """Return the segment that two nodes share; ``r1:eth1`` says which of several.

        Raises:
            UnknownNameError: They share none, or several.
        """
        return LinkDriver(self.lab, find_segment(self.lab.plan, first, second), self.failures)

    def vlan(self, number: int) -> LinkDriver:
        """Return the segment of a vlan.

        Raises:
            UnknownNameError: There is no such vlan.
        """
        for segment in self.lab.plan.segments:
            if segment.vlan == number:
                return LinkDriver(self.lab, segment, self.failures)
        known = ", ".join(str(each.vlan) for each in self.lab.plan.segments if each.vlan)
        raise UnknownNameError(f"there is no vlan {number}", hint=f"there are: {known or 'none'}")

    def capture(self, first: str, second: str) -> AbstractAsyncContextManager[Capture]:
        """Capture what passes between two nodes while the block runs."""
        return self.link(first, second).capture()

    async def ping_matrix(self, *, timeout: float | None = None) -> dict[str, dict[str, bool]]:
        """Ping every node from every other, by name; return who reached whom.

        Returns:
            By the pinging node, then by the pinged one; nobody pings itself.
        """
        limit = make_limit(timeout, self.timeout)

        async def give_up() -> WaitError:
            await trio.lowlevel.checkpoint()
            return WaitError(f"the nodes had not pinged each other within {limit.seconds:.3g} s")

        async with within(limit, give_up):
            return await self._ping_all()
        raise AssertionError("unreachable")

    async def wait_until_converged(
        self,
        predicate: Callable[[], Awaitable[bool]] | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Wait until every node reaches every other, or until the predicate holds.

        Raises:
            WaitError: It did not in time; the message says who does not reach whom.
        """

        async def look() -> Seen[bool]:
            if predicate is not None:
                return Seen(value=True) if await predicate() else Seen(instead="it does not hold")
            matrix = await self._ping_all()
            silent = [
                f"{source} does not reach {target}"
                for source, row in matrix.items()
                for target, answered in row.items()
                if not answered
            ]
            return Seen(instead="\n".join([silent[0], *silent])) if silent else Seen(value=True)

        limit = make_limit(timeout, self.timeout)
        await poll("the network had not converged", look, limit)

    async def assert_reachable(self, source: str, target: str) -> None:
        """Check that one node's ping is answered by another, or by an address.

        Raises:
            CheckError: It is not.
            CommandError: The guest does not know the target, or has no ping.
        """
        answer = await self._ping(source, target)
        if not answer.received:
            why = f": {answer.refusal}" if answer.refusal else ""
            raise CheckError(f"{source} does not reach {target}{why}")

    async def assert_unreachable(self, source: str, target: str) -> None:
        """Check that one node's ping is not answered.

        Raises:
            CheckError: It is.
            CommandError: The guest does not know the target, or has no ping.
        """
        answer = await self._ping(source, target)
        if answer.received:
            raise CheckError(f"{source} reaches {target}")

    async def path(self, source: str, target: str, *, timeout: float | None = None) -> list[str]:
        """Return the nodes that a packet passes, from the first after the source to the target.

        A hop is a node's name, an address that is no node's, or ``*`` for one that does not answer.

        Raises:
            CommandError: The guest has no traceroute, or does not know the target.
        """
        shown = await self[source].succeed(
            ("traceroute", "-n", "-q1", "-w1", target), timeout=timeout
        )
        owners = self._owners()
        hops = [line.split()[1] for line in shown.splitlines()[1:] if len(line.split()) > 1]
        return [owners.get(hop, hop) for hop in hops]

    async def throughput(self, source: str, target: str, *, seconds: int = 3) -> float:
        """Measure TCP from one node to another with iperf3; return bits a second.

        Raises:
            CommandError: iperf3 failed, or one of them has none.
        """
        server, client = self[target], self[source]
        # One connection, then it ends by itself.
        await server.succeed("iperf3 -s -1 -D --pidfile /tmp/netlab-iperf3.pid >/dev/null 2>&1")
        await server.wait_for_open_port(5201)
        shown = await client.execute(
            ("iperf3", "-c", target, "-t", str(seconds), "-J"), timeout=seconds + _ONE_LOOK
        )
        report = cast("dict[str, Any]", json.loads(shown.stdout or "{}"))
        if shown.status != 0 or "error" in report:
            await server.execute("kill $(cat /tmp/netlab-iperf3.pid)")
            raise CommandError(
                f"iperf3 from {source} to {target}: {report.get('error', shown.last_line())}"
            )
        return float(report["end"]["sum_received"]["bits_per_second"])

    async def copy_to(self, source: str | Path, target: str) -> None:
        """Copy a file or a folder of the host into every guest."""
        async with open_tasks() as tasks:
            for node in self:
                tasks.start_soon(node.copy_to, source, target)

    async def export(
        self,
        folder: str | Path,
        *nodes: str,
        timeout: float | None = None,
        **options: Unpack[BackupOptions],
    ) -> Export:
        """Write nodes as backups that Proxmox restores, all of one moment; they go on meanwhile.

        Args:
            folder: Gets them; made when it is not there.
            nodes: Names; all nodes when there is none.
            timeout: Seconds; the lab's default when None.
            options: As `netlab export` has them: ``vmid``, ``storage``, ``bridge``, ``mapping``,
                ``compress``, ``notes``, ``whole`` (manifest and recipe) and ``dump_dir``.

        Returns:
            The backups with their archives, and how long the nodes stood still.

        Raises:
            WaitError: It had not ended in time; nothing of it is left.
            ConfigurationError: All that Proxmox cannot carry.
            NetlabError: It failed; nothing of it is left.
        """
        limit = make_limit(timeout, self.timeout)
        names = nodes or tuple(self.nodes)
        return await export_within(self.lab, Path(folder), names, options, limit)

    async def _ping(self, source: str, target: str) -> Answer:
        """Send one ping; what could not be tried says nothing about the network."""
        outcome = await self[source].execute(ping_command([target], 1))
        (answer,) = read_answers(outcome.stdout, [target])
        if answer.problem:
            raise CommandError(
                f"{source} cannot ping {target}: {answer.problem}", evidence=outcome.output()
            )
        return answer

    async def _ping_all(self) -> dict[str, dict[str, bool]]:
        matrix: dict[str, dict[str, bool]] = {}

        async def ping_others(node: NodeDriver) -> None:
            others = [name for name in self.nodes if name != node.name]
            outcome = await node.look(_PING_ALL % " ".join(map(shlex.quote, others)))
            answered = outcome.stdout.split()
            matrix[node.name] = {name: name in answered for name in others}

        async with open_tasks() as tasks:
            for node in self:
                tasks.start_soon(ping_others, node)
        return {name: matrix[name] for name in self.nodes}

    def _owners(self) -> dict[str, str]:
        """Every address of the lab with its node's name."""
        return {
            address.partition("/")[0]: node.name
            for node in self.lab.plan.nodes
            for address in (
                *node.loopback,
                *(each for interface in node.interfaces for each in interface.addresses),
            )
        }
