"""Commands: what they return, how they fail, and that their deadlines always work."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio
import trio.testing

from netlab.errors import (
    CheckError,
    CommandError,
    InputError,
    MachineDiedError,
    MachineError,
    NotReadyError,
    UnknownNameError,
    WaitError,
)
from netlab.testing import LabDriver, NodeDriver
from tests.conftest import STUCK_AGENT
from tests.testing.conftest import open_driver

pytestmark = pytest.mark.machines

ONE = "name: one\nnodes: {a: {id: 1, vlans: 7}}\n"


async def check_outcomes(node: NodeDriver) -> None:
    outcome = await node.execute("echo out; echo err >&2; exit 3")
    assert (outcome.status, outcome.stdout, outcome.stderr) == (3, "out\n", "err\n")
    assert await node.succeed("echo one", ["echo", "two words"]) == "one\ntwo words\n"
    assert await node.fail("echo no; false") == "no\n"
    outcome = await node.execute(
        ["sh", "-c", "pwd; cat; echo $A"], cwd="/tmp", input="typed\n", env={"A": "1 2"}
    )
    assert outcome.stdout == "/tmp\ntyped\n1 2\n"
    assert (await node.execute("kill -9 $$")).status == -signal.SIGKILL


async def check_failures(node: NodeDriver) -> None:
    with pytest.raises(CommandError, match="a: `echo why >&2; exit 4` exited with status 4: why"):
        await node.succeed("echo why >&2; exit 4")
    with pytest.raises(CommandError, match="a: `echo yes` succeeded, and had to fail") as caught:
        await node.fail("echo yes")
    assert caught.value.evidence == "yes"


async def check_streaming(node: NodeDriver) -> None:
    seen: list[tuple[str, bytes]] = []
    began = trio.current_time()
    times: list[float] = []

    def take(name: str, data: bytes) -> None:
        seen.append((name, data))
        times.append(trio.current_time() - began)

    outcome = await node.execute(
        "echo first; echo bad >&2; sleep 2; echo last; exit 5", output=take
    )
    assert outcome.status == 5
    assert b"".join(data for name, data in seen if name == "stdout") == b"first\nlast\n"
    assert b"".join(data for name, data in seen if name == "stderr") == b"bad\n"
    assert times[0] < 1.5 < times[-1]
    # More than the agent keeps, and nothing is left in the guest.
    size = 0

    def count(_name: str, data: bytes) -> None:
        nonlocal size
        size += len(data)

    await node.execute("head -c 17000000 /dev/zero", output=count)
    assert size == 17_000_000
    assert await node.succeed("ls /tmp") == ""


async def check_waiting(node: NodeDriver) -> None:
    await node.succeed("(sleep 1; touch /tmp/there; sleep 1; rm /tmp/there) >/dev/null 2>&1 &")
    assert await node.wait_until_succeeds("cat /tmp/there && echo is") == "is\n"
    await node.wait_until_fails("cat /tmp/there")
    began = trio.current_time()
    with pytest.raises(
        WaitError, match=r"did not succeed within 0\.\d+ s: the last attempt"
    ) as caught:
        with trio.fail_after(1):
            await node.wait_until_succeeds("echo attempt; exit 7")
    assert trio.current_time() - began < 1.6
    assert "exited with status 7: attempt" in caught.value.message
    assert caught.value.evidence == "attempt"
    with pytest.raises(WaitError, match=r"did not fail within 0.5 s"):
        await node.wait_until_fails("true", timeout=0.5)


async def check_files_ports_and_sockets(node: NodeDriver) -> None:
    await node.succeed("(sleep 1; touch /tmp/file) >/dev/null 2>&1 &")
    await node.wait_for_file("/tmp/file")
    with pytest.raises(WaitError, match=r"a: /tmp/none was not there within 0.3 s"):
        await node.wait_for_file("/tmp/none", timeout=0.3)
    await node.succeed("(sleep 1; iperf3 -s -p 80 -1) >/dev/null 2>&1 &")
    await node.wait_for_open_port(80)
    with pytest.raises(WaitError, match="port 80 at localhost was not closed"):
        await node.wait_for_closed_port(80, timeout=0.3)
    await node.succeed("killall iperf3")
    await node.wait_for_closed_port(80)
    with pytest.raises(WaitError, match=r"port 81 at localhost was not open .*nobody listens"):
        await node.wait_for_open_port(81, timeout=1)
    with pytest.raises(WaitError, match="/tmp/none took no connections"):
        await node.wait_for_open_unix_socket("/tmp/none", timeout=0.3)
    await node.succeed(
        "mkdir -p /run/bird; echo 'protocol device {}' >/etc/bird/bird.conf; bird -s /tmp/socket"
    )
    await node.wait_for_open_unix_socket("/tmp/socket")
    await node.succeed("killall bird; rm -rf /tmp/*")


async def check_console(node: NodeDriver) -> None:
    await node.succeed("(sleep 1; echo one 1 >/dev/console; echo one 2 >/dev/console) & exit 0")
    assert await node.wait_for_console_text(r"one \d") == "one 1"
    await node.succeed("echo two >/dev/console")
    assert await node.wait_for_console_text("^two") == "two"
    with pytest.raises(WaitError, match=r"'never' was not on the console within 0.3 s"):
        await node.wait_for_console_text("never", timeout=0.3)


SYSTEMCTL = """#!/bin/sh
# What systemd's answers: `show` and `status` of a unit that has become active, failed or nothing.
for unit in "$@"; do :; done
case "$*" in
    *show*) case $unit in
        good) echo ActiveState=active; echo SubState=running ;;
        slow) echo x >>/tmp/asked; [ $(wc -l </tmp/asked) -gt 3 ] && echo ActiveState=active ||
            echo ActiveState=activating; echo SubState=start ;;
        bad) echo ActiveState=failed ;;
        *) echo ActiveState=inactive; echo Job=0 ;;
    esac ;;
    *) echo "status of $unit"; exit 3 ;;
