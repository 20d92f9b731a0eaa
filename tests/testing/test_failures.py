"""How verbs fail that nothing else makes fail: names that are not there, and nodes that are off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import pytest

from netlab.errors import (
    CommandError,
    NetlabError,
    NotReadyError,
    QMPCommandError,
    UnknownNameError,
    WaitError,
)
from netlab.testing import LabDriver, NodeDriver
from tests.testing.conftest import open_driver

pytestmark = pytest.mark.machines


async def check_refused(
    calls: Mapping[str, Callable[[], Awaitable[object]]], error: type[NetlabError], match: str
) -> None:
    """Each call raises that error, and which did not is said."""
    found: dict[str, str] = {}
    for name, call in calls.items():
        try:
            await call()
        except error as raised:
            found[name] = raised.message
    assert list(found) == list(calls)
    assert [name for name, message in found.items() if match not in message] == [], found


async def check_names(a: NodeDriver) -> None:
    await check_refused(
        {"block": lambda: a.block("eth9"), "unblock": lambda: a.unblock("eth9")},
        UnknownNameError,
        "a has no interface 'eth9'",
    )
    with pytest.raises(QMPCommandError, match="nonsense"):
        await a.qmp("nonsense")
    with pytest.raises(CommandError, match="a has no systemd"):
        await a.read_unit("network.target")
    assert (await a.systemctl("status")).status == 127


async def check_interface(a: NodeDriver) -> None:
    interface = a.interface("eth1")
    await interface.pull()
    await a.wait_until_succeeds("ip link show dev eth1 | grep NO-CARRIER")
    assert not (await interface.guest()).carrier
    await interface.plug()
    await a.wait_until_fails("ip link show dev eth1 | grep NO-CARRIER")
    assert (await interface.guest()).carrier
    await a.succeed("ip link set eth1 down && ip link set eth1 name other")
    calls = {"guest": interface.guest, "up": interface.up, "down": interface.down}
    await check_refused(calls, CommandError, "eth1")
    await a.succeed("ip link set other name eth1 && ip link set eth1 up")


async def check_throughput(lab: LabDriver) -> None:
    await lab["b"].succeed("mv /usr/bin/iperf3 /usr/bin/iperf3.away")
    with pytest.raises(CommandError, match=r"b: .*iperf3.* exited with status 127"):
        await lab.throughput("a", "b", seconds=1)
    await lab["b"].succeed("mv /usr/bin/iperf3.away /usr/bin/iperf3")
    with pytest.raises(CommandError, match="iperf3 from a to b: "):
        async with lab.link("a", "b").down():
            await lab.throughput("a", "b", seconds=1)


async def check_off(a: NodeDriver) -> None:
    await a.shutdown()
    # What is off is off: neither is an error.
    await a.crash()
    await a.shutdown()
    assert await a.node.console_tail() == ()
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "execute": lambda: a.execute("true"),
        "look": lambda: a.look("true"),
        "wait_ready": a.wait_ready,
        "pause": a.pause,
        "resume": a.resume,
        "paused": lambda: a.paused().__aenter__(),
        "qmp": lambda: a.qmp("query-status"),
        "reboot": a.reboot,
        "open_stream": lambda: a.open_stream("cat").__aenter__(),
        "wait_for_file": lambda: a.wait_for_file("/"),
        "wait_for_console_text": lambda: a.wait_for_console_text("x"),
        "copy_to": lambda: a.copy_to(__file__, "/tmp/x"),
        "copy_from": lambda: a.copy_from("/etc/hostname", "/nowhere/x"),
        "guest": a.interface("eth1").guest,
    }
    await check_refused(calls, NotReadyError, "a is stopped: powered off")
    # Its tap stays, and counts on.
    assert (await a.interface("eth1").host()).rx_packets > 0
    # A cable can be pulled of what is off.
    await a.interface("eth1").pull()


async def check_late(a: NodeDriver) -> None:
    with pytest.raises(WaitError, match="a is not ready after 0"):
        await a.start(timeout=0.01)
    await a.wait_ready()
    with pytest.raises(WaitError, match="a did not boot again within 0"):
        await a.reboot(timeout=0.01)
    await a.wait_until_succeeds("test -e /proc/1")


async def check_cables(lab: LabDriver) -> None:
    """Cables that are out are out for a machine that is started meanwhile, and in once more."""
    a = lab["a"]
    assert not (await a.interface("eth1").guest()).carrier
    await a.interface("eth1").plug()
    async with lab.link("a", "b").down():
        await a.shutdown()
        await a.start()
        await a.wait_ready()
        assert not (await a.interface("eth1").guest()).carrier
    await a.wait_until_succeeds("ping -c1 -W1 b")
    await a.shutdown()
    await a.start()
    await a.wait_ready()
    # Linux tells a change of carrier a second later at times.
    await a.wait_until_fails("ip link show dev eth1 | grep NO-CARRIER")
    assert (await a.interface("eth1").guest()).carrier


async def test_a_verb_that_cannot_be_done_says_why() -> None:
    async with open_driver() as lab:
        a = lab["a"]
        await check_names(a)
        await check_interface(a)
        await check_throughput(lab)
        with pytest.raises(UnknownNameError, match="no node 'c'"):
            lab.capture("a", "c")
        await check_off(a)
        await check_late(a)
        await check_cables(lab)