esac
"""


async def check_units(node: NodeDriver, folder: Path) -> None:
    with pytest.raises(CommandError, match="a has no systemd"):
        await node.wait_for_unit("good")
    script = folder / "systemctl"
    await trio.Path(script).write_text(SYSTEMCTL)
    await trio.Path(script).chmod(0o755)
    await node.copy_to(script, "/usr/bin/systemctl")
    await node.wait_for_unit("good")
    await node.wait_for_unit("slow")
    await node.require_unit_state("good")
    with pytest.raises(CheckError, match="good is active, not failed"):
        await node.require_unit_state("good", "failed")
    with pytest.raises(CheckError, match="a: bad is failed") as caught:
        await node.wait_for_unit("bad")
    assert caught.value.evidence == "status of bad"
    with pytest.raises(CheckError, match="nothing is about to start it"):
        await node.wait_for_unit("other")
    assert (await node.systemctl("status good")).status == 3


async def check_interfaces(node: NodeDriver) -> None:
    interface = node.interface("eth1")
    guest = await interface.guest()
    assert (guest.up, guest.carrier, guest.mtu) == (True, True, 1500)
    assert "192.168.7.1/24" in guest.addresses
    before = await interface.host()
    await node.execute("ping -c2 -W1 192.168.7.99")
    assert (await interface.host()).rx_packets > before.rx_packets
    await interface.down()
    assert not (await interface.guest()).up
    await interface.up()
    await interface.pull()
    # The guest's kernel tells such news at most once a second.
    await node.wait_until_succeeds("ip link show dev eth1 | grep NO-CARRIER")
    assert not (await interface.guest()).carrier
    await node.unblock()
    await node.wait_until_fails("ip link show dev eth1 | grep NO-CARRIER")
    assert (await interface.guest()).carrier
    with pytest.raises(UnknownNameError, match=r"a has no interface 'eth9' \(it has: eth1\)"):
        node.interface("eth9")


async def check_verbs(lab: LabDriver, folder: Path) -> None:
    node = lab["a"]
    await check_outcomes(node)
    await check_failures(node)
    await check_streaming(node)
    await check_waiting(node)
    await check_files_ports_and_sockets(node)
    await check_console(node)
    await check_interfaces(node)
    await check_units(node, folder)


async def test_a_guest_does_what_it_is_asked(tmp_path: Path) -> None:
    async with open_driver(ONE) as lab:
        await check_verbs(lab, tmp_path)


async def check_late(lab: LabDriver, reason: str) -> None:
    """A command that cannot end is told within a second of its deadline."""
    began = trio.current_time()
    with pytest.raises(WaitError, match=reason):
        with trio.fail_after(1):
            await lab["a"].succeed("sleep 50")
    assert trio.current_time() - began < 2


async def check_lost_agent(lab: LabDriver) -> None:
    """An agent that is stuck, that is started again, and that is not."""
    node = lab["a"]
    stuck = STUCK_AGENT.format(interface="eth1")
    await node.succeed(f"({stuck}) >/dev/null 2>&1 &")
    await node.block()
    await node.wait_for_console_text("agent stands still")
    await check_late(lab, r"did not end within .*: the guest's agent has been silent for \d")
    await node.unblock()
    assert await node.succeed("echo awake") == "awake\n"
    kill = "kill -KILL $(pidof qemu-ga); sleep 50"
    with trio.fail_after(20), pytest.raises(MachineError, match="the guest's agent ended"):
        await node.succeed(kill)
    assert await node.succeed("echo another") == "another\n"
    await node.succeed("printf '#!/bin/sh\nexec sleep 600\n' >/usr/lib/netlab/agent")
    with trio.fail_after(20), pytest.raises(MachineError, match="the guest's agent ended"):
        await node.succeed(kill)
    await check_late(lab, "the guest's agent has ended and was not started again")
    with trio.fail_after(1), pytest.raises(WaitError, match="was not started again"):
        await node.wait_for_file("/tmp/none")


async def kill_at_work(node: NodeDriver) -> MachineDiedError:
    """Kill a machine while it is asked for something; return what the caller gets, at once."""
    failures: list[MachineDiedError] = []

    async def ask() -> None:
        with pytest.raises(MachineDiedError, match="killed by SIGKILL") as died:
            await node.wait_until_succeeds("false")
        failures.append(died.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked(0.01)
        # What is asked second is answered when the first has been heard, in another process too.
        await node.node.console_tail()
        assert node.node.pid is not None
        os.kill(node.node.pid, signal.SIGKILL)
        nursery.cancel_scope.deadline = trio.current_time() + 5
    (failure,) = failures
    return failure


async def check_deadlines(lab: LabDriver) -> None:
    node = lab["a"]
    await check_late(lab, r"a: `sleep 50` did not end within 0\.\d+ s: it still runs")
    async with node.paused():
        await check_late(lab, "the machine is paused")
    assert await node.succeed("echo back") == "back\n"
    assert node.node.pid is not None
    os.kill(node.node.pid, signal.SIGSTOP)
    try:
        await check_late(lab, "QEMU is stopped, as by SIGSTOP")
    finally:
        os.kill(node.node.pid, signal.SIGCONT)
    assert await node.succeed("echo again") == "again\n"
    with pytest.raises(MachineError, match="keeps its output open"):
        await node.succeed("sleep 60 & exit 0")
    await node.succeed("sleep 60 >/dev/null 2>&1 & exit 0")
    await check_lost_agent(lab)
    # The machine is lost next, and what starts it again starts an agent.
    died = await kill_at_work(node)
    assert "qemu-system" in str(died.evidence)
    with pytest.raises(MachineError, match="killed by SIGKILL"):
        await node.succeed("true")
    await node.start()
    assert await node.succeed("hostname") == "a\n"


async def test_a_deadline_works_whatever_is_stuck() -> None:
    async with open_driver(ONE) as lab:
        await check_deadlines(lab)


async def check_power(lab: LabDriver) -> None:
    node = lab["a"]
    await node.shutdown()
    with pytest.raises(NotReadyError, match="a is stopped: powered off"):
        await node.wait_until_succeeds("true")
    await node.start()
    await node.succeed("touch /tmp/mark")
    await node.reboot()
    await node.fail("test -e /tmp/mark")
    await node.crash()
    assert node.node.reason() == "crashed, as asked"
    await node.start()
    assert await node.qmp("query-name") == {"name": "a"}


async def test_power_is_a_tests_to_switch() -> None:
    async with open_driver(ONE) as lab:
        await check_power(lab)


def make_tree(folder: Path) -> Path:
    tree = folder / "tree"
    (tree / "deep/er").mkdir(parents=True)
    (tree / "deep/er/file").write_bytes(os.urandom(100_000))
    (tree / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (tree / "run.sh").chmod(0o750)
    (tree / "link").symlink_to("deep/er/file")
    return tree


def read_tree(tree: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(tree)): path.read_bytes()
        for path in sorted(tree.rglob("*"))
        if path.is_file()
    }


async def check_files(lab: LabDriver, folder: Path) -> None:
    tree = make_tree(folder)
    expected = read_tree(tree)
    big = folder / "big"
    big.write_bytes(os.urandom(20 << 20))  # before anything runs
    node = lab["a"]
    await node.copy_to(tree, "/root/made/tree")
    assert await node.succeed("/root/made/tree/run.sh") == "ran\n"
    await node.copy_from("/root/made/tree", folder / "back")
    assert read_tree(folder / "back") == expected
    assert (folder / "back/link").readlink() == Path("deep/er/file")
    await node.copy_to(big, "/root/big")
    await node.copy_from("/root/big", folder / "again")
    assert (folder / "again").read_bytes() == big.read_bytes()
    with pytest.raises(CommandError, match=r"/none cannot be read: .*No such file"):
        await node.copy_from("/none", folder / "none")
    with pytest.raises(InputError, match="no such file"):
        await node.copy_to(folder / "none", "/root/none")
    with pytest.raises(CommandError, match="a: mkdir failed"):
        await node.copy_to(tree, "/proc/nothing/here")
    # What a guest sends is not believed.
    await node.succeed(
        "mkdir /root/evil; cd /root/evil; ln -s /etc inner",
    )
    await node.copy_from("/root/evil", folder / "evil")
    assert (folder / "evil/inner").is_symlink()
    assert sorted(path.name for path in folder.iterdir()) == [  # noqa: ASYNC240
        "again", "back", "big", "evil", "tree",
    ]  # fmt: skip


async def test_files_and_trees_go_both_ways(tmp_path: Path) -> None:
    async with open_driver(ONE) as lab:
        await check_files(lab, tmp_path)
